package browser_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ui"
)

// cluster is a faked cluster: what its programs say after nodes have died. Its address is owned by
// the first living node of its list of nodes.
type cluster struct {
	mu        sync.Mutex
	nodes     []string
	dead      []string
	addresses []address
	problems  []ui.Problem
	down      bool // the API server does not answer
}

// address is an address of a faked cluster.
type address struct {
	addr     netip.Addr
	service  string
	protocol string
	spread   bool
	nowhere  bool
	nodes    []string // in the order of preference
}

func (c *cluster) set(change func(*cluster)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

func (c *cluster) Explain(_ context.Context, addr netip.Addr) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range c.addresses {
		if a.addr == addr {
			return fmt.Sprintf("Service %s\nIt works, as far as this shows: %s.\n  Address %s\n    Owner: %s: it has the highest weight of %d candidates\n", a.service, addr, addr, c.alive(a.nodes)[0], len(c.alive(a.nodes))), nil
		}
	}
	return "", fmt.Errorf("no Service has %s", addr)
}

func (c *cluster) alive(nodes []string) []string {
	return slices.DeleteFunc(slices.Clone(nodes), func(n string) bool { return slices.Contains(c.dead, n) })
}

func (c *cluster) Look(context.Context) (ui.Report, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down {
		return ui.Report{}, fmt.Errorf("listing the pods: the API server does not answer")
	}
	r := ui.Report{Time: time.Now(), Problems: slices.Clone(c.problems), Allocations: c.allocations()}
	for _, n := range c.nodes {
		r.Speakers = append(r.Speakers, c.speaker(n))
	}
	for _, n := range c.dead {
		r.Problems = slices.Insert(r.Problems, 0, ui.Problem{Severity: "error", Where: "node " + n, What: "no other speaker hears its speaker", Do: "See whether the node runs, and whether TCP and UDP 7946 and 7947 are open between the nodes"})
	}
	return r, nil
}

func (c *cluster) allocations() *debugapi.Allocations {
	a := &debugapi.Allocations{Leader: true, Pools: []debugapi.Pool{
		{Name: "lan", Family: "IPv4", Protocol: "layer2", Total: 4094, Assigned: uint64(len(c.addresses)), Cooldown: 1},
		{Name: "lan", Family: "IPv6", Protocol: "layer2", Total: 1 << 63, Assigned: 3},
		{Name: "routed", Family: "IPv4", Protocol: "bgp", Total: 8, Assigned: 8},
	}}
	for _, x := range c.addresses {
		a.Services = append(a.Services, debugapi.ServiceAllocation{Name: x.service, Addresses: []netip.Addr{x.addr}})
	}
	a.Services = append(a.Services, debugapi.ServiceAllocation{Name: "shop/search", Waiting: &debugapi.Waiting{
		Since: time.Now().Add(-5 * time.Minute).Truncate(24 * time.Hour), Why: "pool \"routed\" is full", Advice: "Add a range to the pool, or delete Services that nobody needs",
	}})
	return a
}

func (c *cluster) speaker(node string) ui.Speaker {
	if slices.Contains(c.dead, node) {
		return ui.Speaker{Node: node, Err: "no answer within 5s"}
	}
	s := ui.Speaker{Node: node, Plan: &debugapi.Plan{Decisions: []debugapi.Decision{}}, BGP: &debugapi.BGP{}, Members: &debugapi.Members{}}
	for _, other := range c.nodes {
		if other != node {
			s.Members.Members = append(s.Members.Members, debugapi.Member{Name: other, Alive: !slices.Contains(c.dead, other)})
		}
	}
	s.BGP.Sessions = []debugapi.Session{
		{Peer: "tor-1", Address: netip.MustParseAddr("192.0.2.253"), State: "ESTABLISHED", Up: true, Since: time.Date(2026, 5, 4, 8, 0, 0, 0, time.Local)},
	}
	if node == "node-1" {
		s.BGP.Sessions = append(s.BGP.Sessions, debugapi.Session{Peer: "tor-2", Address: netip.MustParseAddr("192.0.2.254"), State: "ACTIVE", Problem: "connection refused"})
	}
	for _, a := range c.addresses {
		d := c.decision(node, a)
		s.Plan.Decisions = append(s.Plan.Decisions, d)
		if d.BGP == "Advertised" {
			s.BGP.Routes = append(s.BGP.Routes, debugapi.Route{Prefix: netip.PrefixFrom(a.addr, a.addr.BitLen())})
		}
	}
	return s
}

func (c *cluster) decision(node string, a address) debugapi.Decision {
	d := debugapi.Decision{VIP: a.addr, Services: []string{a.service}, Pool: "lan", Protocol: a.protocol, Reason: "OtherOwner"}
	candidates := c.alive(a.nodes)
	switch {
	case a.nowhere:
		d.Reason = "NoEndpoint"
		return d
	case a.protocol == "bgp":
		d.Pool, d.Reason, d.BGP = "routed", "NotLayer2", "NotSelected"
		if slices.Contains(candidates, node) {
			d.BGP = "Advertised"
		}
		return d
	}
	if d.Owner = candidates[0]; d.Owner == node {
		d.Reason = "Owner"
	}
	if a.spread {
		left := 256
		for i, n := range candidates {
			slots := left / (len(candidates) - i)
			left -= slots
			d.Carriers = append(d.Carriers, debugapi.Carrier{Node: n, Slots: slots})
		}
	}
	return d
}
