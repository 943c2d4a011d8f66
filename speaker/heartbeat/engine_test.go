package heartbeat

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestEngineDetectsADeadMemberInTime(t *testing.T) {
	t.Parallel()
	for _, timing := range []Timing{defaultTiming, fastTiming, calmTiming} {
		for _, n := range []int{3, 5, 10, 40} {
			t.Run(fmt.Sprint(timing.Kernel.Detection, "/", n), func(t *testing.T) {
				w := newWorld(t, n, timing)
				for _, dead := range w.nodes[:3] {
					w.run(time.Duration(w.rng.Int64N(int64(timing.Interval))))
					dead.off = true
					took := w.run(10*time.Second, w.allBelieveDead(dead))
					if low, high := timing.Kernel.Detection-timing.Kernel.Interval-5*time.Millisecond, timing.Kernel.Detection+2*timing.Kernel.Again+5*time.Millisecond; took < low || took > high {
						t.Errorf("detected after %v, want %v to %v", took, low, high)
					}
					dead.off = false
					w.start(dead)
					w.tell(dead)
					w.run(10*time.Second, w.noneBelievedDead)
				}
			})
		}
	}
}

func TestEngineDetectsACrashAtOnce(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	dead := w.nodes[1]
	dead.off = true
	for _, n := range w.nodes {
		if n != dead {
			n.engine.crashed(w.now, dead.name)
			w.after(n)
		}
	}
	if took := w.run(time.Second, w.allBelieveDead(dead)); took > crashGrace+2*time.Millisecond {
		t.Errorf("detected after %v", took)
	}
}

func TestEngineIgnoresACutConnection(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	for _, n := range w.nodes {
		for _, other := range w.nodes {
			n.engine.crashed(w.now, other.name)
		}
		w.after(n)
	}
	w.run(time.Second)
	for _, n := range w.nodes {
		if len(n.deaths) > 0 {
			t.Errorf("%s believes that %v are dead", n.name, n.deaths)
		}
	}
}

func TestEngineOfTwoDetectsACrashWithoutAWitness(t *testing.T) {
	w := newWorld(t, 2, defaultTiming)
	w.nodes[1].off = true
	w.run(2 * latency) // its last messages arrive before its kernel closes the connection
	w.nodes[0].engine.crashed(w.now, "node2")
	w.after(w.nodes[0])
	w.run(time.Second, w.allBelieveDead(w.nodes[1]))
	if v := w.nodes[0].engine.view; v.Fenced != "" || !w.nodes[0].believesDead(w.nodes[1]) {
		t.Errorf("%+v", v)
	}
}

func TestEngineFencesTheSpeakerThatHearsNoMember(t *testing.T) {
	for _, direction := range []string{"ingress", "egress", "both"} {
		for _, n := range []int{3, 10} {
			t.Run(fmt.Sprint(direction, "/", n), func(t *testing.T) {
				w := newWorld(t, n, defaultTiming)
				cut := w.nodes[0]
				w.lost = func(from, to *node) bool {
					return direction != "egress" && to == cut || direction != "ingress" && from == cut
				}
				took := w.run(time.Second, w.allBelieveDead(cut))
				if took > defaultTiming.Detection()+2*defaultTiming.Interval {
					t.Errorf("detected after %v", took)
				}
				w.run(time.Second)
				if cut.engine.view.Fenced == "" || !cut.engine.lease().IsZero() || len(cut.engine.view.Dead) > 0 {
					t.Errorf("who is cut off thinks %+v", cut.engine.view)
				}
				for _, other := range w.nodes[1:] {
					if !slices.Equal(other.deaths, []string{cut.name}) || other.engine.view.Fenced != "" {
						t.Errorf("%s detected the deaths %v, fenced: %q", other.name, other.deaths, other.engine.view.Fenced)
					}
				}
				w.lost = func(_, _ *node) bool { return false }
				if took := w.run(time.Second, w.noneBelievedDead); took > 2*defaultTiming.Interval {
					t.Errorf("back after %v", took)
				}
			})
		}
	}
}

func TestPartitionIntoHalvesFencesNoSpeaker(t *testing.T) {
	w := newWorld(t, 4, defaultTiming)
	side := func(n *node) bool { return n == w.nodes[0] || n == w.nodes[1] }
	w.lost = func(from, to *node) bool { return side(from) != side(to) }
	w.run(time.Second)
	for _, n := range w.nodes {
		for _, other := range w.nodes {
			if n != other && n.believesDead(other) != (side(n) != side(other)) {
				t.Errorf("%s believes that %s is dead: %v", n.name, other.name, n.believesDead(other))
			}
		}
		if n.engine.view.Fenced != "" {
			t.Errorf("%s is fenced: %s", n.name, n.engine.view.Fenced)
		}
	}
	w.lost = func(_, _ *node) bool { return false }
	if took := w.run(time.Second, w.noneBelievedDead); took > 3*defaultTiming.Interval {
		t.Errorf("healed after %v", took)
	}
}

func TestSuspicionOfOneMemberIsNotEnough(t *testing.T) {
	w := newWorld(t, 5, defaultTiming)
	w.lost = func(from, to *node) bool { return from == w.nodes[0] && to == w.nodes[1] }
	w.run(time.Minute)
	for _, n := range w.nodes {
		if len(n.deaths) > 0 || n.engine.view.Fenced != "" {
			t.Errorf("%s detected the deaths %v, fenced: %q", n.name, n.deaths, n.engine.view.Fenced)
		}
	}
}

func TestFreezeIsDetectedBeforeTheSpeakerAnswers(t *testing.T) {
	for _, n := range []int{3, 10} {
		w := newWorld(t, n, defaultTiming)
		frozen := w.nodes[0]
		lease := frozen.engine.lease()
		frozen.frozen = true
		took := w.run(time.Second, w.allBelieveDead(frozen))
		if taken := w.now; taken.Before(lease) {
			t.Errorf("taken over after %v, while it still answered", took)
		}
		w.run(time.Second)
		w.thaw(frozen)
		if !frozen.engine.lease().IsZero() {
			t.Error("it answers before it has heard anything new")
		}
		w.after(frozen)
		w.run(time.Second, w.noneBelievedDead)
		w.run(time.Second, func() bool { return !frozen.engine.lease().IsZero() })
		if v := frozen.engine.view; v.Fenced != "" || v.Freezes != 1 || v.Deaths != 1 || frozen.engine.lease().IsZero() || len(frozen.deaths) > 0 {
			t.Errorf("afterwards %+v, deaths %v", v, frozen.deaths)
		}
	}
}

func TestSuspicionOfTwoMembersFencesTheSpeaker(t *testing.T) {
	w := newWorld(t, 4, defaultTiming)
	missed := w.nodes[0]
	w.lost = func(from, to *node) bool { return from == missed && to != w.nodes[3] }
	w.run(2 * defaultTiming.Detection())
	if missed.engine.view.Fenced == "" {
		t.Error("it goes on although others have taken its place")
	}
	for _, n := range w.nodes[1:] {
		if !n.believesDead(missed) {
			t.Errorf("%s does not know of it", n.name)
		}
	}
	w.lost = func(_, _ *node) bool { return false }
	if took := w.run(time.Second, w.noneBelievedDead); took > 3*defaultTiming.Interval {
		t.Errorf("back after %v", took)
	}
}

func TestPathIsEstablishedAgainWithinAnInterval(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	n := w.nodes[0]
	w.run(10 * time.Second)
	for range 3 {
		n.engine.set(w.now, nil) // its link is gone
		w.run(200 * time.Millisecond)
		w.tell(n)
		if took := w.run(time.Second, func() bool { return n.engine.members["node2"].paths[0].mutual(w.now) }); took > defaultTiming.Interval {
			t.Errorf("established after %v", took)
		}
		w.run(time.Second)
	}
}

func TestFreezeShorterThanTheDetectionTimeIsIgnored(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	for range 20 {
		w.nodes[0].frozen = true
		w.run(defaultTiming.Detection() - defaultTiming.Interval - time.Duration(w.rng.Int64N(int64(50*time.Millisecond))))
		w.nodes[0].frozen = false
		w.nodes[0].next = w.now
		w.after(w.nodes[0]) // before it reads what has come
		w.thaw(w.nodes[0])
		w.run(time.Second)
	}
	for _, n := range w.nodes {
		if len(n.deaths) > 0 || n.engine.view.Freezes > 0 {
			t.Errorf("%s detected the deaths %v, freezes: %d", n.name, n.deaths, n.engine.view.Freezes)
		}
	}
}

func TestEngineDetectsNoDeathOnALossyNetwork(t *testing.T) {
	t.Parallel()
	for _, loss := range []float64{0.1, 0.2} {
		for _, n := range []int{2, 3, 10} {
			if n == 2 && loss > 0.1 {
				continue // with two speakers there is no second speaker to confirm a suspicion
			}
			t.Run(fmt.Sprint(loss, "/", n), func(t *testing.T) {
				w := newWorld(t, n, defaultTiming)
				w.lost = func(_, _ *node) bool { return w.rng.Float64() < loss }
				for range 10 {
					w.run(minutes(10) / time.Duration(n))
					for _, n := range w.nodes {
						if n.engine.view.NeedWitness {
							n.engine.witness(w.now, w.now.Add(time.Second))
						}
						if len(n.deaths) > 0 || n.engine.view.Fenced != "" {
							t.Fatalf("%s detected the deaths %v, fenced: %q", n.name, n.deaths, n.engine.view.Fenced)
						}
					}
				}
			})
		}
	}
}

func TestOnlySpeakerOfAClusterNeedsNoWitness(t *testing.T) {
	w := newWorld(t, 1, defaultTiming)
	w.run(time.Minute)
	if v := w.nodes[0].engine.view; v.Fenced != "" || v.NeedWitness {
		t.Errorf("in a cluster of one node: %+v", v)
	}
}

func TestWitnessKeepsOneOfTwoSpeakersUnfenced(t *testing.T) {
	w := newWorld(t, 2, defaultTiming)
	w.lost = func(_, _ *node) bool { return true }
	w.run(defaultTiming.Detection() - defaultTiming.Interval/2)
	survivor, other := w.nodes[0], w.nodes[1]
	if !survivor.engine.view.NeedWitness {
		t.Error("no witness is asked for when heartbeats are late")
	}
	survivor.engine.witness(w.now, w.now.Add(time.Second))
	w.run(defaultTiming.Interval)
	if v := survivor.engine.view; v.Fenced != "" || !survivor.believesDead(other) {
		t.Errorf("with a witness: %+v", v)
	}
	if v := other.engine.view; v.Fenced == "" || len(v.Dead) > 0 {
		t.Errorf("without one: %+v", v)
	}
	w.run(time.Minute)
	if v := survivor.engine.view; v.Fenced != "" || v.NeedWitness {
		t.Errorf("a witness of then is not enough later: %+v", v)
	}
	w.lost = func(_, _ *node) bool { return false }
	if took := w.run(time.Second, w.noneBelievedDead); took > 3*defaultTiming.Interval {
		t.Errorf("healed after %v", took)
	}
}

func TestWitnessUnfencesTheLastSpeakerAfterAFreeze(t *testing.T) {
	w := newWorld(t, 2, defaultTiming)
	last := w.nodes[0]
	w.nodes[1].off = true
	w.run(time.Second)
	last.frozen = true
	w.run(time.Second)
	w.thaw(last)
	w.after(last)
	w.run(2 * defaultTiming.Detection())
	if last.engine.view.Fenced == "" {
		t.Error("goes on without a witness")
	}
	last.engine.witness(w.now, w.now.Add(testimonyLife))
	w.run(readyPatience + defaultTiming.Interval)
	if v := last.engine.view; v.Fenced != "" || last.engine.lease().IsZero() {
		t.Errorf("with a witness: %+v, lease %v", v, last.engine.lease())
	}
}

func TestHeldSpeakerIsDeadToTheOthers(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	held := w.nodes[0]
	held.engine.held = true
	if took := w.run(time.Second, w.allBelieveDead(held)); took > defaultTiming.Detection() {
		t.Errorf("it took %v", took)
	}
	if v := held.engine.view; v.Fenced != "" {
		t.Errorf("it fences itself: %+v", v)
	}
	w.run(2 * time.Second)
	held.engine.held = false
	if took := w.run(time.Second, w.noneBelievedDead); took > defaultTiming.Detection() {
		t.Errorf("it took %v until it was well again", took)
	}
}
