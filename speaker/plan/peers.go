package plan

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// Peer is a router with which this node should hold a BGP session.
type Peer struct {
	// Config is the peer as configured.
	Config config.Peer
	// RouterID of this node; always an IPv4 address.
	RouterID netip.Addr
	// Password of TCP MD5 (RFC 2385), or empty.
	Password string
	// MultihopTTL is how many hops away an external peer may be; 0 means on a link.
	MultihopTTL uint8
	// NextHop4 and NextHop6 are the addresses at which the router reaches this node;
	// the zero Addr if the node has none of the family.
	NextHop4, NextHop6 netip.Addr
	// Unready says why the session cannot begin yet; empty if it can.
	Unready string
	// BFD is nil if the peer has no BFD profile.
	BFD *BFD
}

// BFD says how to watch the path to a peer.
type BFD struct {
	Profile config.BFDProfile
	// Multihop is set if the peer may be more than one hop away (RFC 5883).
	Multihop bool
	// Link is the index of the interface on which the packets of a peer on a link must
	// arrive; 0 means any.
	Link int
}

// peers returns the peers of this node, in the order of the configuration.
func (s *State) peers(self Node) (peers []Peer) {
	for _, c := range s.Config.Peers {
		if !c.Selects(self.Labels) {
			continue
		}
		router := s.Routers[c.Name]
		p := Peer{Config: c, RouterID: c.RouterID, Password: c.Password, Unready: router.Unready}
		if c.EBGPMultihop {
			p.MultihopTTL = cmp.Or(c.MultihopTTL, 255)
		}
		if !p.RouterID.IsValid() {
			p.RouterID = s.routerID()
		}
		if c.PasswordSecret != "" {
			p.Password = router.Password
		}
		p.NextHop4, p.NextHop6 = s.nextHops(c)
		if profile, ok := s.Config.BFDProfile(c.BFDProfile); ok {
			p.BFD = &BFD{Profile: profile, Multihop: c.EBGPMultihop || c.MyASN == c.ASN && !router.Direct}
			if !p.BFD.Multihop {
				p.BFD.Link = router.Link
			}
		}
		peers = append(peers, p)
	}
	return peers
}

// routerID returns the node's IPv4 address. For a node without one it returns a
// number that is made from the node's name.
func (s *State) routerID() netip.Addr {
	if addr, ok := s.ownAddr(true); ok {
		return addr
	}
	h := fnv.New32a()
	fmt.Fprint(h, s.Node)
	id := h.Sum32() | 1 // never 0.0.0.0
	return netip.AddrFrom4([4]byte{byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)})
}

// nextHops returns the addresses at which a router reaches this node: those of the
// interface that the session uses, or else the node's own.
func (s *State) nextHops(c config.Peer) (v4, v6 netip.Addr) {
	i, ok := s.interfaceWith(c.SourceAddress)
	if !ok {
		i, _ = s.interfaceTo(c.Address)
	}
	v4, v6 = i.IPv4.Addr(), i.IPv6.Addr()
	if own := i.towards(c.Address); own.Is4() {
		v4 = own
	} else if own.IsValid() {
		v6 = own
	}
	if !v4.IsValid() {
		v4, _ = s.ownAddr(true)
	}
	if !v6.IsValid() {
		v6, _ = s.ownAddr(false)
	}
	return v4, v6
}

// ownAddr returns the first address of this Node of a family.
func (s *State) ownAddr(v4 bool) (netip.Addr, bool) {
	i := slices.IndexFunc(s.Addrs, func(a netip.Addr) bool { return a.Is4() == v4 })
	if i < 0 {
		return netip.Addr{}, false
	}
	return s.Addrs[i], true
}

// towards returns the address of the interface in the network of addr; the zero Addr for none.
func (i Interface) towards(addr netip.Addr) netip.Addr {
	for _, p := range append([]netip.Prefix{i.IPv4, i.IPv6}, i.Addrs...) {
		if p.Masked().Contains(addr) {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

// interfaceTo returns the interface whose network holds addr.
func (s *State) interfaceTo(addr netip.Addr) (Interface, bool) {
	return s.findInterface(func(i Interface) bool { return i.Name == addr.Zone() || i.towards(addr).IsValid() })
}

// interfaceWith returns the interface that has the address addr.
func (s *State) interfaceWith(addr netip.Addr) (Interface, bool) {
	return s.findInterface(func(i Interface) bool {
		return addr.IsValid() && (i.IPv4.Addr() == addr || i.IPv6.Addr() == addr || slices.ContainsFunc(i.Addrs, func(p netip.Prefix) bool { return p.Addr() == addr }))
	})
}

func (s *State) findInterface(fits func(Interface) bool) (Interface, bool) {
	i := slices.IndexFunc(s.Interfaces, fits)
	if i < 0 {
		return Interface{}, false
	}
	return s.Interfaces[i], true
}
