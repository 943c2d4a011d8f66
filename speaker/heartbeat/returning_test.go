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
	for _, n := range w.nodes {
		n.members = []string{}
		if n != cutOff {
			for _, other := range w.nodes {
				if other != cutOff && other != n {
					n.members = append(n.members, other.name)
				}
			}
		}
		w.tell(n)
	}
	w.run(d)
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

// The gossip of a node is blocked and its heartbeats are not: all lists have lost it. Some members do not
// watch it, and hear nothing of it while nothing happens.
func TestLostMemberThatIsHeardStaysBack(t *testing.T) {
	w := newWorld(t, 12, defaultTiming)
	blocked := w.nodes[0]
	for _, n := range w.nodes {
		n.members = []string{}
		for _, other := range w.nodes {
			if other != n && other != blocked && n != blocked {
				n.members = append(n.members, other.name)
			}
		}
		w.tell(n)
	}
	w.run(2 * time.Second)
	w.run(3*backMemory, func() bool {
		for _, n := range w.nodes[1:] {
			if v := n.engine.view; !slices.Contains(v.Returned, blocked.name) {
				t.Fatalf("%s does not count on it any more: %+v", n.name, v)
			}
		}
		if v := blocked.engine.view; len(v.Returned) != 11 {
			t.Fatalf("it counts on %d of 11: %+v", len(v.Returned), v)
		}
		return false
	})
}
