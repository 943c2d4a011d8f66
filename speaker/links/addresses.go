package links

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// notYet marks IPv6 addresses that are not checked for duplicates, or that are duplicates.
const notYet = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED

// mainAddress returns the address of interface index by which other hosts should know it; the
// zero value for none. It is one of the InternalIPs of the Node, or else the one with the
// widest prefix. A deprecated address (RFC 4862 section 5.5.4) comes last, a temporary one (RFC
// 8981) does not count. An address whose prefix is the address itself counts only as an InternalIP: other programs put
// virtual addresses on interfaces in that form. A virtual address of the network's prefix
// does not displace the main address, because the kernel lists the older one first.
func mainAddress(addrs []netlink.Addr, index int, internal []netip.Addr, ipv4 bool) (main netip.Prefix) {
	rank := func(p netip.Prefix, flags int) int {
		switch {
		case slices.Contains(internal, p.Addr()):
			return 0
		case flags&unix.IFA_F_DEPRECATED == 0:
			return 1 + p.Bits()
		}
		return 1000 + p.Bits()
	}
	best := -1
	// The kernel lists the newest IPv6 address first, and the oldest IPv4 address.
	ordered := slices.Clone(addrs)
	if !ipv4 {
		slices.Reverse(ordered)
	}
	for _, a := range ordered {
		p, ok := prefixOf(a, index)
		if !ok || p.Addr().Is4() != ipv4 || a.Flags&(notYet|unix.IFA_F_TEMPORARY) != 0 || p.IsSingleIP() && !slices.Contains(internal, p.Addr()) {
			continue
		}
		if r := rank(p, a.Flags); best < 0 || r < best {
			main, best = p, r
		}
	}
	return main
}

// networksOf returns the networks of interface index, the smallest first.
func networksOf(addrs []netlink.Addr, index int) (networks []netip.Prefix) {
	for _, a := range addrs {
		if p, ok := prefixOf(a, index); ok && !p.IsSingleIP() && a.Flags&(notYet|unix.IFA_F_DEPRECATED) == 0 {
			networks = append(networks, p.Masked())
		}
	}
	slices.SortFunc(networks, func(a, b netip.Prefix) int { return cmp.Or(cmp.Compare(b.Bits(), a.Bits()), a.Compare(b)) })
	return slices.Compact(networks)
}

// allPrefixes returns all addresses of interface index, in order.
func allPrefixes(addrs []netlink.Addr, index int) (all []netip.Prefix) {
	for _, a := range addrs {
		if p, ok := prefixOf(a, index); ok {
			all = append(all, p)
		}
	}
	slices.SortFunc(all, netip.Prefix.Compare)
	return all
}

// prefixOf returns an address with the length of its prefix, if the address is one of
// interface index and is not link-local.
func prefixOf(a netlink.Addr, index int) (netip.Prefix, bool) {
	addr, ok := netip.AddrFromSlice(a.IP)
	if addr = addr.Unmap(); !ok || a.LinkIndex != index || addr.IsLinkLocalUnicast() {
		return netip.Prefix{}, false
	}
	bits, _ := a.Mask.Size()
	p := netip.PrefixFrom(addr, bits)
	return p, p.IsValid() // the length of an IPv4-mapped address is that of IPv6
}
