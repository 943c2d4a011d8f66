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
	OnlyBGP     Reason = "OnlyBGP"     // the pool has protocol bgp, which this version does not speak
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
}

// Plan is what this node shall do, in the order of addresses.
type Plan struct {
	Node      string
	Silent    string
	Decisions []Decision
}

// MakePlan decides for every address who announces it. It is a pure function:
// on every node the same State gives the same Owner.
func MakePlan(s State) Plan { return new(Planner).Plan(s) }

// Planner makes the plans of MakePlan, and is quicker when little has changed
// since the last one. It is for one goroutine.
type Planner struct {
	groups map[groupKey]*group
	owners map[netip.Addr]ownership
}

// ownership is who was elected for an address from which group.
type ownership struct {
	group groupKey
	owner string
}

// Plan returns MakePlan(s).
func (p *Planner) Plan(s State) Plan {
	m := newMaker(s, p.groups)
	byVIP := make(map[netip.Addr][]Service, len(s.Services))
	for _, svc := range s.Services {
		for _, vip := range svc.VIPs {
			byVIP[vip] = append(byVIP[vip], svc)
		}
	}
	plan := Plan{Node: s.Node, Silent: s.Silent, Decisions: make([]Decision, 0, len(byVIP))}
	owners := make(map[netip.Addr]ownership, len(byVIP))
	for _, vip := range slices.SortedFunc(maps.Keys(byVIP), netip.Addr.Compare) {
		d, o := m.decide(vip, byVIP[vip], p.owners[vip])
		plan.Decisions = append(plan.Decisions, d)
		owners[vip] = o
	}
	p.groups, p.owners = m.groups, owners
	return plan
}

func (m *maker) decide(vip netip.Addr, services []Service, before ownership) (d Decision, o ownership) {
	if len(services) > 1 {
		slices.SortFunc(services, func(a, b Service) int { return cmp.Compare(a.Name, b.Name) })
	}
	d.VIP, d.Services = vip, make([]string, len(services))
	local := true
	for i, svc := range services {
		d.Services[i] = svc.Name
		local = local && svc.Local
	}
	pool, inPool := m.Config.PoolOf(vip)
	if inPool {
		d.Pool = pool.Name
		if pool.Protocol == config.BGP {
			d.Reason = OnlyBGP
			return d, o
		}
	}
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
	return d, o
}

// Describe returns the plan for people, one line an address.
func (p Plan) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "node %s\n", p.Node)
	if p.Silent != "" {
		fmt.Fprintf(&b, "silent: %s\n", p.Silent)
	}
	for _, d := range p.Decisions {
		fmt.Fprintf(&b, "%s services=%s pool=%s owner=%s candidates=%s reason=%s", d.VIP,
			strings.Join(d.Services, ","), cmp.Or(d.Pool, "none"), cmp.Or(d.Owner, "none"), cmp.Or(strings.Join(d.Candidates, ","), "none"), d.Reason)
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
