package plan

import (
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
)

// BGP needs no election: every node that may advertise does so, and the routers
// choose. So a route depends neither on other members nor on the links of this
// node.
//
// Session affinity is the exception. kube-proxy remembers on each node separately
// which pod a client has, so all connections of a client must reach one node.
// Routers do not know that. Each node therefore tells its own rank with
// MULTI_EXIT_DISC (RFC 4271, section 9.1.2.2). The rank is the node's weight in an
// election, for which it needs no other node. Routers use the best node that is
// alive.

// BGPReason says in one word why this node advertises a VIP over BGP, or why not.
type BGPReason string

// The reasons of BGP. The empty reason means that the VIP is not for BGP.
const (
	Advertised      BGPReason = "Advertised"      // this node advertises a route to it
	NoLocalEndpoint BGPReason = "NoLocalEndpoint" // traffic policy Local, and this node has no ready endpoint
	Excluded        BGPReason = "Excluded"        // this node must not announce
	NotSelected     BGPReason = "NotSelected"     // the pool's node-selectors leave this node out
	NotReady        BGPReason = "NotReady"        // this node has started, and cannot send traffic to pods yet
	NoPeer          BGPReason = "NoPeer"          // no peer is configured for this node
	Withheld        BGPReason = "Withheld"        // a foreign host has the VIP, and the Service's status does not
	NoReadyEndpoint BGPReason = "NoReadyEndpoint" // no endpoint is ready anywhere, and the pool has withdraw-without-endpoints
)

// Route is a route to advertise. It has the fields of bgp.Route, so that one converts to
// the other, but this package must not import GoBGP.
type Route struct {
	Prefix netip.Prefix
	// LocalPref is LOCAL_PREF for internal peers; 0 means the usual 100.
	LocalPref uint32
	// MED is MULTI_EXIT_DISC; 0 means none. A router prefers the lower one.
	MED              uint32
	Communities      []uint32
	LargeCommunities [][3]uint32
	// Peers are the names of the peers that get the route; empty means all.
	Peers []string
}

// advertiser decides about the routes of this node.
type advertiser struct {
	node    Node
	hasNode bool     // there is a Node object for this node
	unready bool     // it cannot send traffic to pods yet
	peers   []string // the peers that are configured for this node
	routes  []Route
	present map[routeKey]bool // the routes in routes: many VIPs share one aggregate
}

type routeKey struct {
	pool          *config.Pool
	advertisement int // index in the pool's advertisements
	prefix        netip.Prefix
}

func newAdvertiser(s State, self Node, hasNode bool) *advertiser {
	a := &advertiser{node: self, hasNode: hasNode, unready: s.Unready && self.Name == s.Node, present: map[routeKey]bool{}}
	if s.Config != nil {
		for _, p := range s.Config.Peers {
			if p.Selects(self.Labels) {
				a.peers = append(a.peers, p.Name)
			}
		}
	}
	return a
}

// decide decides about one VIP and adds its routes. It returns the MED of the
// routes, or 0 if all nodes are equal.
func (a *advertiser) decide(vip netip.Addr, pool *config.Pool, local bool, services []Service) (reason BGPReason, med uint32) {
	switch {
	case !pool.Protocol.BGP():
		return "", 0
	case pool.WithdrawWithoutEndpoints && !slices.ContainsFunc(services, func(s Service) bool { return !s.Endpointless }):
		return NoReadyEndpoint, 0 // on all nodes, so this comes before what is about this node
	case !a.hasNode || a.node.excludedFrom(pool) != "":
		return Excluded, 0
	case !pool.Announces(a.node.Labels):
		return NotSelected, 0
	case a.unready:
		return NotReady, 0
	case local && !slices.ContainsFunc(services, func(s Service) bool { return slices.Contains(s.EndpointNodes, a.node.Name) }):
		return NoLocalEndpoint, 0
	}
	reason = NoPeer
	for i, ad := range pool.Advertisements {
		if !a.hasPeerFor(ad) {
			continue
		}
		reason = Advertised
		length := ad.AggregationLength
		if vip.Is6() {
			length = ad.AggregationLengthV6
		}
		prefix := netip.PrefixFrom(vip, length).Masked()
		key := routeKey{pool, i, prefix}
		if a.present[key] {
			continue
		}
		a.present[key] = true
		r := newRoute(prefix, ad)
		if prefix.IsSingleIP() && slices.ContainsFunc(services, func(s Service) bool { return s.Sticky }) {
			r.MED = election.Cost(vip, a.node.Name)
			med = r.MED
		}
		a.routes = append(a.routes, r)
	}
	return reason, med
}

// withheldReason returns the reason for a VIP that is not in a status.
func withheldReason(pool *config.Pool) BGPReason {
	if pool.Protocol.BGP() {
		return Withheld
	}
	return ""
}

func newRoute(prefix netip.Prefix, ad config.Advertisement) Route {
	r := Route{Prefix: prefix, LocalPref: ad.LocalPref, Peers: ad.Peers}
	for _, c := range ad.Communities {
		r.Communities = append(r.Communities, uint32(c))
	}
	for _, c := range ad.LargeCommunities {
		r.LargeCommunities = append(r.LargeCommunities, c)
	}
	return r
}

// hasPeerFor reports whether one of this node's peers gets the advertisement.
func (a *advertiser) hasPeerFor(ad config.Advertisement) bool {
	if len(ad.Peers) == 0 {
		return len(a.peers) > 0
	}
	return slices.ContainsFunc(ad.Peers, func(name string) bool { return slices.Contains(a.peers, name) })
}
