package heartbeat

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"
)

func TestEngineDetectsADeadMemberInTime(t *testing.T) {
	for _, timing := range []Timing{defaultTiming, fastTiming, calmTiming} {
		for _, n := range []int{3, 5, 10, 40} {
			t.Run(fmt.Sprint(timing.Detection(), "/", n), func(t *testing.T) {
				w := newWorld(t, n, timing)
				for _, dead := range w.nodes[:3] {
					w.run(time.Duration(w.rng.Int64N(int64(timing.Interval))))
					dead.off = true
					took := w.run(10*time.Second, w.allBelieveDead(dead))
					if low, high := timing.Detection()-timing.Interval-5*time.Millisecond, timing.Detection()+5*time.Millisecond; took < low || took > high {
						t.Errorf("detected after %v, want %v to %v", took, low, high)
					}
					dead.off = false
					dead.engine = newEngine(dead.name, timing, w.now)
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
	if took := w.run(time.Second, w.noneBelievedDead); took > 2*defaultTiming.Interval {
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
		w.run(4 * latency) // until it has heard from the members
		if v := frozen.engine.view; v.Fenced != "" || v.Freezes != 1 || frozen.engine.lease().IsZero() || len(frozen.deaths) > 0 {
			t.Errorf("afterwards %+v, deaths %v", v, frozen.deaths)
		}
	}
}

func TestFreezeOfAllSpeakersMovesNothing(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	for range 20 {
		for _, n := range w.nodes {
			n.frozen = true
		}
		w.run(time.Second)
		for _, i := range w.rng.Perm(3) {
			w.thaw(w.nodes[i])
			w.after(w.nodes[i])
			w.run(time.Duration(w.rng.Int64N(int64(40 * time.Millisecond))))
		}
		w.run(2 * time.Second)
		for _, n := range w.nodes {
			if len(n.deaths) > 0 || n.engine.view.Fenced != "" || n.engine.lease().IsZero() {
				t.Fatalf("%s detected the deaths %v, %+v", n.name, n.deaths, n.engine.view)
			}
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
	for _, loss := range []float64{0.1, 0.2} {
		for _, n := range []int{2, 3, 10} {
			if n == 2 && loss > 0.1 {
				continue // with two speakers there is no second speaker to confirm a suspicion
			}
			t.Run(fmt.Sprint(loss, "/", n), func(t *testing.T) {
				w := newWorld(t, n, defaultTiming)
				w.lost = func(_, _ *node) bool { return w.rng.Float64() < loss }
				for range 100 / n { // minutes
					w.run(time.Minute)
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
	if took := w.run(time.Second, w.noneBelievedDead); took > 2*defaultTiming.Interval {
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
	last.engine.witness(w.now, w.now.Add(time.Second))
	w.run(defaultTiming.Interval)
	if v := last.engine.view; v.Fenced != "" || last.engine.lease().IsZero() {
		t.Errorf("with a witness: %+v, lease %v", v, last.engine.lease())
	}
}

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
		w.lost = func(_, _ *node) bool { return false }
		cut.members = nil
		w.tell(cut)
		w.run(2 * time.Second)
	}
	for _, other := range w.nodes[1:] {
		if cut.engine.view.Suppressed[other.name] || other.engine.view.Suppressed[other.name] {
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
		if cut.engine.view.Suppressed[other.name] || other.engine.view.Suppressed[other.name] {
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
	if took > 2*defaultTiming.Interval {
		t.Errorf("noticed after %v", took)
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
			if held := n.engine.view.Suppressed[bad.name]; held != (round >= maxLosses) {
				t.Errorf("after %d deaths %s suppresses it: %v", round, n.name, held)
			}
		}
	}
	w.run(lossMemory + suppressionLife)
	for _, n := range w.nodes {
		if n.engine.view.Suppressed[bad.name] {
			t.Errorf("%s suppresses it after %v", n.name, lossMemory)
		}
	}
}

func TestSuppressionWorksBetweenTwoSpeakers(t *testing.T) {
	w := newWorld(t, 2, defaultTiming)
	bad, good := w.nodes[0], w.nodes[1]
	for round := 1; round <= maxLosses; round++ {
		bad.frozen = true
		w.run(time.Second, func() bool { return good.engine.view.NeedWitness })
		good.engine.witness(w.now, w.now.Add(time.Second))
		w.run(2*time.Second, w.allBelieveDead(bad))
		w.run(2 * time.Second)
		w.thaw(bad)
		w.run(2 * time.Second)
		if held := good.engine.view.Suppressed[bad.name]; held != (round == maxLosses) {
			t.Errorf("after %d deaths the other suppresses it: %v", round, held)
		}
	}
}

func TestHeartbeatsThatNeverArriveProveNoDeath(t *testing.T) {
	w := &world{t: t, now: time.Unix(1_000_000_000, 0), timing: defaultTiming, lost: func(_, _ *node) bool { return true }}
	for i := range 3 {
		n := &node{name: fmt.Sprint("node", i+1), addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})}
		n.engine = newEngine(n.name, defaultTiming, w.now)
		w.nodes = append(w.nodes, n)
	}
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

func TestEngineIgnoresReplayedMessages(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	var recorded []flight
	dead := w.nodes[0]
	w.lost = func(from, to *node) bool { return false }
	record := w.now
	w.run(time.Second, func() bool {
		for _, f := range w.flights {
			if f.m.name == dead.name {
				recorded = append(recorded, f)
			}
		}
		return w.now.Sub(record) > 500*time.Millisecond
	})
	dead.off = true
	w.run(time.Second, w.allBelieveDead(dead))
	// All recorded messages are replayed, also to a speaker that has restarted.
	w.nodes[1].engine = newEngine("node2", defaultTiming, w.now)
	w.tell(w.nodes[1])
	for range 20 {
		for _, f := range recorded {
			f.to.engine.receive(w.now, f.m)
			w.after(f.to)
		}
		w.run(100 * time.Millisecond)
	}
	if v := w.nodes[2].engine.view; len(v.Dead[dead.name]) == 0 && w.nodes[2].engine.suspicions[suspicion{nodeID(dead.name), dead.addr}] == false {
		t.Errorf("it seems to live: %+v", v)
	}
	if p := w.nodes[1].engine.members[dead.name]; p.paths[0].established {
		t.Error("one that has started anew believes the recording")
	}
}

// The engine calls observe at any time and often. So two calls must have the same result,
// and currentView must change nothing.
func TestViewDoesNotChangeByLooking(t *testing.T) {
	w := newWorld(t, 5, defaultTiming)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		n := w.nodes[rng.IntN(len(w.nodes))]
		n.off = rng.IntN(3) == 0
		w.lost = func(_, _ *node) bool { return rng.IntN(4) == 0 }
		w.run(time.Duration(rng.Int64N(int64(500 * time.Millisecond))))
		e := w.nodes[rng.IntN(len(w.nodes))].engine
		e.updateView(w.now)
		view := e.view
		for range 2 {
			if again := e.currentView(w.now); !reflect.DeepEqual(view, again) {
				t.Fatalf("looking changed\n%+v\nto\n%+v", view, again)
			}
		}
		e.updateView(w.now)
		if !reflect.DeepEqual(view, e.view) {
			t.Fatalf("observing twice changed\n%+v\nto\n%+v", view, e.view)
		}
	}
}

func BenchmarkReceiveAmong1000(b *testing.B) {
	now := time.Unix(1_000_000_000, 0)
	e := newEngine("node0", defaultTiming, now)
	var members []Member
	for i := 1; i < 1000; i++ {
		addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		members = append(members, Member{Name: fmt.Sprint("node", i), Paths: []Path{{Link: "eth0", Local: netip.MustParseAddr("10.1.0.1"), Remote: addr}}})
	}
	e.set(now, members)
	p := e.members[e.ring.around("node0")[0]]
	m := message{name: p.name, from: p.paths[0].Remote, to: p.paths[0].Local, epoch: 1, echo: e.epoch, flags: flagHearing}
	for b.Loop() {
		m.seq++
		now = now.Add(time.Millisecond)
		e.receive(now, m)
		e.step(now)
		e.out = e.out[:0]
	}
}
