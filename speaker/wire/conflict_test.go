package wire

import (
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
)

// have answers for the address like a host that has it, until stop is called.
func have(t *testing.T, w *wire, addr netip.Addr) (stop func()) {
	t.Helper()
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for seen := 0; ; time.Sleep(time.Millisecond) {
			select {
			case <-end:
				return
			default:
			}
			for _, f := range w.since(seen) {
				seen++
				if addr.Is4() && f.bytes[12] == 0x08 && parseARP(t, f.bytes).TargetIP == addr {
					w.put(arpFrame(t, arp.OperationReply, f.bytes[6:12], client, addr, netip.IPv4Unspecified()))
				}
				if addr.Is6() && f.bytes[12] == 0x86 && f.bytes[54] == 135 {
					allNodes := netip.MustParseAddr("ff02::1")
					w.put(ndFrame(t, []byte{0x33, 0x33, 0, 0, 0, 1}, client, addr, allNodes, &ndp.NeighborAdvertisement{
						Override: true, TargetAddress: addr, Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: client}}}))
				}
			}
		}
	}()
	return func() { close(end); <-ended }
}

func TestConflictPreventsTheAnnouncement(t *testing.T) {
	for _, addr := range []netip.Addr{vip4, vip6} {
		t.Run(addr.String(), func(t *testing.T) {
			w := plug(t, "eth0", mac0)
			defer have(t, w, addr)()
			n := start(t, 0, layer2.Assignment{Addr: addr, Role: layer2.Owner, Links: []string{"eth0"}, Fresh: true})
			eventually(t, "the conflict is found", func() bool { return len(n.Conflicts()) == 1 })
			if c := n.Conflicts()[0]; c.MAC != client.String() || c.Announced || c.Link != "eth0" {
				t.Errorf("%+v", c)
			}
			for _, f := range w.since(0) {
				if addr.Is4() && parseARP(t, f.bytes).SenderIP == addr || addr.Is6() && f.bytes[54] == 136 {
					t.Errorf("it was announced although a host has it: %x", f.bytes)
				}
			}
		})
	}
}

func TestFreeAddressIsAnnouncedAfterThreeProbes(t *testing.T) {
	for _, addr := range []netip.Addr{vip4, vip6} {
		t.Run(addr.String(), func(t *testing.T) {
			w := plug(t, "eth0", mac0)
			start(t, 0, layer2.Assignment{Addr: addr, Role: layer2.Owner, Links: []string{"eth0"}, Fresh: true})
			eventually(t, "four frames", func() bool { return w.count() >= 4 })
			for i, f := range w.since(0)[:4] {
				claims := addr.Is6() && f.bytes[54] == 136
				if addr.Is4() {
					claims = parseARP(t, f.bytes).SenderIP == addr
				}
				if claims != (i == 3) {
					t.Errorf("frame %d: %x", i+1, f.bytes)
				}
			}
		})
	}
}

func TestConflictAfterTheAnnouncementIsReported(t *testing.T) {
	w := plug(t, "eth0", mac0)
	n := start(t, 0, owner(vip4, "eth0"))
	eventually(t, "the whole burst", func() bool { return w.count() >= 2*len(schedule) })
	before := w.count()
	for range 20 {
		w.put(arpFrame(t, arp.OperationRequest, everyone, client, vip4, vip4))
	}
	eventually(t, "it is reported", func() bool { c := n.Conflicts(); return len(c) == 1 && c[0].Announced })
	w.answer(question(t, vip4))
	if got := w.count() - before; got != 3 { // a request and a reply in defence, and the answer
		t.Errorf("%d frames", got)
	}
}

func TestConflictIsNeverWithAnotherSpeaker(t *testing.T) {
	w := plug(t, "eth0", mac0)
	n := start(t, 0, owner(vip4, "eth0"))
	n.members = map[[6]byte]layer2.Member{[6]byte(client): {Name: "node2"}}
	n.apply()
	eventually(t, "the whole burst", func() bool { return w.count() >= 2*len(schedule) })
	claim := arpFrame(t, arp.OperationRequest, everyone, client, vip4, vip4)
	w.silence("a speaker's claim", question(t, vip4), claim, claim, claim)
	if c := n.Conflicts(); len(c) > 0 {
		t.Errorf("%+v", c)
	}
}
