package wire

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
)

// second is a host that has the VIPs beside the owner, like a node whose kube-proxy has them on an
// interface of its own.
const second = "02:00:00:00:00:22"

// segment connects three hosts: eth0, which announces; eth1, which asks; and a namespace that has the VIPs
// on its loopback interface (IPv4) or on its link (IPv6).
func segment(t *testing.T) *router {
	t.Helper()
	r := &router{t: t, netns: startNetns(t)}
	ip(t, "link add wire-bridge type bridge forward_delay 0 mcast_snooping 0")
	t.Cleanup(func() { ip(t, "link del wire-bridge") })
	ip(t, "link set wire-bridge up")
	plug(t, "eth0", mac0)
	plug(t, "eth1", mac1)
	ip(t, fmt.Sprintf("link add wire-second type veth peer name node netns %d", r.netns.Process.Pid))
	for _, end := range []string{"wire-eth0", "wire-eth1", "wire-second"} {
		ip(t, "link set "+end+" master wire-bridge up")
	}
	r.run("ip", "link", "set", "node", "address", second)
	r.run("ip", "link", "set", "lo", "up")
	r.run("ip", "addr", "add", vip4.String()+"/32", "dev", "lo")
	r.run("ip", "addr", "add", "192.0.2.22/24", "dev", "node")
	r.run("ip", "addr", "add", vip6.String()+"/128", "dev", "node", "nodad")
	r.run("ip", "link", "set", "node", "up")
	return r
}

func askingLink(t *testing.T) layer2.Link {
	t.Helper()
	i, err := net.InterfaceByName("eth1")
	if err != nil {
		t.Fatal(err)
	}
	return layer2.Link{Name: i.Name, Index: i.Index, MAC: [6]byte(i.HardwareAddr)}
}

// holders returns the MAC addresses of all hosts that answer, in order.
func holders(t *testing.T, source, addr netip.Addr) (macs []string) {
	t.Helper()
	found, err := layer2.WhoHas(context.Background(), askingLink(t), source, addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range found {
		if h.Source != h.MAC {
			t.Errorf("%x answers for %x", h.Source, h.MAC)
		}
		macs = append(macs, net.HardwareAddr(h.MAC[:]).String())
	}
	slices.Sort(macs)
	return macs
}

func TestQuestionFindsASecondAnswerer(t *testing.T) {
	r := segment(t)
	n := start(t, 0, owner(vip4, "eth0"), owner(vip6, "eth0"))
	for name, test := range map[string]struct{ source, addr netip.Addr }{
		"as a client":              {netip.MustParseAddr("192.0.2.99"), vip4},
		"without an address":       {netip.Addr{}, vip4},
		"as a client, IPv6":        {netip.MustParseAddr("2001:db8::99"), vip6},
		"without an address, IPv6": {netip.Addr{}, vip6},
	} {
		var got []string
		eventually(t, name+": both answer", func() bool { // the kernel of the namespace may still set up its link
			got = holders(t, test.source, test.addr)
			return slices.Equal(got, []string{mac0, second})
		})
	}
	// The second host answers a probe by NDP to all hosts, so the owner learns of it. The host that asks is
	// no conflict.
	for _, c := range n.Conflicts() {
		if c.MAC != second || c.Addr != vip6 {
			t.Errorf("the question is taken for a conflict: %+v", c)
		}
	}
	// This is what kube-proxy does with strictARP.
	r.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore")
	if got := holders(t, netip.MustParseAddr("192.0.2.99"), vip4); !slices.Equal(got, []string{mac0}) {
		t.Errorf("with arp_ignore 1: %v", got)
	}
	r.run("ip", "addr", "del", vip6.String()+"/128", "dev", "node")
	if got := holders(t, netip.Addr{}, vip6); !slices.Equal(got, []string{mac0}) {
		t.Errorf("without the address: %v", got)
	}
}

func TestQuestionForAFreeAddressFindsNobody(t *testing.T) {
	segment(t)
	start(t, 0, owner(vip4, "eth0"))
	for _, addr := range []netip.Addr{netip.MustParseAddr("192.0.2.55"), netip.MustParseAddr("2001:db8::55")} {
		if got := holders(t, netip.Addr{}, addr); len(got) > 0 {
			t.Errorf("%s: %v", addr, got)
		}
	}
}

func TestQuestionOnALinkThatIsDownIsAnError(t *testing.T) {
	plug(t, "eth1", mac1)
	l := askingLink(t)
	ip(t, "link set eth1 down")
	if found, err := layer2.WhoHas(context.Background(), l, netip.Addr{}, vip4); err == nil || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}
}
