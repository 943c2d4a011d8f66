package speaker

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bgp"
)

// State is all that a plan depends on.
type State struct {
	// Node is this speaker's node.
	Node string
	// Config is the last good configuration, or nil.
	Config   *config.Config
	Services []Service
	Nodes    []Node
	// Members are those that are alive and can announce, this one included.
	Members []Member
	// Lost are the nodes whose speakers have died without a word, as far as is known.
	Lost []string
	// Silent says why this speaker must not announce: it has no link, or is cut off,
	// or has not yet looked for the others after it was. Empty if it may.
	Silent string
	// Conflicts are the addresses of this node that another host has, with its MAC
	// address.
	Conflicts map[netip.Addr]string
}

// Member is a speaker that can announce.
type Member struct {
	Name string
	// Held speakers have died too often of late: others are preferred.
	Held  bool
	Links []Link
}

// Link is an interface of a speaker.
type Link struct {
	Name string
	// IPv4 and IPv6 are the segments that it is on; the zero value for none.
	IPv4, IPv6 netip.Prefix
	// Dead is set when nobody hears the speaker there.
	Dead bool
}

// Service is what a plan needs to know of a Service with addresses.
type Service struct {
	Name string // namespace/name
	VIPs []netip.Addr
	// Local restricts the announcement to the nodes in EndpointNodes.
	Local         bool
	EndpointNodes []string
	// Sticky is set when all connections of a client shall come to the same pod.
	Sticky bool
}

// Node is a node of the cluster.
type Node struct {
	Name   string
	Labels map[string]string
	// Excluded says why the node must not announce; empty if it may.
	Excluded string
}

// Reason is why an address is announced by this node, or not, in one word.
type Reason string

// The reasons.
const (
	Owner       Reason = "Owner"       // this node was elected
	OtherOwner  Reason = "OtherOwner"  // another node was elected
	Conflict    Reason = "Conflict"    // this node was elected, but another host has the address
	NoEndpoint  Reason = "NoEndpoint"  // traffic policy Local, and no node has a ready endpoint
	NoLink      Reason = "NoLink"      // no node that may announce has one of the pool's interfaces
	NoCandidate Reason = "NoCandidate" // no node may announce
	Silent      Reason = "Silent"      // this speaker must not announce anything
	NotLayer2   Reason = "NotLayer2"   // the pool is announced over BGP alone
)

// Decision is what the plan says about one address.
type Decision struct {
	VIP netip.Addr
	// Services that have the address, and the pool it is of ("" for none).
	Services []string
	Pool     string
	// Candidates are the nodes that could announce it, Owner the one that does.
	Candidates []string
	Owner      string
	Reason     Reason
	// Links are this node's links on which the address is announced.
	Links []string
	// Rivals are lost speakers that will be the owner if they still live: should
	// they be heard on the wire, this node gives way.
	Rivals []string
	// Foreign is the MAC address of the host that has the address, with Conflict.
	Foreign string
	// BGP is what this node does over BGP, whatever is done on the link.
	BGP BGPReason
	// MED is what it says there of itself, if routers shall choose a single node.
	MED uint32
}

// Plan is what this node shall do, in the order of addresses.
type Plan struct {
	Node      string
	Silent    string
	Decisions []Decision
	// Routes are what this node shall advertise over BGP.
	Routes []bgp.Route
}

// MakePlan decides for every address who announces it. It is a pure function:
// on every node the same State gives the same Owner.
func MakePlan(s State) Plan { return new(Planner).Plan(s) }

// Planner makes the plans of MakePlan, and is quicker when little has changed
// since the last one. It is for one goroutine.
type Planner struct {
	groups map[groupKey]*group
	owners map[netip.Addr]ownership
	// routed are the pools of the addresses that are advertised over BGP: one that
	// has left the configuration goes on to say how.
	routed map[netip.Addr]*config.Pool
}

// ownership is who was elected for an address from which group.
type ownership struct {
	group groupKey
	owner string
}

// Plan returns MakePlan(s).
func (p *Planner) Plan(s State) Plan {
	m, a := newMaker(s, p.groups), newAdvertising(s)
	byVIP := make(map[netip.Addr][]Service, len(s.Services))
	for _, svc := range s.Services {
		for _, vip := range svc.VIPs {
			byVIP[vip] = append(byVIP[vip], svc)
		}
	}
	plan := Plan{Node: s.Node, Silent: s.Silent, Decisions: make([]Decision, 0, len(byVIP))}
	owners, routed := make(map[netip.Addr]ownership, len(byVIP)), map[netip.Addr]*config.Pool{}
	for _, vip := range slices.SortedFunc(maps.Keys(byVIP), netip.Addr.Compare) {
		pool, inPool := s.Config.PoolOf(vip)
		if !inPool {
			pool = nil
		}
		services, local := byVIP[vip], allLocal(byVIP[vip])
		d := Decision{VIP: vip, Services: names(services)}
		if pool != nil {
			d.Pool = pool.Name
		}
		route := pool
		if pool == nil {
			route = p.routed[vip]
		}
		if d.BGP, d.MED = a.decide(vip, route, local, services); d.BGP != "" {
			routed[vip] = route
		}
		if route == nil || route.Protocol.Layer2() {
			owners[vip] = m.decide(&d, pool, local, services, p.owners[vip])
		} else {
			d.Reason = NotLayer2
		}
		plan.Decisions = append(plan.Decisions, d)
	}
	p.groups, p.owners, p.routed = m.groups, owners, routed
	plan.Routes = a.routes
	return plan
}

// names returns the Services' names, sorted, and sorts the Services.
func names(services []Service) []string {
	if len(services) > 1 {
		slices.SortFunc(services, func(a, b Service) int { return cmp.Compare(a.Name, b.Name) })
	}
	names := make([]string, len(services))
	for i, svc := range services {
		names[i] = svc.Name
	}
	return names
}

// allLocal reports whether an address may only be announced where an endpoint is.
func allLocal(services []Service) bool {
	return !slices.ContainsFunc(services, func(s Service) bool { return !s.Local })
}

// decide decides who announces an address on the link.
func (m *maker) decide(d *Decision, pool *config.Pool, local bool, services []Service, before ownership) (o ownership) {
	vip := d.VIP
	key := groupKey{pool, m.segments(vip)}
	g := m.group(key)
	if local {
		d.Candidates = g.withEndpoints(services)
		d.Owner = election.Owner(vip, d.Candidates)
	} else {
		d.Candidates = g.preferred
		d.Owner = g.owner(vip, before, key)
		o = ownership{key, d.Owner}
	}
	switch {
	case m.Silent != "":
		d.Reason = Silent
	case d.Owner == m.Node:
		d.Reason, d.Links = Owner, g.links
		if d.Foreign = m.Conflicts[vip]; d.Foreign != "" {
			d.Reason = Conflict
		}
		d.Rivals = m.rivals(vip, pool)
	case d.Owner != "":
		d.Reason = OtherOwner
	case len(g.all) > 0:
		d.Reason = NoEndpoint
	case g.linkless:
		d.Reason = NoLink
	default:
		d.Reason = NoCandidate
	}
	return o
}

// Describe returns the plan for people, one line an address.
func (p Plan) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "node %s\n", p.Node)
	if p.Silent != "" {
		fmt.Fprintf(&b, "silent: %s\n", p.Silent)
	}
	for _, d := range p.Decisions {
		fmt.Fprintf(&b, "%s services=%s pool=%s", d.VIP, strings.Join(d.Services, ","), cmp.Or(d.Pool, "none"))
		if d.Reason != NotLayer2 {
			fmt.Fprintf(&b, " owner=%s candidates=%s reason=%s", cmp.Or(d.Owner, "none"), cmp.Or(strings.Join(d.Candidates, ","), "none"), d.Reason)
		}
		if d.BGP != "" {
			fmt.Fprintf(&b, " bgp=%s", d.BGP)
		}
		if d.MED > 0 {
			fmt.Fprintf(&b, " med=%d", d.MED)
		}
		if len(d.Links) > 0 {
			fmt.Fprintf(&b, " links=%s", strings.Join(d.Links, ","))
		}
		if d.Foreign != "" {
			fmt.Fprintf(&b, " foreign=%s", d.Foreign)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
