package speaker

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bfd"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bgp"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
)

// With BGP there is no election: every node that may advertises, and the routers
// choose. So it depends on no other speaker, nor on the links of this one.
//
// kube-proxy remembers on each node for itself which pod a client has, so that a
// Service with session affinity must have all connections of a client come over one
// node, which routers do not care for. Each node then says with MULTI_EXIT_DISC (RFC
// 4271, section 9.1.2.2) how much it is to be preferred: its weight in an election,
// for which it needs no other node either. Routers take the best that lives.

// BGPReason is why this node advertises an address over BGP, or not, in one word.
type BGPReason string

// The reasons; the empty one is that the pool is not announced over BGP.
const (
	Advertised      BGPReason = "Advertised"      // this node advertises a route to it
	NoLocalEndpoint BGPReason = "NoLocalEndpoint" // traffic policy Local, and none is ready here
	Excluded        BGPReason = "Excluded"        // this node must not announce
	NotSelected     BGPReason = "NotSelected"     // the pool's node-selectors leave this node out
	NoPeer          BGPReason = "NoPeer"          // no peer is for this node
)

// advertising decides over all addresses for this node.
type advertising struct {
	node   Node
	there  bool     // there is a Node object
	peers  []string // that are for this node
	routes []bgp.Route
	seen   map[seenRoute]bool // what is in routes, since many addresses have one
}

type seenRoute struct {
	pool          *config.Pool
	advertisement int
	prefix        netip.Prefix
}

func newAdvertising(s State) *advertising {
	a := &advertising{seen: map[seenRoute]bool{}}
	if i := slices.IndexFunc(s.Nodes, func(n Node) bool { return n.Name == s.Node }); i >= 0 {
		a.node, a.there = s.Nodes[i], true
	}
	if s.Config != nil {
		for _, p := range s.Config.Peers {
			if p.Selects(a.node.Labels) {
				a.peers = append(a.peers, p.Name)
			}
		}
	}
	return a
}

// decide decides over one address, and keeps its routes. With reason Advertised it
// returns their MED, or 0 if all nodes are as good.
func (a *advertising) decide(vip netip.Addr, pool *config.Pool, local bool, services []Service) (reason BGPReason, med uint32) {
	switch {
	case pool == nil || !pool.Protocol.BGP():
		return "", 0
	case !a.there || a.node.Excluded != "":
		return Excluded, 0
	case !pool.Announces(a.node.Labels):
		return NotSelected, 0
	case local && !slices.ContainsFunc(services, func(s Service) bool { return slices.Contains(s.EndpointNodes, a.node.Name) }):
		return NoLocalEndpoint, 0
	}
	reason = NoPeer
	for i, ad := range pool.Advertisements {
		if !a.tells(ad) {
			continue
		}
		reason = Advertised
		length := ad.AggregationLength
		if vip.Is6() {
			length = ad.AggregationLengthV6
		}
		prefix := netip.PrefixFrom(vip, length).Masked()
		key := seenRoute{pool, i, prefix}
		if a.seen[key] {
			continue
		}
		a.seen[key] = true
		r := bgp.Route{Prefix: prefix, LocalPref: ad.LocalPref, Peers: ad.Peers}
		if prefix.IsSingleIP() && slices.ContainsFunc(services, func(s Service) bool { return s.Sticky }) {
			r.MED = election.Cost(vip, a.node.Name)
			med = r.MED
		}
		for _, c := range ad.Communities {
			r.Communities = append(r.Communities, uint32(c))
		}
		for _, c := range ad.LargeCommunities {
			r.LargeCommunities = append(r.LargeCommunities, c)
		}
		a.routes = append(a.routes, r)
	}
	return reason, med
}

// tells reports whether an advertisement is for a peer of this node.
func (a *advertising) tells(ad config.Advertisement) bool {
	if len(ad.Peers) == 0 {
		return len(a.peers) > 0
	}
	return slices.ContainsFunc(ad.Peers, func(name string) bool { return slices.Contains(a.peers, name) })
}

// surroundings are what the sessions of a node depend on, beside the configuration.
type surroundings struct {
	node  Node
	addrs []netip.Addr // the node's addresses of type InternalIP
	links []links.Link
	// password returns the password in a Secret, or an error that says what is
	// missing.
	password func(secret string) (string, error)
	// path returns the interface over which the kernel reaches an address, and
	// whether that is without another router; 0 if it is not known.
	path func(addr, source netip.Addr) (link int, direct bool)
}

// bgpPeers returns the peers of this node.
func bgpPeers(c *config.Config, here surroundings) (peers []bgp.Peer) {
	if c == nil {
		return nil
	}
	for _, p := range c.Peers {
		if !p.Selects(here.node.Labels) {
			continue
		}
		peer := bgp.Peer{
			Name: p.Name, MyASN: p.MyASN, ASN: p.ASN, Address: p.Address, Port: p.Port, Source: p.SourceAddress,
			HoldTime: p.HoldTime, KeepaliveTime: p.KeepaliveTime, RouterID: p.RouterID, Password: p.Password, GracefulRestart: p.GracefulRestart,
		}
		if p.EBGPMultihop {
			peer.MultihopTTL = cmp.Or(p.MultihopTTL, 255)
		}
		if !peer.RouterID.IsValid() {
			peer.RouterID = here.routerID()
		}
		if p.PasswordSecret != "" {
			var err error
			if peer.Password, err = here.password(p.PasswordSecret); err != nil {
				peer.Unready = err.Error()
			}
		}
		peer.NextHop4, peer.NextHop6 = here.nextHops(p)
		if profile, ok := c.BFDProfile(p.BFDProfile); ok {
			peer.BFD = bfd.Session{
				Peer: p.Address, Local: p.SourceAddress, Receive: profile.ReceiveInterval, Transmit: profile.TransmitInterval,
				Multiplier: profile.DetectMultiplier, MinimumTTL: profile.MinimumTTL, Passive: profile.PassiveMode,
			}
			link, direct := here.path(p.Address, p.SourceAddress)
			peer.BFD.Multihop = p.EBGPMultihop || p.MyASN == p.ASN && !direct
			if !peer.BFD.Multihop {
				peer.BFD.Link = link
			}
		}
		peers = append(peers, peer)
	}
	return peers
}

// routerID is the node's IPv4 address, or if it has none a number that is made
// from its name.
func (here surroundings) routerID() netip.Addr {
	if addr, ok := here.addr(true); ok {
		return addr
	}
	h := fnv.New32a()
	fmt.Fprint(h, here.node.Name)
	id := h.Sum32() | 1 // never 0.0.0.0
	return netip.AddrFrom4([4]byte{byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)})
}

// nextHops are the addresses that a router reaches this node at: those of the link
// on which the router is or to which the session is bound, else the node's.
func (here surroundings) nextHops(p config.Peer) (v4, v6 netip.Addr) {
	link, ok := here.linkWith(p.SourceAddress)
	if !ok {
		link, _ = here.linkOf(p.Address)
	}
	v4, v6 = link.IPv4.Addr(), link.IPv6.Addr()
	if !v4.IsValid() {
		v4, _ = here.addr(true)
	}
	if !v6.IsValid() {
		v6, _ = here.addr(false)
	}
	return v4, v6
}

func (here surroundings) addr(v4 bool) (netip.Addr, bool) {
	i := slices.IndexFunc(here.addrs, func(a netip.Addr) bool { return a.Is4() == v4 })
	if i < 0 {
		return netip.Addr{}, false
	}
	return here.addrs[i], true
}

// linkOf returns the link that an address is on.
func (here surroundings) linkOf(addr netip.Addr) (links.Link, bool) {
	return here.link(func(l links.Link) bool {
		return l.Name == addr.Zone() || l.IPv4.Masked().Contains(addr) || l.IPv6.Masked().Contains(addr)
	})
}

// linkWith returns the link that has an address.
func (here surroundings) linkWith(addr netip.Addr) (links.Link, bool) {
	return here.link(func(l links.Link) bool { return addr.IsValid() && (l.IPv4.Addr() == addr || l.IPv6.Addr() == addr) })
}

func (here surroundings) link(fits func(links.Link) bool) (links.Link, bool) {
	i := slices.IndexFunc(here.links, fits)
	if i < 0 {
		return links.Link{}, false
	}
	return here.links[i], true
}
