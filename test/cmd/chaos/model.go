package main

import (
	"slices"
	"time"
)

// This file is the model: from the faults of the cluster it derives which nodes work, which
// nodes reach each other, and which node may announce an address, at any moment. It is pure.

const (
	// limit is how long an address may have no answer, and how long two nodes that reach
	// each other may both answer.
	limit = 300 * time.Millisecond
	// patience is how long the other speakers wait for a process that is frozen.
	patience = time.Second
	// settle is how long a node counts as failed after its fault has ended. The speakers
	// should agree again within this time.
	settle = time.Second
	// handover is how long an owner may answer after its node was excluded: it waits up to
	// two seconds for the new owner, and the label has to arrive.
	handover = 2500 * time.Millisecond
)

// fault is one fault of the cluster.
type fault struct {
	kind  *kind
	nodes []string // the nodes that it hits. With partition and split: the smaller part.
	begun time.Time
	ended time.Time // zero while the fault lasts
}

// during reports whether the fault exists at t. Its effects last for after once it has ended.
func (f fault) during(t time.Time, after time.Duration) bool {
	return !t.Before(f.begun) && (f.ended.IsZero() || t.Before(f.ended.Add(after)))
}

// overlaps reports whether the fault exists at any time between from and to.
func (f fault) overlaps(from, to time.Time, after time.Duration) bool {
	return !f.begun.After(to) && (f.ended.IsZero() || f.ended.Add(after).After(from))
}

func (f fault) hits(node string) bool { return slices.Contains(f.nodes, node) }

// vip is the address of a Service.
type vip struct {
	addr    string
	service string
	// nodes are the nodes that may announce it: all, or those with endpoints if the policy
	// is Local.
	nodes []string
}

// model is what is known about the cluster.
type model struct{ faults []fault }

// well returns the nodes that can serve the address at t: no fault hits them or has ended
// shortly before.
func (m model) well(v vip, t time.Time) (well []string) {
	for _, node := range v.nodes {
		if !slices.ContainsFunc(m.faults, func(f fault) bool { return f.kind.takesNode && f.hits(node) && f.during(t, settle) }) {
			well = append(well, node)
		}
	}
	return well
}

// reach reports whether two nodes could hear each other at t.
func (m model) reach(a, b string, t time.Time) bool {
	for _, f := range m.faults {
		if !f.during(t, 0) {
			continue
		}
		if f.kind.parts && f.hits(a) != f.hits(b) || f.kind.cutsNode && (f.hits(a) || f.hits(b)) {
			return false
		}
	}
	return true
}

// may reports whether the node may answer for the address at t. A node may answer that is
// split from all others: the API server, which it reaches, is its witness.
func (m model) may(v vip, node string, t time.Time) bool {
	if !slices.Contains(v.nodes, node) {
		return false
	}
	for _, f := range m.faults {
		if f.kind.excludes && f.hits(node) && f.during(t, 0) && t.Sub(f.begun) > handover {
			return false
		}
	}
	return true
}

// side is one of the two sides from which the program watches the cluster.
type side string

const (
	asking     side = "ARP request" // a neighbour that asks who has the address
	connecting side = "connection"  // a client that may know the owner already
)

// counted returns which part of a spell without an answer counts against the limit. The
// time begins again when a fault takes one more node away. Time does not count while fewer
// than two nodes are well, or while the others may still wait for a frozen process. owner is
// the node that answered last.
func (m model) counted(v vip, s side, owner string, from, to time.Time) (longest time.Duration) {
	const step = time.Millisecond
	near := model{slices.DeleteFunc(slices.Clone(m.faults), func(f fault) bool { return !f.overlaps(from, to, settle) })}
	var now time.Duration
	for t := from; !t.Add(step).After(to); t = t.Add(step) {
		struck := slices.ContainsFunc(near.faults, func(f fault) bool {
			return f.kind.silences && !f.begun.After(t) && f.begun.After(t.Add(-step))
		})
		counts := len(near.well(v, t)) >= 2 && !near.waiting(s, owner, t)
		if struck || !counts {
			now = 0
		}
		if counts {
			now += step
		}
		longest = max(longest, now)
	}
	return longest
}

// waiting reports whether the speakers may still wait for a frozen process at t: one that
// owns the address, or one that could have become its owner because another node failed.
// The node of a frozen process still forwards, so clients that know it lose nothing.
func (m model) waiting(s side, owner string, t time.Time) bool {
	for i, f := range m.faults {
		if !f.kind.freezes || !f.during(t, 0) || t.Sub(f.begun) >= patience {
			continue
		}
		if s == asking && f.hits(owner) {
			return true
		}
		for j, other := range m.faults {
			if i != j && other.during(t, settle) && (other.kind.cutsNode || other.kind.parts || s == asking && other.kind.takesNode) {
				return true
			}
		}
	}
	return false
}
