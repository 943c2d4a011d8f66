package links

import (
	"net"
	"regexp"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestUsable(t *testing.T) {
	good := func(change func(*netlink.LinkAttrs)) *netlink.LinkAttrs {
		a := &netlink.LinkAttrs{
			Name: "eth0", EncapType: "ether", HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1},
			Flags: net.FlagUp | net.FlagBroadcast | net.FlagRunning | net.FlagMulticast,
		}
		change(a)
		return a
	}
	tests := []struct {
		name string
		link *netlink.LinkAttrs
		want bool
	}{
		{"an Ethernet interface that is up", good(func(*netlink.LinkAttrs) {}), true},
		{"one that is down", good(func(a *netlink.LinkAttrs) { a.Flags &^= net.FlagUp }), false},
		{"one without carrier", good(func(a *netlink.LinkAttrs) { a.Flags &^= net.FlagRunning }), false},
		{"a tunnel", good(func(a *netlink.LinkAttrs) { a.EncapType = "ipip"; a.HardwareAddr = nil }), false},
		{"the loopback", good(func(a *netlink.LinkAttrs) { a.Flags |= net.FlagLoopback }), false},
		{"InfiniBand", good(func(a *netlink.LinkAttrs) { a.HardwareAddr = make(net.HardwareAddr, 20) }), false},
	}
	for _, tt := range tests {
		if got := usable(tt.link); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestDefaultExcludeMatchesContainerInterfaces(t *testing.T) {
	exclude := regexp.MustCompile(DefaultExclude)
	for name, want := range map[string]bool{
		"lo": true, "docker0": true, "veth12ab": true, "cali123": true, "cni0": true, "flannel.1": true, "lxc_health": true,
		"eth0": false, "ens3": false, "bond0": false, "br0": false, "lo0": false, "local": false,
	} {
		if got := exclude.MatchString(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestPrefixesAreTheFirstPermanentAddresses(t *testing.T) {
	addr := func(index, flags int, cidr string) netlink.Addr {
		a, err := netlink.ParseAddr(cidr)
		if err != nil {
			t.Fatal(err)
		}
		a.LinkIndex, a.Flags = index, flags
		return *a
	}
	ipv4, ipv6 := prefixes([]netlink.Addr{
		addr(3, 0, "203.0.113.1/24"),
		addr(2, 0, "169.254.1.1/16"),
		addr(2, 0, "192.0.2.1/24"),
		addr(2, 0, "192.0.2.2/24"),
		addr(2, 0, "fe80::1/64"),
		addr(2, unix.IFA_F_TEMPORARY, "2001:db8::99/64"),
		addr(2, unix.IFA_F_TENTATIVE, "2001:db8::98/64"),
		addr(2, 0, "2001:db8::1/64"),
	}, 2)
	if ipv4.String() != "192.0.2.1/24" || ipv6.String() != "2001:db8::1/64" {
		t.Errorf("got %v and %v", ipv4, ipv6)
	}
	if ipv4, ipv6 = prefixes(nil, 2); ipv4.IsValid() || ipv6.IsValid() {
		t.Errorf("from nothing %v and %v", ipv4, ipv6)
	}
}
