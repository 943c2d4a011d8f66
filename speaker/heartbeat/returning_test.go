package heartbeat

import (
	"slices"
	"testing"
	"time"
)

// isolate cuts a node off until all lists have lost it, and its list all others. Its process goes on.
func (w *world) isolate(cutOff *node, d time.Duration) {
	w.cutOn(0, func(from, to *node) bool { return from == cutOff || to == cutOff })
	w.run(time.Second, w.allBelieveDead(cutOff))
	w.loseEachOther(cutOff)
	w.run(d)
}

// loseEachOther makes the lists of the others lose a node, and its list all of them.
func (w *world) loseEachOther(lost *node) {
	for _, n := range w.nodes {
		n.members = []string{}
		for _, other := range w.nodes {
			if other != n && other != lost && n != lost {
				n.members = append(n.members, other.name)
			}
		}
		w.tell(n)
	}
}

// The others hear a lost member again, which does not know yet that it was dead. It must not be
// elected before.
func TestLostMemberStaysDeadUntilItLearnsOfThat(t *testing.T) {
	for _, nodes := range []int{3, 5, 12} {
		w := newWorld(t, nodes, defaultTiming)
		cutOff := w.nodes[0]
		w.isolate(cutOff, 15*time.Second)
		w.cut = nil
		w.run(2*time.Second, func() bool {
			for _, n := range w.nodes[1:] {
				if v := n.engine.view; cutOff.engine.view.Deaths == 0 && slices.Contains(v.Returned, cutOff.name) && !n.believesDead(cutOff) {
					t.Fatalf("of %d nodes, %s believes that it lives, but it does not know that it was dead: %+v", nodes, n.name, v)
				}
			}
			return false
		})
		if v := cutOff.engine.view; v.Deaths != 1 || !w.noneBelievedDead() {
			t.Errorf("%d nodes: %+v", nodes, v)
		}
	}
}

func TestKernelOfALostMemberIsNotDeadOnceItIsHeard(t *testing.T) {
	w := newWorld(t, 5, defaultTiming)
	cutOff := w.nodes[0]
	w.isolate(cutOff, kernelMemory+5*time.Second)
	w.cut = nil
	w.run(2*time.Second, func() bool {
		for _, n := range w.nodes[1:] {
			if v := n.engine.view; len(v.KernelDead) > 0 {
				t.Fatalf("%s: %+v", n.name, v)
			}
		}
		return false
	})
}

// A speaker watched a member while the cluster was small, and does not any more. What it remembers of the
// kernel says nothing when the member dies.
func TestKernelStaysDeadForOneThatHasWatchedItBefore(t *testing.T) {
	w := newIdleWorld(t, 12, 1, defaultTiming, 1)
	dead := w.nodes[0]
	for _, n := range w.nodes[:4] {
		n.engine.set(w.now, slices.DeleteFunc(w.without(n, n), func(m Member) bool {
			return !slices.ContainsFunc(w.nodes[:4], func(n *node) bool { return n.name == m.Name })
		}))
	}
	w.run(2 * time.Second)
	for _, n := range w.nodes {
		w.tell(n)
	}
	w.run(2 * time.Second)
	former := w.nodes[slices.IndexFunc(w.nodes[:4], func(n *node) bool { return n != dead && !n.engine.ring.neighbours(n.name, dead.name) })]
	dead.off = true
	w.run(time.Second)
	w.loseEachOther(dead)
	w.run(kernelMemory / 2)
	if v := former.engine.view; !slices.Contains(v.KernelDead, dead.name) {
		t.Errorf("%+v", v)
	}
}

// No gossip arrives anywhere, and all heartbeats do: all lists have lost all. The members are so many that
// each asks the others seldom.
func TestLostMembersThatAreHeardStayBack(t *testing.T) {
	w := newWorld(t, 30, defaultTiming)
	for _, n := range w.nodes {
		n.members = []string{}
		w.tell(n)
	}
	w.run(2 * time.Second)
	w.run(5*time.Second, func() bool {
		for _, n := range w.nodes {
			if v := n.engine.view; len(v.Returned) != 29 {
				t.Fatalf("%s counts on %d of 29: %+v", n.name, len(v.Returned), v)
			}
		}
		return false
	})
}

// One of two dead nodes starts again while the third is alone. That does not show that the third was cut off.
func TestRestartOfAMemberIsNoReasonToForgetAnotherDeath(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	last, restarted, dead := w.nodes[0], w.nodes[1], w.nodes[2]
	restarted.off, dead.off = true, true
	w.run(time.Second)
	last.members = []string{dead.name}
	w.tell(last)
	last.engine.witness(w.now, w.now.Add(time.Minute))
	if took := w.run(2*time.Second, func() bool { return last.engine.alone }); took >= 2*time.Second {
		t.Fatalf("it is not alone: %+v", last.engine.view)
	}
	restarted.off = false
	w.start(restarted)
	w.tell(restarted)
	w.run(time.Second, func() bool {
		if !last.believesDead(dead) {
			t.Fatalf("%+v", last.engine.view)
		}
		return false
	})
}

// A node is split from the others until their lists have lost it, and a witness makes it the only one that
// is left. It is heard again, in the same epoch, before the lists are whole. It learns that it was dead,
// and the others, which were never cut off, do not hear from it that they were.
func TestLostMemberLearnsOfItsDeathWhenItIsBack(t *testing.T) {
	t.Parallel()
	lates := []time.Duration{200 * time.Millisecond}
	if !testing.Short() {
		lates = append(lates, 0, 70*time.Millisecond, 600*time.Millisecond)
	}
	for _, late := range lates {
		for variant := range 16 {
			itsListFirst, keepsOne, hidden, returned := variant&1 != 0, variant&2 != 0, variant&4 != 0, variant&8 != 0
			w := newWorld(t, 5, defaultTiming)
			split, others := w.nodes[0], w.nodes[1:]
			if returned {
				w.freezeInTurn(others)
			}
			w.cutOn(0, func(from, to *node) bool { return from == split || to == split })
			w.run(500*time.Millisecond, w.allBelieveDead(split))
			w.loseEachOther(split)
			split.members = []string{"node5"}
			w.tell(split)
			split.engine.witness(w.now, w.now.Add(time.Minute))
			if took := w.run(2*time.Second, func() bool { return split.engine.alone }); took >= 2*time.Second {
				t.Fatalf("it is not alone: %+v", split.engine.view)
			}
			if !keepsOne {
				split.members = []string{}
				w.tell(split)
			}
			w.run(5 * time.Second)
			healed := w.now
			w.cutOn(0, func(from, to *node) bool {
				return hidden && w.now.Sub(healed) < 150*time.Millisecond && (from == split && to.name == "node5" || to == split && from.name == "node5")
			})
			w.run(late)
			order := append(slices.Clone(others), split)
			if itsListFirst {
				order = w.nodes
			}
			for _, n := range order {
				n.members = nil
				w.tell(n)
				w.run(5 * time.Millisecond)
			}
			w.run(time.Second)
			for _, n := range w.nodes {
				want := 0
				if n == split || returned {
					want = 1
				}
				if v := n.engine.view; v.Deaths != want || len(v.Dead) > 0 || v.Fenced != "" {
					t.Errorf("lists whole after %v, its own first %v, it keeps one %v, which it hears later %v, others were frozen before %v: %s has died %d times, want %d: %+v",
						late, itsListFirst, keepsOne, hidden, returned, n.name, v.Deaths, want, v)
				}
			}
		}
	}
}

// freezeInTurn freezes speakers, one after the other, until the others believe them dead.
func (w *world) freezeInTurn(nodes []*node) {
	for _, n := range nodes {
		n.frozen = true
		w.run(1500 * time.Millisecond)
		w.thaw(n)
		w.run(500 * time.Millisecond)
	}
}

// A lost member returns to the lists of the others before its first heartbeat arrives. It was lost for so long
// that no member says any more that it was dead.
func TestMemberThatReturnsByTheListLearnsOfItsDeath(t *testing.T) {
	for _, nodes := range []int{3, 5, 12} {
		w := newWorld(t, nodes, defaultTiming)
		cutOff := w.nodes[0]
		w.isolate(cutOff, 30*time.Second)
		w.cut = nil
		for _, n := range w.nodes {
			n.members = nil
			w.tell(n)
		}
		w.run(time.Second, func() bool {
			for _, n := range w.nodes[1:] {
				if v := n.engine.view; cutOff.engine.view.Deaths == 0 && !n.believesDead(cutOff) {
					t.Fatalf("of %d nodes, %s believes that it lives, but it does not know that it was dead: %+v", nodes, n.name, v)
				}
			}
			return false
		})
		if v := cutOff.engine.view; v.Deaths != 1 || !w.noneBelievedDead() {
			t.Errorf("%d nodes: %+v", nodes, v)
		}
	}
}

// A node is cut off from the witness, too, and all lists have lost each other. When its network works again,
// the witness may answer before any member is heard. The members have new epochs, because they were all frozen.
func TestWitnessAnswersBeforeTheMembersAreHeard(t *testing.T) {
	w := newWorld(t, 4, defaultTiming)
	cutOff, others := w.nodes[0], w.nodes[1:]
	w.isolate(cutOff, 5*time.Second)
	for _, n := range others {
		n.frozen = true
	}
	w.run(2 * time.Second)
	for _, n := range others {
		w.thaw(n)
	}
	w.run(2 * time.Second)
	w.cut = nil
	cutOff.engine.witness(w.now, w.now.Add(testimonyLife))
	w.after(cutOff)
	w.run(2 * time.Second)
	for _, n := range others {
		if v := n.engine.view; v.Deaths != 0 {
			t.Errorf("%s is told that it was dead: %+v", n.name, v)
		}
	}
	if v := cutOff.engine.view; v.Deaths != 1 || !w.noneBelievedDead() {
		t.Errorf("%+v", v)
	}
}
