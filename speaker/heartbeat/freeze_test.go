package heartbeat

import (
	"fmt"
	"testing"
	"time"
)

// Processes stop, or whole machines with their kernels. They go on some milliseconds apart, and
// what they do first varies: they read what has come, or they act by the time.
func TestFreezeOfAllSpeakersMovesNothing(t *testing.T) {
	t.Parallel()
	seeds := 120
	if testing.Short() {
		seeds = 12
	}
	for _, machines := range []bool{false, true} {
		for _, n := range []int{2, 3, 10} {
			for _, length := range []time.Duration{100, 300, 500, 700, 750, 800, 1000, 2000, 5000} {
				t.Run(fmt.Sprintf("%v/%d/%dms", machines, n, length), func(t *testing.T) {
					for seed := range seeds / n {
						if moved := freezeAll(newSeededWorld(t, n, 1, defaultTiming, uint64(seed)), machines, length*time.Millisecond); moved != "" {
							t.Fatalf("seed %d: %s", seed, moved)
						}
					}
				})
			}
		}
	}
}

// A member that has returned a short time ago is told of that death only, not of another one.
func TestFreezeOfAllAfterAReturnIsNoDeath(t *testing.T) {
	t.Parallel()
	for _, n := range []int{3, 10} {
		for seed := range 60 / n {
			w := newSeededWorld(t, n, 1, defaultTiming, uint64(seed))
			cut := w.nodes[0]
			w.lost = func(from, to *node) bool { return from == cut || to == cut }
			w.run(2 * time.Second)
			w.lost = func(_, _ *node) bool { return false }
			w.run(3 * time.Second)
			if v := cut.engine.view; v.Deaths != 1 {
				t.Fatalf("of %d, seed %d: before the freeze %+v", n, seed, v)
			}
			if moved := freezeAll(w, false, 2*time.Second); moved != "" {
				t.Fatalf("of %d, seed %d: %s", n, seed, moved)
			}
		}
	}
}

// freezeAll stops all nodes together and lets them go on. It returns what has made an address move.
func freezeAll(w *world, machines bool, length time.Duration) (moved string) {
	deaths := map[string]int{}
	for _, n := range w.nodes {
		deaths[n.name] = n.engine.view.Deaths
	}
	w.run(time.Duration(w.rng.Int64N(int64(defaultTiming.SlowInterval))))
	for _, n := range w.nodes {
		n.frozen, n.stopped = !machines, machines
	}
	w.run(length)
	watch := func() bool {
		for _, n := range w.nodes {
			if v := n.engine.view; len(v.Dead) > 0 || v.Fenced != "" || v.Deaths > deaths[n.name] {
				moved = fmt.Sprintf("%s: dead %v, fenced %q, deaths %d", n.name, v.Dead, v.Fenced, v.Deaths)
			}
		}
		return moved != ""
	}
	for _, i := range w.rng.Perm(len(w.nodes)) {
		w.run(time.Duration(w.rng.Int64N(int64(6*time.Millisecond))), watch)
		n := w.nodes[i]
		n.stopped = false
		if w.rng.IntN(2) == 0 {
			n.frozen = false
			w.after(n)
		}
		w.thaw(n)
		w.after(n)
	}
	w.run(2*time.Second, watch)
	for _, n := range w.nodes {
		if moved == "" && n.engine.lease().IsZero() {
			moved = n.name + " does not answer again"
		}
	}
	return moved
}

// Messages are lost, so that it does not learn of its death at once.
func TestFrozenSpeakerLivesAgainWhenItKnowsOfItsDeath(t *testing.T) {
	t.Parallel()
	for _, n := range []int{3, 10} {
		for seed := range 120 / n {
			w := newSeededWorld(t, n, 1, defaultTiming, uint64(seed))
			frozen := w.nodes[0]
			frozen.frozen = true
			w.run(2 * time.Second)
			if !w.allBelieveDead(frozen)() {
				t.Fatalf("of %d, seed %d: it was not replaced", n, seed)
			}
			w.lost = func(from, to *node) bool { return (from == frozen || to == frozen) && w.rng.IntN(2) == 0 }
			if w.rng.IntN(2) == 0 {
				frozen.frozen = false
				w.after(frozen)
			}
			w.thaw(frozen)
			w.after(frozen)
			w.run(time.Second, func() bool {
				if frozen.engine.view.Deaths > 0 {
					return true
				}
				if !w.allBelieveDead(frozen)() || !frozen.engine.lease().IsZero() {
					t.Fatalf("of %d, seed %d: it is believed alive, or answers, before it knows of its death", n, seed)
				}
				return false
			})
			w.lost = func(_, _ *node) bool { return false }
			w.run(2 * time.Second)
			if v := frozen.engine.view; v.Deaths != 1 || !w.noneBelievedDead() || frozen.engine.lease().IsZero() {
				t.Errorf("of %d, seed %d: afterwards %+v", n, seed, v)
			}
		}
	}
}

func TestFreezeDelaysNoCrash(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	dead := w.nodes[0]
	dead.frozen = true // its kernel lives
	w.run(2 * latency)
	for _, n := range w.nodes[1:] {
		n.engine.crashed(w.now, dead.name)
		n.frozen = true
	}
	w.run(2 * time.Second)
	for _, n := range w.nodes[1:] {
		w.thaw(n)
		w.after(n)
	}
	if took := w.run(time.Second, w.allBelieveDead(dead)); took > crashGrace+defaultTiming.again() {
		t.Errorf("detected after %v", took)
	}
}

// One of two watchers has lost a member in its list, and hears it all the same. All processes are frozen
// together, and the member dies in that time. The other watcher needs the word of this one.
func TestDeathDuringAFreezeOfAllIsDetectedIfTheListIsLate(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	dead, late := w.nodes[0], w.nodes[1]
	late.members = []string{w.nodes[2].name}
	w.tell(late)
	w.run(time.Second)
	for _, n := range w.nodes {
		n.frozen = true
	}
	dead.off = true
	w.run(3 * time.Second)
	w.thaw(late)
	w.thaw(w.nodes[2])
	w.run(200 * time.Millisecond)
	if !w.nodes[2].believesDead(dead) {
		t.Errorf("%+v", w.nodes[2].engine.view)
	}
}

// A member is frozen while another one comes back from its death. A third one has crashed in the
// meantime. The last that the frozen member reads of it is that the second one is dead.
func TestBeliefOfAMemberThatWasFrozenKillsNobody(t *testing.T) {
	w := newWorld(t, 5, defaultTiming)
	back, frozen := w.nodes[0], w.nodes[1]
	back.stopped = true
	if took := w.run(time.Second, w.allBelieveDead(back)); took >= time.Second {
		t.Fatal("the others do not find that it is dead")
	}
	frozen.frozen = true
	w.run(defaultTiming.SlowDetection())
	w.nodes[2].frozen = true
	for _, n := range w.nodes[3:] {
		n.engine.crashed(w.now, w.nodes[2].name)
	}
	back.stopped, back.next = false, w.now
	w.run(5 * time.Second)
	if deaths := back.engine.view.Deaths; deaths != 1 {
		t.Fatalf("it has died %d times, want once", deaths)
	}
	w.thaw(frozen)
	w.run(time.Second)
	if deaths := back.engine.view.Deaths; deaths != 1 || frozen.believesDead(back) {
		t.Errorf("it has died %d times: %+v", deaths, frozen.engine.view)
	}
}

// A speaker that is cut off is replaced by another one, which is frozen before it can say so.
func TestDeathIsLearnedFromAMemberThatWasFrozen(t *testing.T) {
	w := newWorld(t, 2, defaultTiming)
	dead, heir := w.nodes[0], w.nodes[1]
	w.cutOn(0, func(_, _ *node) bool { return true })
	heir.engine.witness(w.now, w.now.Add(time.Minute))
	if took := w.run(300*time.Millisecond, func() bool { return heir.believesDead(dead) }); took >= 300*time.Millisecond {
		t.Fatalf("%+v", heir.engine.view)
	}
	w.run(100 * time.Millisecond)
	heir.frozen = true
	w.run(300 * time.Millisecond)
	w.cut = nil
	w.run(900 * time.Millisecond)
	w.thaw(heir)
	w.run(time.Second)
	if deaths := dead.engine.view.Deaths; deaths != 1 || !w.noneBelievedDead() {
		t.Errorf("it has died %d times, want once: %+v, %+v", deaths, dead.engine.view, heir.engine.view)
	}
}
