package links

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
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
		{"an overlay network's interface", good(func(a *netlink.LinkAttrs) { a.RawFlags |= unix.IFF_NOARP }), false},
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
		"cilium_host": true, "cilium_vxlan": true, "vxlan.calico": true, "antrea-gw0": true, "ovn-k8s-mp0": true, "genev_sys_6081": true, "br-0123456789ab": true,
		"kube-bridge": true, "weave": true, "podman0": true, "lxdbr0": true, "br-lan": false, "br-intern": false, "vxlan100": false,
		"eth0": false, "ens3": false, "bond0": false, "br0": false, "lo0": false, "local": false,
	} {
		if got := exclude.MatchString(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func parsed(t *testing.T, index, flags int, cidr string) netlink.Addr {
	t.Helper()
	a, err := netlink.ParseAddr(cidr)
	if err != nil {
		t.Fatal(err)
	}
	a.LinkIndex, a.Flags = index, flags
	return *a
}

// The kernel lists the oldest IPv4 address and the newest IPv6 address first.
func TestMainAddressIsTheNodesOwn(t *testing.T) {
	internal := []netip.Addr{netip.MustParseAddr("192.0.2.9"), netip.MustParseAddr("2001:db8::9")}
	tests := []struct {
		name       string
		addrs      []netlink.Addr
		internal   []netip.Addr
		ipv4, ipv6 string
	}{
		{"none", nil, nil, "invalid Prefix", "invalid Prefix"},
		{"of another interface, or link-local", []netlink.Addr{parsed(t, 3, 0, "203.0.113.1/24"), parsed(t, 2, 0, "169.254.1.1/16"), parsed(t, 2, 0, "fe80::1/64")}, nil, "invalid Prefix", "invalid Prefix"},
		{"the InternalIP, although others are older", []netlink.Addr{parsed(t, 2, 0, "192.0.2.1/24"), parsed(t, 2, 0, "192.0.2.9/24"), parsed(t, 2, 0, "2001:db8::9/64"), parsed(t, 2, 0, "2001:db8::1/64")}, internal, "192.0.2.9/24", "2001:db8::9/64"},
		{"the InternalIP with a prefix of its own", []netlink.Addr{parsed(t, 2, 0, "192.0.2.1/24"), parsed(t, 2, 0, "192.0.2.9/32"), parsed(t, 2, 0, "2001:db8::9/128")}, internal, "192.0.2.9/32", "2001:db8::9/128"},
		{"a virtual address that was there first", []netlink.Addr{parsed(t, 2, 0, "192.0.2.100/32"), parsed(t, 2, 0, "192.0.2.1/24"), parsed(t, 2, 0, "2001:db8::1/64"), parsed(t, 2, 0, "2001:db8::100/128")}, nil, "192.0.2.1/24", "2001:db8::1/64"},
		{"the widest prefix", []netlink.Addr{parsed(t, 2, 0, "192.0.2.1/30"), parsed(t, 2, 0, "198.51.100.1/24")}, nil, "198.51.100.1/24", "invalid Prefix"},
		{"the older one of two", []netlink.Addr{parsed(t, 2, 0, "192.0.2.1/24"), parsed(t, 2, 0, "192.0.2.2/24"), parsed(t, 2, 0, "2001:db8::2/64"), parsed(t, 2, 0, "2001:db8::1/64")}, nil, "192.0.2.1/24", "2001:db8::1/64"},
		{"IPv6 that does not last", []netlink.Addr{
			parsed(t, 2, unix.IFA_F_TEMPORARY, "2001:db8::99/64"), parsed(t, 2, unix.IFA_F_TENTATIVE, "2001:db8::98/64"), parsed(t, 2, unix.IFA_F_DADFAILED, "2001:db8::97/64"),
			parsed(t, 2, unix.IFA_F_DEPRECATED, "2001:db8::96/48"), parsed(t, 2, 0, "2001:db8::1/64")}, nil, "invalid Prefix", "2001:db8::1/64"},
		{"a deprecated one, if there is no other", []netlink.Addr{parsed(t, 2, unix.IFA_F_DEPRECATED, "2001:db8::96/64")}, nil, "invalid Prefix", "2001:db8::96/64"},
		{"an IPv4-mapped address", []netlink.Addr{{IPNet: &net.IPNet{IP: net.ParseIP("::ffff:192.0.2.9"), Mask: net.CIDRMask(120, 128)}, LinkIndex: 2}, parsed(t, 2, 0, "192.0.2.1/24")}, nil, "192.0.2.1/24", "invalid Prefix"},
		{"only addresses of other programs", []netlink.Addr{parsed(t, 2, 0, "192.0.2.100/32")}, nil, "invalid Prefix", "invalid Prefix"},
	}
	for _, tt := range tests {
		ipv4, ipv6 := mainAddress(tt.addrs, 2, tt.internal, true), mainAddress(tt.addrs, 2, tt.internal, false)
		if ipv4.String() != tt.ipv4 || ipv6.String() != tt.ipv6 {
			t.Errorf("%s: %v and %v, want %s and %s", tt.name, ipv4, ipv6, tt.ipv4, tt.ipv6)
		}
	}
}

func TestNetworksAreThoseWithMoreThanOneHost(t *testing.T) {
	got := fmt.Sprint(networksOf([]netlink.Addr{
		parsed(t, 2, 0, "192.0.2.1/24"), parsed(t, 2, 0, "192.0.2.2/24"), parsed(t, 2, 0, "10.0.0.1/16"), parsed(t, 2, 0, "10.9.9.9/32"), parsed(t, 3, 0, "203.0.113.1/24"),
		parsed(t, 2, unix.IFA_F_TENTATIVE, "2001:db8:1::1/64"), parsed(t, 2, unix.IFA_F_DEPRECATED, "2001:db8:2::1/64"), parsed(t, 2, 0, "2001:db8:3::1/64"), parsed(t, 2, 0, "fe80::1/64"),
	}, 2))
	if want := "[2001:db8:3::/64 192.0.2.0/24 10.0.0.0/16]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestSharedNetworkBelongsToTheRoutesLink(t *testing.T) {
	lan, other := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("10.0.0.0/16")
	both := func() []Link {
		return []Link{
			{Name: "a", Index: 2, Networks: []netip.Prefix{lan, other}, Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}},
			{Name: "b", Index: 3, Networks: []netip.Prefix{lan}, Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24")}},
		}
	}
	for _, tt := range []struct {
		name string
		link int
		err  error
		want string
	}{
		{"the second", 3, nil, "[10.0.0.0/16] [192.0.2.0/24]"},
		{"the first", 2, nil, "[192.0.2.0/24 10.0.0.0/16] []"},
		{"a third", 9, nil, "[192.0.2.0/24 10.0.0.0/16] [192.0.2.0/24]"},
		{"none", 0, errors.New("no route"), "[192.0.2.0/24 10.0.0.0/16] [192.0.2.0/24]"},
	} {
		links := both()
		keepByRoute(links, func(addr netip.Addr) (int, error) {
			if addr != netip.MustParseAddr("192.0.2.3") {
				t.Errorf("%s: asked for %s", tt.name, addr)
			}
			return tt.link, tt.err
		})
		if got := fmt.Sprint(links[0].Networks, " ", links[1].Networks); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestPortsOfABondAreItsOtherMACAddresses(t *testing.T) {
	bond := &netlink.LinkAttrs{Index: 7, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 1}}
	port := func(master int, mac, permanent byte) netlink.Link {
		return &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{MasterIndex: master, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, mac}, PermHWAddr: net.HardwareAddr{2, 0, 0, 0, 0, permanent}}}
	}
	got := portsOf([]netlink.Link{port(7, 1, 1), port(7, 2, 2), port(7, 1, 3), port(8, 9, 9)}, bond, bond.HardwareAddr)
	if want := [][6]byte{{2, 0, 0, 0, 0, 2}, {2, 0, 0, 0, 0, 3}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestBondIsFoundBelowAVLAN(t *testing.T) {
	bond := &netlink.Bond{LinkAttrs: netlink.LinkAttrs{Index: 7, Name: "bond0"}}
	vlan := &netlink.Vlan{LinkAttrs: netlink.LinkAttrs{Index: 8, ParentIndex: 7}}
	child := &netlink.Macvlan{LinkAttrs: netlink.LinkAttrs{Index: 9, ParentIndex: 8}}
	one, other := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Index: 10, ParentIndex: 11}}, &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Index: 11, ParentIndex: 10}}
	all := []netlink.Link{child, vlan, bond, one, other}
	for _, l := range []netlink.Link{bond, vlan, child} {
		if got := bondOf(all, l); got == nil || got.Name != "bond0" {
			t.Errorf("of a %s: %v", l.Type(), got)
		}
	}
	for _, l := range []netlink.Link{one, &netlink.Dummy{}, &netlink.Vlan{LinkAttrs: netlink.LinkAttrs{ParentIndex: 99}}} {
		if got := bondOf(all, l); got != nil {
			t.Errorf("of a %s: %v", l.Type(), got)
		}
	}
}
