// Package plan decides what a node announces: which VIPs it answers for on its
// links, which routes it advertises, and to which peers.
//
// Make is a pure function of a State. The package opens no socket, reads no
// clock and knows neither Kubernetes nor GoBGP. A new rule of the election
// belongs in candidates.go, a new rule of BGP in routes.go, and one about which nodes
// carry the flows of a VIP in spread.go.
package plan

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// Reason says in one word why this node announces a VIP by layer 2, or why not.
type Reason string

// The reasons of layer 2.
const (
	Owner       Reason = "Owner"       // this node was elected
	OtherOwner  Reason = "OtherOwner"  // another node was elected
	Conflict    Reason = "Conflict"    // this node was elected, but a foreign host has the address
	NoEndpoint  Reason = "NoEndpoint"  // traffic policy Local, and no candidate has a ready endpoint
	NoLink      Reason = "NoLink"      // no candidate has a link on which it could announce
	NoCandidate Reason = "NoCandidate" // no node may announce
	Fenced      Reason = "Fenced"      // this speaker must not announce anything
	NotLayer2   Reason = "NotLayer2"   // the pool uses BGP alone
	NodeAddress Reason = "NodeAddress" // a node has the address
	Unpublished Reason = "Unpublished" // no pool has the address, and the cluster manager has not published it
)

// Decision is what the plan says about one VIP.
type Decision struct {
	VIP netip.Addr
	// Services are those that have the VIP, as namespace/name.
	Services []string
	// Pool is the name of the VIP's pool; empty if no pool has the VIP any more.
	Pool string
	// Candidates are the nodes that could announce the VIP. Owner is the node that
	// does.
	Candidates []string
	Owner      string
	Reason     Reason
	// Withheld is set if no Service has the VIP in its status, because a foreign host has it.
	Withheld bool
	// Network is the network of the nodes that holds the VIP; the zero value for none.
	Network netip.Prefix
	// Links are the links of this node on which the VIP is announced.
	Links []string
	// DespiteConflicts is set if the VIP is announced also on links on which a foreign host
	// has it.
	DespiteConflicts bool
	// Foreign is the MAC address of the foreign host, with Reason Conflict.
	Foreign string
	// BGP says what this node does over BGP. It does not depend on Reason.
	BGP BGPReason
	// MED is the MULTI_EXIT_DISC of the route; 0 if all nodes are equal.
	MED uint32
	// Spread says whether several nodes carry the flows of the VIP. Carriers are these nodes,
	// in alphabetical order. All nodes agree on them.
	Spread   SpreadReason
	Carriers []Carrier
}

// Plan is what one node should do.
type Plan struct {
	Node string
	// Fenced says why the node must not announce by layer 2; empty if it may.
	Fenced string
	// Suppressed says why other nodes are preferred to this one; empty if they are not.
	Suppressed string
	// CannotSpread says why the node cannot hand flows on; empty if it can.
	CannotSpread string
	// Decisions are in the order of their VIPs.
	Decisions []Decision
	// Routes and Peers are what the node advertises over BGP, and to whom. They are
	// empty and mean nothing if KeepSessions is set.
	Routes []Route
	Peers  []Peer
	// KeepSessions is set if the configuration or this Node object is unknown.
	// All BGP sessions and routes should stay as they are.
	KeepSessions bool
	// KeepRoutes is set if peers with graceful restart should keep the routes when
	// this speaker ends. It is not set if the node itself is about to go away.
	KeepRoutes bool
	// Spread is what this node does with the flows of VIPs that are spread, in the order of the
	// VIPs. It is empty and means nothing if KeepSpread is set.
	Spread []Spread
	// KeepSpread is set if this node is fenced, or if the configuration or its Node object is
	// unknown. It should go on with the flows as before: its connections live, and the other
	// nodes still send it flows.
	KeepSpread bool

	// The rest makes the next plan cheaper.
	groups map[groupKey]*group
	owners map[netip.Addr]ownership
	// divisions are those that the VIPs of this plan use.
	divisions map[divisionKey]*division
}

// ownership is the group from which a VIP's owner was elected, and that owner.
type ownership struct {
	group groupKey
	owner string
}

// Make returns the plan for a state. Speakers that have the same state elect the
// same owners, without a message.
//
// previous is an earlier plan of this node, or the zero Plan. It only saves time:
// the result is the same without it.
func Make(s State, previous Plan) Plan {
	self, hasNode := s.self()
	b, a := newBuilder(s, previous), newAdvertiser(s, self, hasNode)
	byVIP := make(map[netip.Addr][]Service, len(s.Services))
	for _, svc := range s.Services {
		for _, vip := range svc.VIPs {
			byVIP[vip] = append(byVIP[vip], svc)
		}
	}
	p := Plan{
		Node: s.Node, Fenced: s.Fenced, Suppressed: s.Suppressed, CannotSpread: s.CannotSpread, Decisions: make([]Decision, 0, len(byVIP)),
		KeepSessions: s.Config == nil || !hasNode, KeepRoutes: hasNode && self.Excluded == "" && !self.Cordoned && !self.ShuttingDown,
		KeepSpread: s.Config == nil || !hasNode || s.Fenced != "",
		groups:     b.groups, owners: make(map[netip.Addr]ownership, len(byVIP)), divisions: b.divisions,
	}
	for _, vip := range slices.SortedFunc(maps.Keys(byVIP), netip.Addr.Compare) {
		services := byVIP[vip]
		d := Decision{VIP: vip, Services: sortedNames(services)}
		pool, refused := s.poolOf(vip)
		if refused != "" {
			d.Reason = refused
			p.Decisions = append(p.Decisions, d)
			continue
		}
		if current, ok := s.Config.PoolOf(vip); ok {
			d.Pool = current.Name
		}
		local := allLocal(services)
		d.Spread = spreadWish(pool, services)
		if d.Withheld = isWithheld(vip, services); d.Withheld {
			d.BGP = withheldReason(pool)
		} else {
			d.BGP, d.MED = a.decide(vip, pool, local, services)
		}
		if pool.Protocol.Layer2() {
			p.owners[vip] = b.decide(&d, pool, local, services, previous.owners[vip])
		} else {
			d.Reason = NotLayer2
		}
		p.Decisions = append(p.Decisions, d)
	}
	if !p.KeepSpread && s.CannotSpread == "" {
		p.Spread = b.spread
	}
	if !p.KeepSessions {
		p.Routes, p.Peers = a.routes, s.peers(self)
	}
	return p
}

// poolOf returns the pool that says how a VIP is announced, or the reason why the VIP
// must not be announced. The speakers announce only what the cluster manager gave.
// Otherwise a user who may write the status of one Service could have any address of the
// network announced.
//
// An edit of the configuration can take an address out of the pools while a Service has
// it. The cluster manager then publishes the address. A speaker can see the edit first.
// Until the cluster manager uses the edit, the pools that it still uses count, too.
func (s *State) poolOf(vip netip.Addr) (pool *config.Pool, refused Reason) {
	if _, taken := s.NodeAddrs[vip]; taken {
		return nil, NodeAddress
	}
	if pool, ok := PoolOf(vip, s.Config, s.Orphans, s.Earlier); ok {
		return pool, ""
	}
	if s.NothingPublished {
		return s.Config.UnknownPool(), ""
	}
	return nil, Unpublished
}

// PoolOf returns the pool of a VIP. The arguments are the fields of a State.
func PoolOf(vip netip.Addr, current *config.Config, orphans map[netip.Addr]*config.Pool, earlier *config.Config) (*config.Pool, bool) {
	if pool, ok := current.PoolOf(vip); ok {
		return pool, true
	}
	if pool, ok := orphans[vip]; ok {
		return pool, true
	}
	return earlier.PoolOf(vip)
}

// sortedNames sorts the Services and returns their names.
func sortedNames(services []Service) []string {
	if len(services) > 1 {
		slices.SortFunc(services, func(a, b Service) int { return cmp.Compare(a.Name, b.Name) })
	}
	names := make([]string, len(services))
	for i, svc := range services {
		names[i] = svc.Name
	}
	return names
}

// isWithheld reports whether no Service has the VIP in its status.
func isWithheld(vip netip.Addr, services []Service) bool {
	return !slices.ContainsFunc(services, func(s Service) bool { return !slices.Contains(s.Withheld, vip) })
}

// allLocal reports whether only nodes with an endpoint may announce the address
// that these Services share.
func allLocal(services []Service) bool {
	return !slices.ContainsFunc(services, func(s Service) bool { return !s.Local })
}
