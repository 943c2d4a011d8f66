package ui

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

// Draw makes a picture of a report. The second result is false if no speaker has said anything, so
// that nothing is known about the addresses.
func Draw(r Report) (Picture, bool) {
	p := Picture{Time: r.Time, Problems: append([]Problem{}, r.Problems...), Nodes: []Node{}, Addresses: []Address{}, Waiting: []Waiting{}, Pools: []Pool{}}
	speakers := slices.SortedFunc(slices.Values(r.Speakers), func(a, b Speaker) int { return cmp.Compare(a.Node, b.Node) })
	known := false
	for _, s := range speakers {
		known = known || s.knows()
		p.Nodes = append(p.Nodes, drawNode(s, speakers))
	}
	addresses := map[netip.Addr]*Address{}
	if r.Allocations != nil {
		drawAllocations(&p, *r.Allocations, addresses)
	}
	drawPlaces(speakers, addresses)
	for _, addr := range slices.SortedFunc(maps.Keys(addresses), netip.Addr.Compare) {
		p.Addresses = append(p.Addresses, *addresses[addr])
	}
	return p, known
}

// heard is what the other speakers hear of one.
type heard struct {
	asked   int // so many other speakers have answered
	alive   int // so many of them hear it
	leaving int // so many of them know that it ends
}

func heardOf(node string, all []Speaker) (h heard) {
	for _, other := range all {
		if other.Node == node || other.Members == nil {
			continue
		}
		h.asked++
		for _, m := range other.Members.Members {
			if m.Name == node && m.Alive {
				h.alive++
			}
			if m.Name == node && m.Leaving {
				h.leaving++
			}
		}
	}
	return h
}

// knows reports whether the speaker has said what it announces.
func (s Speaker) knows() bool { return s.Plan != nil && s.Plan.Decisions != nil }

func drawNode(s Speaker, all []Speaker) Node {
	n := Node{Name: s.Node}
	n.State, n.Why = nodeState(s, all)
	if s.BGP == nil {
		return n
	}
	for _, b := range s.BGP.Sessions {
		session := Session{Peer: b.Peer, Address: b.Address, Up: b.Up, State: b.State, Since: b.Since, Problem: b.Problem}
		if b.Up && b.BFD != nil && b.BFD.Problem != "" {
			session.State, session.Problem = "BFD "+b.BFD.State, b.BFD.Problem
		}
		n.Sessions = append(n.Sessions, session)
	}
	return n
}

// nodeState returns the state of a speaker and the reason. Speakers that answer say what they hear
// of one that does not.
func nodeState(s Speaker, all []Speaker) (State, string) {
	h := heardOf(s.Node, all)
	switch {
	case s.Missing:
		return NoSpeaker, s.Err
	case s.Err != "" && h.asked == 0:
		return Unknown, s.Err
	case s.Err != "" && h.alive == 0:
		return Dead, "no other speaker hears it"
	case s.Err != "":
		return NoAnswer, s.Err
	case h.leaving > 0:
		return Leaving, "it has said that it ends"
	case s.Members == nil:
		return Up, ""
	case s.Members.Problem != "":
		return Starting, s.Members.Problem
	case s.Members.Self.Fenced != "":
		return Fenced, s.Members.Self.Fenced
	case h.asked > 0 && h.alive == 0:
		return NotHeard, "no other speaker hears it"
	case s.Members.Self.Starting:
		return Starting, "it waits for other speakers"
	case s.Members.Self.Unready:
		return Starting, "the node cannot send traffic to pods yet"
	case s.Members.Self.Suppressed != "":
		return Suppressed, s.Members.Self.Suppressed
	}
	return Up, ""
}

func drawAllocations(p *Picture, a debugapi.Allocations, addresses map[netip.Addr]*Address) {
	for _, pool := range a.Pools {
		p.Pools = append(p.Pools, Pool{
			Name: pool.Name, Family: pool.Family, Protocol: pool.Protocol, Total: pool.Total, Assigned: pool.Assigned, Cooldown: pool.Cooldown,
		})
	}
	for _, s := range a.Services {
		if s.Waiting != nil {
			p.Waiting = append(p.Waiting, Waiting{Service: s.Name, Since: s.Waiting.Since, Why: s.Waiting.Why, Advice: s.Waiting.Advice})
		}
		for _, addr := range s.Addresses {
			addAddress(addresses, addr).addServices(s.Name)
		}
		for _, w := range s.Withheld {
			addAddress(addresses, w.Address).Problem = "it is withheld: it is " + w.Why
		}
	}
}

func addAddress(addresses map[netip.Addr]*Address, addr netip.Addr) *Address {
	a := addresses[addr]
	if a == nil {
		a = &Address{Address: addr, Services: []string{}}
		addresses[addr] = a
	}
	return a
}

func (a *Address) addServices(names ...string) {
	for _, name := range names {
		if !slices.Contains(a.Services, name) {
			a.Services = append(a.Services, name)
		}
	}
	slices.Sort(a.Services)
}
