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
	// Alive are the nodes whose speakers are alive and can announce.
	Alive []string
	// Silent is set when this speaker must not announce: it has no link, or has
	// not yet looked for the others after it had none.
	Silent bool
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
	NoEndpoint  Reason = "NoEndpoint"  // traffic policy Local, and no node has a ready endpoint
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
}

// Plan is what this node shall do, in the order of addresses.
type Plan struct {
	Node      string
	Decisions []Decision
}

// MakePlan decides for every address who announces it. It is a pure function:
// on every node the same State gives the same Owner.
func MakePlan(s State) Plan {
	eligible := eligibleNodes(s)
	byVIP := map[netip.Addr][]Service{}
	for _, svc := range s.Services {
		for _, vip := range svc.VIPs {
			byVIP[vip] = append(byVIP[vip], svc)
		}
	}
	plan := Plan{Node: s.Node}
	for _, vip := range slices.SortedFunc(maps.Keys(byVIP), netip.Addr.Compare) {
		plan.Decisions = append(plan.Decisions, decide(s, vip, byVIP[vip], eligible))
	}
	return plan
}

// eligibleNodes returns the nodes that may announce addresses, sorted: alive and
// not excluded. An address of the member list that is no node is none.
func eligibleNodes(s State) []Node {
	nodes := slices.DeleteFunc(slices.Clone(s.Nodes), func(n Node) bool {
		return n.Excluded != "" || !slices.Contains(s.Alive, n.Name)
	})
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Compare(a.Name, b.Name) })
	return nodes
}

func decide(s State, vip netip.Addr, services []Service, nodes []Node) Decision {
	slices.SortFunc(services, func(a, b Service) int { return cmp.Compare(a.Name, b.Name) })
	d := Decision{VIP: vip}
	for _, svc := range services {
		d.Services = append(d.Services, svc.Name)
	}
	pool, inPool := s.Config.PoolOf(vip)
	if inPool {
		d.Pool = pool.Name
		if pool.Protocol == config.BGP {
			d.Reason = OnlyBGP
			return d
		}
	}
	var eligible []string
	for _, n := range nodes {
		if !inPool || pool.Announces(n.Labels) {
			eligible = append(eligible, n.Name)
		}
	}
	d.Candidates = candidates(services, eligible)
	d.Owner = election.Owner(vip, d.Candidates)
	switch {
	case s.Silent:
		d.Reason = Silent
	case d.Owner == s.Node:
		d.Reason = Owner
	case d.Owner != "":
		d.Reason = OtherOwner
	case len(eligible) > 0:
		d.Reason = NoEndpoint
	default:
		d.Reason = NoCandidate
	}
	return d
}

// candidates are the eligible nodes, unless all the Services want only nodes
// with an endpoint of theirs.
func candidates(services []Service, eligible []string) []string {
	var local []string
	for _, svc := range services {
		if !svc.Local {
			return eligible
		}
		local = append(local, svc.EndpointNodes...)
	}
	var both []string
	for _, name := range eligible {
		if slices.Contains(local, name) {
			both = append(both, name)
		}
	}
	return both
}

// Describe returns the plan for people, one line an address.
func (p Plan) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "node %s\n", p.Node)
	for _, d := range p.Decisions {
		fmt.Fprintf(&b, "%s services=%s pool=%s owner=%s candidates=%s reason=%s\n", d.VIP,
			strings.Join(d.Services, ","), cmp.Or(d.Pool, "none"), cmp.Or(d.Owner, "none"), cmp.Or(strings.Join(d.Candidates, ","), "none"), d.Reason)
	}
	return b.String()
}
