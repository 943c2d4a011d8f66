package wire

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
)

const mac0, mac1 = "02:00:00:00:00:10", "02:00:00:00:00:11"

func hw(t testing.TB, mac string) net.HardwareAddr {
	t.Helper()
	parsed, err := net.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestARPRequestsOfEveryFormAreAnswered(t *testing.T) {
	w := plug(t, "eth0", mac0)
	start(t, 0, owner(vip4, "eth0"))
	w.settle()
	for name, f := range map[string][]byte{
		"a request":                      question(t, vip4),
		"a unicast request":              arpFrame(t, arp.OperationRequest, hw(t, mac0), client, client4, vip4),
		"a probe (RFC 5227)":             arpFrame(t, arp.OperationRequest, everyone, client, netip.IPv4Unspecified(), vip4),
		"one from another subnet":        arpFrame(t, arp.OperationRequest, everyone, client, netip.MustParseAddr("10.9.9.9"), vip4),
		"one that is filled to 60 bytes": append(question(t, vip4), make([]byte, 18)...),
	} {
		p := parseARP(t, w.answer(f))
		if p.Operation != arp.OperationReply || p.SenderIP != vip4 || p.SenderHardwareAddr.String() != mac0 || p.TargetHardwareAddr.String() != client.String() {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestForeignFramesAreNotAnswered(t *testing.T) {
	w := plug(t, "eth0", mac0)
	start(t, 0, owner(vip4, "eth0"), owner(vip6, "eth0"))
	w.settle()
	other := question(t, vip4)
	copy(other, net.HardwareAddr{2, 0, 0, 0, 0, 0xdd}) // it arrives because the wire has only two ends
	tagged := append(append(append([]byte{}, question(t, vip4)[:12]...), 0x81, 0, 0, 5), question(t, vip4)[12:]...)
	w.silence("ARP", question(t, vip4),
		question(t, vip4.Next()), other, tagged,
		arpFrame(t, arp.OperationReply, hw(t, mac0), client, client4, vip4),
		question(t, vip4)[:40])
	far := solicitation(t, nil, client6, netip.Addr{}, vip6)
	far[21] = 254
	damaged := solicitation(t, nil, client6, netip.Addr{}, vip6)
	damaged[56] ^= 1
	w.silence("NDP", solicitation(t, nil, client6, netip.Addr{}, vip6),
		far, damaged, solicitation(t, nil, client6, netip.Addr{}, vip6.Next()))
}

func TestNDPSolicitationsOfEveryFormAreAnswered(t *testing.T) {
	w := plug(t, "eth0", mac0)
	start(t, 0, owner(vip6, "eth0"))
	w.settle()
	allNodes := net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}
	for _, tt := range []struct {
		name      string
		frame     []byte
		to        net.HardwareAddr
		solicited bool
	}{
		{"with the source's link-layer address", solicitation(t, nil, client6, netip.Addr{}, vip6, sourceOption()), client, true},
		{"without it", solicitation(t, nil, client6, netip.Addr{}, vip6), client, true},
		{"unicast, neighbor unreachability detection", solicitation(t, hw(t, mac0), client6, vip6, vip6), client, true},
		{"duplicate address detection", solicitation(t, nil, netip.IPv6Unspecified(), netip.Addr{}, vip6), allNodes, false},
	} {
		f := w.answer(tt.frame)
		na := parseNA(t, f)
		if net.HardwareAddr(f[:6]).String() != tt.to.String() || na.Solicited != tt.solicited || !na.Override || na.Router || na.TargetAddress != vip6 {
			t.Errorf("%s: to %s, %+v", tt.name, net.HardwareAddr(f[:6]), na)
		}
		if l, ok := na.Options[0].(*ndp.LinkLayerAddress); !ok || l.Addr.String() != mac0 || l.Direction != ndp.Target {
			t.Errorf("%s: option %+v", tt.name, na.Options[0])
		}
	}
}

func TestLinkAnswersWithItsOwnMACForItsOwnAddresses(t *testing.T) {
	w0, w1 := plug(t, "eth0", mac0), plug(t, "eth1", mac1)
	only1 := netip.MustParseAddr("192.0.2.8")
	start(t, 0, owner(vip4, "eth0", "eth1"), owner(only1, "eth1"))
	w0.settle()
	w1.settle()
	for mac, w := range map[string]*wire{mac0: w0, mac1: w1} {
		if p := parseARP(t, w.answer(question(t, vip4))); p.SenderHardwareAddr.String() != mac {
			t.Errorf("%s answers with %s", mac, p.SenderHardwareAddr)
		}
	}
	w1.answer(question(t, only1))
	w0.silence("an address of eth1 on eth0", question(t, vip4), question(t, only1))
}

func TestIPv6AddressesInThousandsAreAllReached(t *testing.T) {
	const n = 2500
	w := plug(t, "eth0", mac0)
	var assignments []layer2.Assignment
	for i := range n {
		assignments = append(assignments, owner(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x:%x", i>>8+1, i)), "eth0"))
	}
	start(t, 0, assignments...)
	// Each address has its own group, and the kernel must have joined it.
	groups, err := os.ReadFile("/proc/net/igmp6")
	if err != nil {
		t.Fatal(err)
	}
	joined := 0
	for line := range strings.Lines(string(groups)) {
		if strings.Contains(line, " eth0 ") && strings.Contains(line, "ff0200000000000000000001ff") {
			joined++
		}
	}
	if joined < n {
		t.Errorf("%d groups joined", joined)
	}
	eventually(t, "all are announced", func() bool { return w.count() >= n })
	time.Sleep(300 * time.Millisecond) // the rest of the second announcements
	for _, i := range []int{0, 1, n / 2, n - 1} {
		n := w.count()
		w.put(solicitation(t, nil, client6, netip.Addr{}, assignments[i].Addr))
		eventually(t, assignments[i].Addr.String()+" answers", func() bool {
			for _, f := range w.since(n) {
				if na := parseNA(t, f.bytes); na.Solicited && na.TargetAddress == assignments[i].Addr {
					return true
				}
			}
			return false
		})
	}
}
