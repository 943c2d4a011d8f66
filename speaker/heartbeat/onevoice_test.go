package heartbeat

import (
	"slices"
	"testing"
	"time"
)

// neighboursOf returns the nodes that watch a node.
func (w *world) neighboursOf(n *node) (near []*node) {
	for _, other := range w.nodes {
		if n.engine.ring.neighbours(n.name, other.name) {
			near = append(near, other)
		}
	}
	return near
}

// countChanges counts how often each node changes its mind about another one.
func (w *world) countChanges(about *node, d time.Duration) map[string]int {
	changes, was := map[string]int{}, map[string]bool{}
	for _, n := range w.nodes {
		was[n.name] = n.believesDead(about)
	}
	for end := w.now.Add(d); w.now.Before(end); {
		w.run(5 * time.Millisecond)
		for _, n := range w.nodes {
			if n.believesDead(about) != was[n.name] {
				was[n.name] = !was[n.name]
				changes[n.name]++
			}
		}
	}
	return changes
}

// Two neighbours of a member miss it, and then one of them hears it again. The other one still does
// not: a switch drops frames in one direction between these two.
func TestOneSpeakerAloneKeepsNoMemberDead(t *testing.T) {
	w := newWorld(t, 12, defaultTiming)
	victim := w.nodes[0]
	near := w.neighboursOf(victim)
	deaf, healed := near[0], near[1]
	drops := []*node{deaf, healed}
	w.cutOn(0, func(from, to *node) bool { return from == victim && slices.Contains(drops, to) })
	if took := w.run(time.Second, w.allBelieveDead(victim)); took >= time.Second {
		t.Fatal("the others do not believe the two that miss it")
	}
	drops = []*node{deaf}
	w.run(500 * time.Millisecond)
	changes := w.countChanges(victim, 5*time.Second)
	for _, n := range w.nodes {
		if n != victim && (n.believesDead(victim) != (n == deaf) || changes[n.name] > 0) {
			t.Errorf("%s has changed its mind %d times: %+v", n.name, changes[n.name], n.engine.view.Dead)
		}
	}
}

// A firewall drops the heartbeats of a node on one of two links, and the node's member list loses one of
// the two others. Both believe it dead there, and it hears of that on the other link.
func TestFilteredLinkStaysFencedIfAMemberIsLost(t *testing.T) {
	for _, both := range []bool{false, true} {
		w := newLinkedWorld(t, 3, 2, defaultTiming)
		filtered, other, lost := w.nodes[0], w.nodes[1], w.nodes[2]
		w.cut = func(from, to *node, link int) bool { return link == 0 && (from == lost || to == lost) }
		w.run(100 * time.Millisecond)
		w.firewall = func(from, to *node, link int) bool { return link == 1 && (from == filtered || both && to == filtered) }
		w.run(2 * time.Second)
		filtered.members, other.members = []string{other.name}, []string{filtered.name}
		w.tell(filtered)
		w.tell(other)
		w.run(mourning + 2*time.Second)
		if v := filtered.engine.view; !v.FencedLinks["eth1"] || v.Fenced != "" || !other.deadAt(filtered, 1) {
			t.Fatalf("the lost member goes on, both ways %v: %+v", both, v)
		}
		lost.off = true
		for range int((mourning + 2*time.Second) / (10 * time.Millisecond)) {
			w.run(10 * time.Millisecond)
			if other.deadAt(filtered, 1) && !filtered.engine.view.FencedLinks["eth1"] {
				t.Fatalf("both announce on the link, both ways %v", both)
			}
		}
		// Of two nodes none can tell on which side the firewall is. They elect one of the two again.
		if other.deadAt(filtered, 1) || filtered.engine.view.FencedLinks["eth1"] || other.engine.view.FencedLinks["eth1"] {
			t.Errorf("both ways %v: %+v, %+v", both, filtered.engine.view, other.engine.view)
		}
	}
}

// Three neighbours reach a member in one direction only. Its heartbeats, which still come, make them
// not doubt the death that they have found.
func TestDeathOfAMemberThatIsHeardStays(t *testing.T) {
	w := newWorld(t, 12, defaultTiming)
	victim := w.nodes[0]
	near := w.neighboursOf(victim)
	w.cutOn(0, func(from, to *node) bool {
		return to == victim && slices.Contains(near[:2], from) || from == victim && to == near[2]
	})
	changes := w.countChanges(victim, 5*time.Second)
	for _, n := range w.nodes[1:] {
		if changes[n.name] != 1 {
			t.Errorf("%s has changed its mind %d times", n.name, changes[n.name])
		}
	}
}

// Three neighbours miss a member, and two of them reach it again. It tells all that it lives. The third
// one hears that, but its probes do not arrive.
func TestReturnOfAMemberCountsForOneThatDoesNotReachIt(t *testing.T) {
	w := newWorld(t, 12, defaultTiming)
	victim := w.nodes[0]
	near := w.neighboursOf(victim)
	missing := near[:3]
	w.cutOn(0, func(from, to *node) bool { return to == victim && slices.Contains(missing, from) })
	if took := w.run(time.Second, w.allBelieveDead(victim)); took >= time.Second {
		t.Fatal("the others do not believe the three that miss it")
	}
	missing = near[:1]
	w.run(time.Second)
	changes := w.countChanges(victim, 5*time.Second)
	for _, n := range w.nodes[1:] {
		if n.believesDead(victim) || changes[n.name] > 0 {
			t.Errorf("%s has changed its mind %d times: %+v", n.name, changes[n.name], n.engine.view.Dead)
		}
	}
}

// The lists of two of three watchers have lost a member before they missed it: it was frozen for long,
// but so were they. The third one alone misses it.
func TestLostMemberIsDeadByTheWordOfOne(t *testing.T) {
	w := newWorld(t, 4, defaultTiming)
	frozen, last := w.nodes[0], w.nodes[3]
	frozen.frozen = true
	w.run(500 * time.Millisecond)
	for _, n := range w.nodes[1:3] {
		for _, m := range n.engine.near {
			for _, p := range m.paths {
				p.flags &^= flagHearing // as after a freeze
			}
		}
		n.members = []string{w.nodes[1].name, w.nodes[2].name, last.name}
		w.tell(n)
	}
	if took := w.run(time.Second, func() bool { return last.believesDead(frozen) }); took >= time.Second {
		t.Errorf("%+v", last.engine.view)
	}
}
