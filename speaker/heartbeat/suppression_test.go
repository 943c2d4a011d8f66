package heartbeat

import (
	"slices"
	"testing"
	"time"
)

func TestWitnessLetsOneOfTwoDetectADeafSpeaker(t *testing.T) {
	w := newWorld(t, 2, defaultTiming)
	deaf := w.nodes[0]
	w.lost = func(_, to *node) bool { return to == deaf }
	w.run(defaultTiming.Detection() + defaultTiming.Interval)
	w.nodes[1].engine.witness(w.now, w.now.Add(time.Second))
	w.run(defaultTiming.Interval)
	if v := w.nodes[1].engine.view; v.Fenced != "" || !w.nodes[1].believesDead(deaf) || deaf.engine.view.Fenced == "" {
		t.Errorf("%+v; the deaf one: %+v", v, deaf.engine.view)
	}
}

func TestFencedSpeakerSuppressesNoMember(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	cut := w.nodes[0]
	for range 3 {
		w.lost = func(from, to *node) bool { return from == cut || to == cut }
		w.run(time.Second)
		cut.members = []string{}
		w.tell(cut)
		w.run(time.Second)
		for _, other := range w.nodes[1:] {
			other.engine.newEpoch(uint64(w.now.UnixNano())) // after a freeze that no other speaker has noticed
		}
		w.lost = func(_, _ *node) bool { return false }
		cut.members = nil
		w.tell(cut)
		w.run(2 * time.Second)
	}
	for _, other := range w.nodes[1:] {
		if other.engine.view.Suppressed {
			t.Errorf("%s is suppressed", other.name)
		}
	}
}

// A node whose link is back may know of one member only. It can hear this member, and a
// witness, before the member hears it.
func TestReturningSpeakerSuppressesNoMember(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	cut, others := w.nodes[0], w.nodes[1:]
	heard, hears := true, true
	w.lost = func(from, to *node) bool { return from == cut && !heard || to == cut && !hears }
	tell := func(members ...string) {
		cut.members = members
		w.tell(cut)
		for i, other := range others {
			other.members = []string{others[1-i].name}
			if members == nil {
				other.members = nil
			}
			w.tell(other)
		}
	}
	needsWitness := func() bool { return cut.engine.view.NeedWitness }
	for range 3 {
		heard, hears, cut.linkless = false, false, true
		w.tell(cut)
		w.run(time.Second)
		hears, cut.linkless = true, false
		tell(others[1].name)
		w.run(2*time.Second, needsWitness)
		cut.engine.witness(w.now, w.now.Add(time.Second))
		w.run(500 * time.Millisecond)
		if len(cut.deaths) == 0 {
			t.Fatalf("it takes nobody for dead, so that nothing is tested: %+v", cut.engine.view)
		}
		heard = true
		tell()
		w.run(2 * time.Second)
	}
	for _, other := range others {
		if other.engine.view.Suppressed {
			t.Errorf("%s is suppressed", other.name)
		}
	}
}

func TestLastSpeakerNeedsTheMemberListAndAWitness(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	w.nodes[1].off, w.nodes[2].off = true, true
	w.run(time.Second)
	last := w.nodes[0]
	if v := last.engine.view; v.Fenced == "" || v.NeedWitness || len(v.Dead) > 0 {
		t.Errorf("when both other speakers fail together: %+v", v)
	}
	last.members = []string{}
	w.tell(last)
	if v := last.engine.view; v.Fenced == "" || !v.NeedWitness {
		t.Errorf("when they are no members any more: %+v", v)
	}
	last.engine.witness(w.now, w.now.Add(time.Second))
	if v := last.engine.view; v.Fenced != "" {
		t.Errorf("with a witness: %+v", v)
	}
}

func TestEngineDetectsTheReturnOfALostMember(t *testing.T) {
	w := newWorld(t, 4, defaultTiming)
	side := func(n *node) bool { return n == w.nodes[0] || n == w.nodes[1] }
	w.lost = func(from, to *node) bool { return side(from) != side(to) }
	w.run(time.Second)
	for i, n := range w.nodes {
		n.members = []string{w.nodes[i^1].name}
		w.tell(n)
	}
	w.run(time.Minute)
	w.lost = func(_, _ *node) bool { return false }
	for _, n := range w.nodes {
		if len(n.engine.view.Returned) > 0 {
			t.Errorf("%s hears %v through the partition", n.name, n.engine.view.Returned)
		}
	}
	took := w.run(time.Second, func() bool {
		return !slices.ContainsFunc(w.nodes, func(n *node) bool { return len(n.engine.view.Returned) < 2 })
	})
	if took > 3*defaultTiming.Interval { // each side is told first that it was dead
		t.Errorf("noticed after %v", took)
	}
}

// Otherwise its kernel and this one may look for each other for a second when it returns.
func TestKernelsOfLostMembersAreProbed(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	dead, other := w.nodes[0], w.nodes[1]
	dead.off = true
	w.run(2 * time.Second)
	other.members = []string{w.nodes[2].name}
	w.tell(other)
	other.engine.step(other.engine.due)
	if !slices.ContainsFunc(other.engine.probes, func(p Path) bool { return p.Remote == dead.addrs[0] }) {
		t.Errorf("probes %v", other.engine.probes)
	}
}

func TestMemberThatFailsTooOftenIsSuppressed(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	bad := w.nodes[0]
	for round := 1; round <= 3; round++ {
		bad.frozen = true
		w.run(2*time.Second, w.allBelieveDead(bad))
		w.run(2 * time.Second)
		w.thaw(bad)
		w.run(2 * time.Second)
		for _, n := range w.nodes {
			if suppressed := n.engine.view.Suppressed; suppressed != (n == bad && round >= maxDeaths) {
				t.Errorf("after %d deaths %s is suppressed: %v", round, n.name, suppressed)
			}
		}
	}
	w.run(deathMemory)
	if bad.engine.view.Suppressed {
		t.Errorf("it is suppressed after %v", deathMemory)
	}
}

func TestSuppressionWorksBetweenTwoSpeakers(t *testing.T) {
	w := newWorld(t, 2, defaultTiming)
	bad, good := w.nodes[0], w.nodes[1]
	for round := 1; round <= maxDeaths; round++ {
		bad.frozen = true
		w.run(time.Second, func() bool { return good.engine.view.NeedWitness })
		good.engine.witness(w.now, w.now.Add(time.Second))
		w.run(2*time.Second, w.allBelieveDead(bad))
		w.run(2 * time.Second)
		w.thaw(bad)
		w.run(2 * time.Second)
		if suppressed := bad.engine.view.Suppressed; suppressed != (round == maxDeaths) || good.engine.view.Suppressed {
			t.Errorf("after %d deaths it is suppressed: %v", round, suppressed)
		}
	}
}

func TestHeartbeatsThatNeverArriveProveNoDeath(t *testing.T) {
	w := newIdleWorld(t, 3, 1, defaultTiming, 1)
	w.lost = func(_, _ *node) bool { return true }
	for _, n := range w.nodes {
		w.tell(n)
	}
	w.run(readyPatience / 2)
	if w.nodes[0].engine.view.Ready {
		t.Error("does not wait for its neighbours")
	}
	w.run(time.Minute)
	for _, n := range w.nodes {
		if v := n.engine.view; !v.Ready || v.Fenced != "" || len(v.Dead) > 0 {
			t.Errorf("%s: %+v", n.name, v)
		}
	}
}

// The member lists drop it one after the other, those of its neighbours first.
func TestOneDeathCountsOnce(t *testing.T) {
	for _, n := range []int{5, 12} {
		w := newWorld(t, n, defaultTiming)
		dead := w.nodes[0]
		order := w.neighboursOf(dead)
		for _, other := range w.nodes[1:] {
			if !slices.Contains(order, other) {
				order = append(order, other)
			}
		}
		dead.off = true
		w.run(time.Second, w.allBelieveDead(dead))
		for i, n := range order {
			w.run(500 * time.Millisecond)
			n.members = []string{}
			for _, other := range order {
				if other != n {
					n.members = append(n.members, other.name)
				}
			}
			w.tell(n)
			w.run(200 * time.Millisecond)
			for _, later := range order[i+1:] {
				if !later.believesDead(dead) {
					t.Errorf("of %d, to %s the dead member seems to live when %s's list has dropped it", len(w.nodes), later.name, n.name)
				}
			}
		}
		dead.off = false
		w.start(dead)
		for _, n := range w.nodes {
			n.members = nil
			w.tell(n)
			w.run(300 * time.Millisecond)
		}
		w.run(time.Second)
		if v := dead.engine.view; v.Suppressed || v.Deaths == 0 {
			t.Errorf("of %d, afterwards %+v", len(w.nodes), v)
		}
	}
}

// All speakers but one stop for ten seconds, and go on. A witness has let the one take their addresses, after
// its member list had lost them while it was fenced.
func TestLastSpeakerTellsTheOthersThatItHasReplacedThem(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	last, others := w.nodes[0], w.nodes[1:]
	for _, n := range others {
		n.stopped = true
	}
	w.run(5 * time.Second)
	last.members = []string{}
	w.tell(last)
	for range 10 {
		last.engine.witness(w.now, w.now.Add(testimonyLife))
		w.run(500 * time.Millisecond)
	}
	if v := last.engine.view; v.Fenced != "" {
		t.Fatalf("the witness does not count: %+v", v)
	}
	for _, n := range others {
		n.stopped, n.next = false, w.now
	}
	w.run(time.Second)
	for _, n := range others {
		if n.engine.view.Deaths != 1 {
			t.Errorf("%s: %+v", n.name, n.engine.view)
		}
	}
}
