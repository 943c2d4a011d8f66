package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// planned is a fault that the schedule plans.
type planned struct {
	kind   *kind
	nodes  []string
	after  time.Duration // from the start of the episode
	length time.Duration
	choice int // a number for variants of the kind
}

func (p planned) String() string {
	text := p.kind.name
	if len(p.nodes) > 0 {
		text += " " + strings.Join(p.nodes, "+")
	}
	return fmt.Sprintf("%s for %.1f s", text, p.length.Seconds())
}

// episode is a pause, and then one fault, or two that exist at the same time.
type episode struct {
	pause  time.Duration
	faults []planned
}

// schedule draws episodes from a seed. The same seed, nodes and kinds give the same episodes.
type schedule struct {
	random *rand.Rand
	nodes  []string
	kinds  []*kind   // drawn with the same probability; a kind can be there several times
	last   []planned // the faults of the last episode
}

// newSchedule returns a schedule with these kinds of faults. names are the names of the
// kinds, separated by commas, or "all".
func newSchedule(seed uint64, nodes []string, names string) (*schedule, error) {
	s := &schedule{random: rand.New(rand.NewPCG(seed, 0)), nodes: nodes}
	if names == "all" {
		names = strings.Join(kindNames(), ",")
	}
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(kinds, func(k *kind) bool { return k.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-kinds: there is no kind %q; write all, or some of %s", name, strings.Join(kindNames(), ", "))
		}
		s.kinds = append(s.kinds, kinds[i])
		if !kinds[i].control { // three quarters of the faults hit nodes
			s.kinds = append(s.kinds, kinds[i], kinds[i])
		}
	}
	return s, nil
}

// next draws the next episode.
func (s *schedule) next() episode {
	e := episode{pause: s.between(1500*time.Millisecond, 4*time.Second)}
	first := s.draw()
	e.faults = []planned{first}
	if s.random.IntN(5) < 2 {
		for range 20 { // there may be no second fault that fits
			second := s.draw()
			second.after = s.between(0, first.length)
			if fit(first, second) {
				e.faults = append(e.faults, second)
				break
			}
		}
	}
	e.pause += extraPause(s.last, e.faults)
	s.last = e.faults
	return e
}

// extraPause returns how much longer the pause between two episodes must be, because the
// watches of the API server come back late. Speakers with an old view disagree, and that is
// no fault of theirs.
func extraPause(before, after []planned) (extra time.Duration) {
	moves := slices.ContainsFunc(after, func(p planned) bool { return p.kind.moves })
	for _, p := range before {
		switch {
		case p.kind.slow: // client-go waits up to twice as long as the API server was away
			extra = max(extra, 2*p.length+5*time.Second)
		case p.kind.cutsAPI && moves: // TCP repeats a segment after up to the length of the cut
			extra = max(extra, p.length)
		}
	}
	return extra
}

// draw draws one fault.
func (s *schedule) draw() planned {
	k := s.kinds[s.random.IntN(len(s.kinds))]
	p := planned{kind: k, length: s.between(k.least, k.longest), choice: s.random.IntN(1 << 16)}
	if k.nodes > 0 {
		for _, i := range s.random.Perm(len(s.nodes))[:1+s.random.IntN(min(k.nodes, len(s.nodes)))] {
			p.nodes = append(p.nodes, s.nodes[i])
		}
		slices.Sort(p.nodes)
	}
	return p
}

func (s *schedule) between(least, longest time.Duration) time.Duration {
	return least + time.Duration(s.random.Int64N(int64(longest-least)))
}

// fit reports whether two faults can exist at the same time: they must hit different nodes,
// and there is only one partition and one fault of the control plane at a time. A node that
// does not reach the API server does not learn that another node is excluded or preferred.
func fit(a, b planned) bool {
	if a.kind.parts && b.kind.parts || a.kind.control && b.kind.control ||
		a.kind.moves && b.kind.cutsAPI || a.kind.cutsAPI && b.kind.moves {
		return false
	}
	return !slices.ContainsFunc(a.nodes, func(n string) bool { return slices.Contains(b.nodes, n) })
}
