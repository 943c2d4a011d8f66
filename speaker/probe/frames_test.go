package probe

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

var (
	here, there = [6]byte{2, 0, 0, 0, 0, 1}, [6]byte{2, 0, 0, 0, 0, 2}
	over4       = Target{Link: "eth0", Local: netip.MustParseAddr("192.0.2.1"), Remote: netip.MustParseAddr("192.0.2.2"), MAC: there}
	over6       = Target{Link: "eth0", Local: netip.MustParseAddr("2001:db8::1"), Remote: netip.MustParseAddr("2001:db8::2"), MAC: there}
)

func TestQuestionIsUnicast(t *testing.T) {
	for _, target := range []Target{over4, over6} {
		q := question(here, target)
		if !bytes.Equal(q[:6], there[:]) || !bytes.Equal(q[6:12], here[:]) {
			t.Errorf("to %s: the frame goes from %x to %x", target.Remote, q[6:12], q[:6])
		}
	}
	var p arp.Packet
	if err := p.UnmarshalBinary(question(here, over4)[ethernetHeader:]); err != nil || p.Operation != arp.OperationRequest || p.TargetIP != over4.Remote || p.SenderIP != over4.Local {
		t.Errorf("%+v, %v", p, err)
	}
	message, err := ndp.ParseMessage(question(here, over6)[ethernetHeader+ipv6Header:])
	if ns, ok := message.(*ndp.NeighborSolicitation); err != nil || !ok || ns.TargetAddress != over6.Remote || len(ns.Options) != 1 {
		t.Errorf("%+v, %v", message, err)
	}
}

func TestQuestionWithoutAMACGoesToAll(t *testing.T) {
	v4, v6 := over4, over6
	v4.MAC, v6.MAC = Everyone, Everyone
	if q := question(here, v4); !bytes.Equal(q[:6], Everyone[:]) {
		t.Errorf("ARP: to %x", q[:6])
	}
	q, group := question(here, v6), netip.MustParseAddr("ff02::1:ff00:2").As16()
	if !bytes.Equal(q[:6], []byte{0x33, 0x33, 0xff, 0, 0, 2}) || !bytes.Equal(q[ethernetHeader+24:ethernetHeader+ipv6Header], group[:]) {
		t.Errorf("NDP: to %x, %x", q[:6], q[ethernetHeader+24:ethernetHeader+ipv6Header])
	}
	message, err := ndp.ParseMessage(q[ethernetHeader+ipv6Header:])
	if ns, ok := message.(*ndp.NeighborSolicitation); err != nil || !ok || ns.TargetAddress != v6.Remote {
		t.Errorf("%+v, %v", message, err)
	}
}

func TestOnlyAnswersToThisHostAreRead(t *testing.T) {
	reply, err := arp.NewPacket(arp.OperationReply, there[:], over4.Remote, here[:], over4.Local)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := reply.MarshalBinary()
	frame := append(header(there, here, 0x0806), body...)
	if got, ok := parseARP(frame); !ok || got != (answer{over4.Remote, here}) {
		t.Errorf("an ARP reply is read as %+v, %v", got, ok)
	}
	if got, ok := parseARP(question(here, over4)); ok {
		t.Errorf("a request is read as %+v", got)
	}
	if got, ok := parseNA(question(here, over6)); ok {
		t.Errorf("a solicitation is read as %+v", got)
	}
}

func FuzzAnswersOfAnyForm(f *testing.F) {
	f.Add(question(here, over4))
	f.Add(question(here, over6))
	f.Fuzz(func(_ *testing.T, frame []byte) {
		parseARP(frame)
		parseNA(frame)
	})
}
