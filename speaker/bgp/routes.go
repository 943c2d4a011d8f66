package bgp

import (
	"net/netip"
	"slices"
)

func (r Route) equal(o Route) bool {
	return r.Prefix == o.Prefix && r.LocalPref == o.LocalPref && r.MED == o.MED && slices.Equal(r.Communities, o.Communities) &&
		slices.Equal(r.LargeCommunities, o.LargeCommunities) && slices.Equal(r.Peers, o.Peers)
}

// attributes are what a peer learns about a prefix.
type attributes struct {
	nextHop          netip.Addr
	localPref        uint32
	med              uint32
	communities      []uint32
	largeCommunities [][3]uint32
}

func (a attributes) equal(b attributes) bool {
	return a.nextHop == b.nextHop && a.localPref == b.localPref && a.med == b.med &&
		slices.Equal(a.communities, b.communities) && slices.Equal(a.largeCommunities, b.largeCommunities)
}

// routesFor returns the routes for a peer. noNextHop is the number of prefixes that it
// leaves out because they have no next hop. Several routes of one prefix become one,
// with all of their communities, the highest local preference and the highest MED.
func routesFor(p Peer, routes []Route) (advertised map[netip.Prefix]attributes, noNextHop int) {
	advertised = map[netip.Prefix]attributes{}
	none := map[netip.Prefix]bool{}
	for _, r := range routes {
		if len(r.Peers) > 0 && !slices.Contains(r.Peers, p.Name) {
			continue
		}
		hop, ok := p.nextHop(r.Prefix.Addr().Is4())
		if !ok {
			none[r.Prefix] = true
			continue
		}
		a := advertised[r.Prefix]
		a.nextHop = hop
		a.localPref = max(a.localPref, r.LocalPref)
		a.med = max(a.med, r.MED)
		a.communities = append(a.communities, r.Communities...)
		a.largeCommunities = append(a.largeCommunities, r.LargeCommunities...)
		advertised[r.Prefix] = a
	}
	for prefix, a := range advertised {
		slices.Sort(a.communities)
		a.communities = slices.Compact(a.communities)
		slices.SortFunc(a.largeCommunities, func(a, b [3]uint32) int { return slices.Compare(a[:], b[:]) })
		a.largeCommunities = slices.Compact(a.largeCommunities)
		advertised[prefix] = a
	}
	return advertised, len(none)
}

// nextHop returns the next hop for a family. For the session's own family that is the
// unspecified address: it stands for our address in the session. A session between
// link-local addresses uses a global address if there is one, because not all routers
// accept the other.
func (p Peer) nextHop(ipv4 bool) (hop netip.Addr, ok bool) {
	switch {
	case ipv4 && p.Address.Is4():
		return netip.IPv4Unspecified(), true
	case !ipv4 && p.Address.Is6() && !(p.Address.IsLinkLocalUnicast() && p.NextHop6.IsValid()):
		return netip.IPv6Unspecified(), true
	case ipv4:
		return p.NextHop4, p.NextHop4.IsValid()
	}
	return p.NextHop6, p.NextHop6.IsValid()
}

// change returns what to announce and to withdraw so that a peer that has the routes
// before has the routes after. The prefixes are in the order of their addresses.
func change(before, after map[netip.Prefix]attributes) (announce, withdraw []netip.Prefix) {
	for prefix, a := range after {
		if old, ok := before[prefix]; !ok || !old.equal(a) {
			announce = append(announce, prefix)
		}
	}
	for prefix := range before {
		if _, ok := after[prefix]; !ok {
			withdraw = append(withdraw, prefix)
		}
	}
	slices.SortFunc(announce, netip.Prefix.Compare)
	slices.SortFunc(withdraw, netip.Prefix.Compare)
	return announce, withdraw
}
