package reconcile

import (
	"errors"
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/view"
)

// Subject is an address that a person wants to know more about, and what this node knows.
type Subject struct {
	Addr netip.Addr
	// Pool is the name of the pool that has the address; empty for an orphan.
	Pool string
	// Decision is that of the last plan. It has no Services if no Service has the address.
	Decision plan.Decision
	// Protocol says how the address is announced; empty if it is not.
	Protocol string
	// Ports are those of the Services, in order.
	Ports []plan.Port
	// Links are those on which this node can announce. PeerLinks are those and the ones that lead
	// to BGP peers.
	Links, PeerLinks []links.Link
	// Peers are the BGP peers of this node.
	Peers []netip.AddrPort
	// Nodes are the names of the nodes by the MAC addresses of their links.
	Nodes map[[6]byte]string
}

// The errors of Subject.
var (
	// ErrNoPlan is temporary.
	ErrNoPlan = errors.New(noPass)
	// ErrNotOurs keeps the speakers from being used to look at other hosts.
	ErrNotOurs = errors.New("the address is in no pool, and the cluster manager has not published it: ask for an address of a pool")
)

// Subject returns what is known about an address. The address must be one that can be announced.
func (l *Loop) Subject(addr netip.Addr) (Subject, error) {
	last := l.last.Load()
	if last == nil {
		return Subject{}, ErrNoPlan
	}
	return subject(last, addr)
}

func subject(last *planned, addr netip.Addr) (Subject, error) {
	s := Subject{Addr: addr, Links: last.in.Links, PeerLinks: slices.Clone(last.in.Links), Nodes: map[[6]byte]string{}}
	pool, ok := last.state.Config.PoolOf(addr)
	if !ok {
		pool, ok = last.state.Earlier.PoolOf(addr)
	}
	if ok {
		s.Pool = pool.Name
	}
	_, orphan := last.state.Orphans[addr]
	if !ok && !orphan {
		return Subject{}, ErrNotOurs
	}
	for _, d := range last.plan.Decisions {
		if d.VIP == addr {
			s.Decision, s.Protocol = d, string(plan.Explain(last.state).Protocol(addr))
		}
	}
	for _, svc := range last.state.Services {
		if slices.Contains(svc.VIPs, addr) {
			s.Ports = append(s.Ports, svc.Ports...)
		}
	}
	slices.SortFunc(s.Ports, func(a, b plan.Port) int {
		return int(a.Protocol)<<16 + int(a.Number) - int(b.Protocol)<<16 - int(b.Number)
	})
	s.Ports = slices.Compact(s.Ports)
	for _, router := range last.state.Routers {
		i := slices.IndexFunc(last.in.AllLinks, func(l links.Link) bool { return l.Index == router.Link })
		if i >= 0 && !slices.ContainsFunc(s.PeerLinks, func(l links.Link) bool { return l.Index == router.Link }) {
			s.PeerLinks = append(s.PeerLinks, last.in.AllLinks[i])
		}
	}
	for _, p := range last.plan.Peers {
		s.Peers = append(s.Peers, netip.AddrPortFrom(p.Config.Address, p.Config.Port))
	}
	for mac, m := range view.MembersByMAC(last.in, last.beats) {
		s.Nodes[mac] = m.Name
	}
	return s, nil
}
