// Package links lists the network interfaces on which addresses can be announced.
package links

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// DefaultExclude matches the interfaces that container networks create. The network of the
// node is not behind them. It has the names of MetalLB's list, and those of Cilium, Calico,
// Antrea, OVN-Kubernetes, kube-router, Weave, Docker, Podman, LXD and Incus.
const DefaultExclude = `^(docker|cbr|dummy|virbr|lxcbr|veth|cali|tunl|flannel|kube-ipvs|cni|nodelocaldns|lxc|kube-dummy-if|` +
	`cilium_|vxlan\.calico|vxlan-v6\.calico|antrea-|ovn-k8s-|genev_sys_|vxlan_sys_|br-[0-9a-f]{12}$|br-int$|br-ext$|ovs-system$|kube-bridge|weave|podman|lxdbr|incusbr).*|^lo$`

// Link is an Ethernet interface that is up.
type Link struct {
	Name  string
	Index int
	MAC   [6]byte
	// Ports are the MAC addresses of the ports of a bond. With the mode balance-alb its frames
	// have these source addresses.
	Ports [][6]byte
	// IPv4 and IPv6 are the main addresses of the interface, with the lengths of their
	// prefixes; the zero value for none. See mainAddress.
	IPv4, IPv6 netip.Prefix
	// Networks are the networks to which the interface is connected. If two interfaces are
	// connected to a network, it belongs to the one over which the kernel sends: with
	// rp_filter (RFC 3704) the kernel drops what comes from a host of that network over the
	// other one. A network with a single address does not count.
	Networks []netip.Prefix
	// Addrs are all addresses of the interface, none for type dummy. Link-local addresses do
	// not count.
	Addrs []netip.Prefix
}

// Addresses returns all addresses of the node's Ethernet interfaces, in order, also of those
// that have no carrier now. It leaves out interfaces whose name matches exclude, and those of
// type dummy: programs bind the addresses of Services there, like kube-proxy with IPVS.
func Addresses(exclude *regexp.Regexp) (all []netip.Prefix, err error) {
	interfaces, addrs, err := read()
	if err != nil {
		return nil, err
	}
	for _, l := range interfaces {
		attrs := l.Attrs()
		if l.Type() != "dummy" && attrs.EncapType == "ether" && !exclude.MatchString(attrs.Name) {
			all = append(all, allPrefixes(addrs, attrs.Index)...)
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return slices.Compact(all), nil
}

// Networks returns the networks of the node's Ethernet interfaces, by the names of the
// interfaces, also of those that have no carrier now. It leaves out interfaces whose name
// matches exclude, and parts of other interfaces.
func Networks(exclude *regexp.Regexp) (map[string][]netip.Prefix, error) {
	interfaces, addrs, err := read()
	if err != nil {
		return nil, err
	}
	byName := map[string][]netip.Prefix{}
	for _, l := range standalone(interfaces) {
		attrs := l.Attrs()
		if networks := networksOf(addrs, attrs.Index); len(networks) > 0 && isEthernet(attrs) && !exclude.MatchString(attrs.Name) {
			byName[attrs.Name] = networks
		}
	}
	if len(byName) == 0 {
		return nil, nil
	}
	return byName, nil
}

// List returns the Ethernet interfaces that are up and are not part of another one. It
// leaves out those whose name matches exclude. internal are the addresses of this Node of
// type InternalIP; they are preferred as main addresses.
func List(exclude *regexp.Regexp, internal []netip.Addr) ([]Link, error) {
	all, addrs, err := read()
	if err != nil {
		return nil, err
	}
	var links []Link
	for _, l := range standalone(all) {
		attrs := l.Attrs()
		if !usable(attrs) || exclude.MatchString(attrs.Name) {
			continue
		}
		link := Link{Name: attrs.Name, Index: attrs.Index, MAC: [6]byte(attrs.HardwareAddr), Networks: networksOf(addrs, attrs.Index)}
		link.IPv4, link.IPv6 = mainAddress(addrs, attrs.Index, internal, true), mainAddress(addrs, attrs.Index, internal, false)
		if l.Type() != "dummy" { // see Addresses
			link.Addrs = allPrefixes(addrs, attrs.Index)
		}
		if bond := bondOf(all, l); bond != nil {
			link.Ports = portsOf(all, bond, attrs.HardwareAddr)
		}
		links = append(links, link)
	}
	keepByRoute(links, func(addr netip.Addr) (int, error) {
		index, _, err := PathTo(addr, netip.Addr{})
		return index, err
	})
	return links, nil
}

// keepByRoute leaves a network that several links have to the link with the index that
// route returns for an address in it.
func keepByRoute(links []Link, route func(netip.Addr) (int, error)) {
	count := map[netip.Prefix]int{}
	own := map[netip.Addr]bool{}
	for _, l := range links {
		for _, p := range l.Networks {
			count[p]++
		}
		for _, p := range l.Addrs {
			own[p.Addr()] = true
		}
	}
	for network, n := range count {
		if n < 2 {
			continue
		}
		target := network.Addr().Next()
		for own[target] { // the kernel sends to its own addresses over the loopback
			target = target.Next()
		}
		index, err := route(target)
		if err != nil || !slices.ContainsFunc(links, func(l Link) bool { return l.Index == index && slices.Contains(l.Networks, network) }) {
			continue // no link is better than the others
		}
		for i := range links {
			if links[i].Index != index {
				links[i].Networks = slices.DeleteFunc(links[i].Networks, func(p netip.Prefix) bool { return p == network })
			}
		}
	}
}

// bondOf returns the bond over which a link sends: itself, or the one below a VLAN or macvlan.
// It returns nil if there is none.
func bondOf(all []netlink.Link, l netlink.Link) *netlink.LinkAttrs {
	for range maxParents {
		if l.Type() == "bond" {
			return l.Attrs()
		}
		i := slices.IndexFunc(all, func(parent netlink.Link) bool { return parent.Attrs().Index == l.Attrs().ParentIndex })
		if l.Attrs().ParentIndex == 0 || i < 0 {
			return nil
		}
		l = all[i]
	}
	return nil
}

// maxParents bounds how many links can be below each other. The parent of a veth is its other
// end, whose parent is the first one.
const maxParents = 8

// portsOf returns the MAC addresses of the ports of a bond, except own.
func portsOf(all []netlink.Link, bond *netlink.LinkAttrs, own net.HardwareAddr) (ports [][6]byte) {
	for _, l := range all {
		attrs := l.Attrs()
		if attrs.MasterIndex != bond.Index {
			continue
		}
		for _, mac := range []net.HardwareAddr{attrs.HardwareAddr, attrs.PermHWAddr} {
			if len(mac) == 6 && !slices.Contains(ports, [6]byte(mac)) && !bytes.Equal(mac, own) && [6]byte(mac) != [6]byte{} {
				ports = append(ports, [6]byte(mac))
			}
		}
	}
	return ports
}

// read returns all network interfaces and all their addresses.
func read() ([]netlink.Link, []netlink.Addr, error) {
	interfaces, err := dump(netlink.LinkList)
	if err != nil {
		return nil, nil, fmt.Errorf("listing network interfaces: %w", err)
	}
	addrs, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, nil, fmt.Errorf("listing the addresses of network interfaces: %w", err)
	}
	return interfaces, addrs, nil
}

// dump lists again if the interfaces changed during the listing.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	all, err := list()
	for try := 1; try < 5 && errors.Is(err, netlink.ErrDumpInterrupted); try++ {
		all, err = list()
	}
	return all, err
}

// standalone returns the interfaces that are not part of another one: the ports of a bridge
// or a bond are not used, but a member of a VRF is an interface like any other.
func standalone(all []netlink.Link) (links []netlink.Link) {
	vrfs := map[int]bool{0: true} // 0: no master
	for _, l := range all {
		if l.Type() == "vrf" {
			vrfs[l.Attrs().Index] = true
		}
	}
	for _, l := range all {
		if vrfs[l.Attrs().MasterIndex] {
			links = append(links, l)
		}
	}
	return links
}

// usable reports whether an interface is up, is Ethernet and has a carrier.
func usable(attrs *netlink.LinkAttrs) bool {
	const up = net.FlagUp | net.FlagBroadcast | net.FlagRunning
	return attrs.Flags&up == up && isEthernet(attrs)
}

// isEthernet reports whether hosts on the interface ask with ARP or NDP. On the interfaces
// of overlay networks they often do not (IFF_NOARP).
func isEthernet(attrs *netlink.LinkAttrs) bool {
	return attrs.Flags&net.FlagLoopback == 0 && attrs.RawFlags&unix.IFF_NOARP == 0 && attrs.EncapType == "ether" && len(attrs.HardwareAddr) == 6
}
