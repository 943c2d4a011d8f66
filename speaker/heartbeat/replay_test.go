package heartbeat

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// record returns all messages of a node during half a second.
func (w *world) record(of *node) (recorded []flight) {
	begun := w.now
	w.run(time.Second, func() bool {
		for _, f := range w.flights {
			if f.m.name == of.name {
				recorded = append(recorded, f)
			}
		}
		return w.now.Sub(begun) > 500*time.Millisecond
	})
	return recorded
}

// replay sends recorded messages again, for two seconds.
func (w *world) replay(recorded []flight) {
	for range 20 {
		for _, f := range recorded {
			f.to.engine.receive(w.now, f.m)
			w.after(f.to)
		}
		w.run(100 * time.Millisecond)
	}
}

func TestEngineIgnoresReplayedMessages(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	dead := w.nodes[0]
	recorded := w.record(dead)
	dead.off = true
	w.run(time.Second, w.allBelieveDead(dead))
	// All recorded messages are replayed, also to a speaker that has restarted.
	w.nodes[1].engine = newEngine("node2", defaultTiming, w.now)
	w.tell(w.nodes[1])
	w.replay(recorded)
	if v := w.nodes[2].engine.view; len(v.Dead[dead.name]) == 0 && len(w.nodes[2].engine.suspicions) == 0 {
		t.Errorf("it seems to live: %+v", v)
	}
	if p := w.nodes[1].engine.members[dead.name]; p.paths[0].established {
		t.Error("one that has started anew believes the recording")
	}
}

// A recording of an earlier epoch must not count either, however long the member is silent,
// and also if the speaker has forgotten the member meanwhile.
func TestRecordingOfAnEarlierEpochNeverCounts(t *testing.T) {
	for _, forgotten := range []bool{false, true} {
		w := newWorld(t, 3, defaultTiming)
		dead := w.nodes[0]
		recorded := w.record(dead)
		dead.engine = newEngine(dead.name, defaultTiming, w.now) // it restarts
		w.tell(dead)
		w.run(2 * time.Second)
		recorded = append(recorded, w.record(dead)...)
		dead.off = true
		w.run(time.Minute)
		if forgotten {
			for _, n := range w.nodes[1:] {
				n.engine.set(w.now, nil)
				w.tell(n)
			}
		}
		for _, n := range w.nodes[1:] {
			n.deaths = nil
		}
		w.replay(recorded)
		for _, n := range w.nodes[1:] {
			if p := n.engine.members[dead.name].paths[0]; !p.expired(w.now) && p.established {
				t.Errorf("forgotten %v: to %s the dead member seems to live", forgotten, n.name)
			}
		}
	}
}

// A machine without a battery-backed clock starts in the past.
func TestSpeakerWhoseClockWentBackIsHeardAtOnce(t *testing.T) {
	w := newWorld(t, 4, defaultTiming)
	restarted := w.nodes[2]
	restarted.engine = newEngine(restarted.name, defaultTiming, w.now.Add(-1000*time.Hour))
	restarted.engine.planned, restarted.engine.due, restarted.engine.ticked = w.now, w.now, w.now
	w.tell(restarted)
	took := w.run(5*time.Second, func() bool { return restarted.engine.view.Ready && w.noneBelievedDead() })
	if took > 500*time.Millisecond {
		t.Errorf("it took %v", took)
	}
}

// A recording of this speaker's former epochs must not drive its epoch up step by step.
func TestEpochIsRaisedOnlyWithinReason(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	e := w.nodes[0].engine
	epoch := e.epoch
	m := message{name: w.nodes[1].name, from: w.nodes[1].addrs[0], to: w.nodes[0].addrs[0], epoch: 1, echo: 1<<64 - 1, seq: 1}
	e.receive(w.now, m)
	if e.epoch != epoch {
		t.Errorf("the epoch is %d, it was %d", e.epoch, epoch)
	}
}

// The clock of a node was ahead. In its earlier life its speaker began with a high epoch and renewed it,
// which members have recorded. A challenge that knows an older epoch must not lead back to that.
func TestEpochAfterAChallengeWasNotUsedBefore(t *testing.T) {
	const before = uint64(2_000_000_000_000_000_000)
	for life := range 50 {
		e := newEngine("node1", defaultTiming, time.Unix(1_000_000_000, int64(life)*123_456_789))
		p := &path{member: &member{}}
		e.challenge(e.started, p, message{echo: before}, 1)
		if used := e.epoch - before; used <= 1000 {
			t.Fatalf("the epoch is only %d higher than the one of the challenge", used)
		}
	}
}

func TestRecordedMessagesAreAnsweredSeldom(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	e := w.nodes[0].engine
	for range 1000 {
		e.receive(w.now, message{name: w.nodes[1].name, from: w.nodes[1].addrs[0], to: w.nodes[0].addrs[0], epoch: 1, echo: 2, seq: 1})
	}
	if n := len(e.out); n != 1 {
		t.Errorf("%d answers to 1,000 recordings at one moment", n)
	}
}

func TestSpeakerLearnsThatItWasDeadBefore(t *testing.T) {
	for _, tt := range []struct {
		name   string
		happen func(w *world, n *node)
		want   bool
	}{
		{"its machine lost power", func(w *world, n *node) {
			n.off = true
			w.run(2 * time.Second)
			n.off = false
		}, true},
		{"the member list has lost it", func(w *world, n *node) {
			n.off = true
			w.run(2 * time.Second)
			for _, other := range w.nodes {
				if other != n {
					other.members = []string{"node1", "node2", "node3"}
					w.tell(other)
				}
			}
			w.run(10 * time.Second)
			n.off = false
		}, true},
		{"it restarts without having been missed", func(w *world, n *node) {}, false},
		{"it has left, and comes back", func(w *world, n *node) {
			for _, other := range w.nodes {
				if other != n {
					other.engine.set(w.now, nil) // the members that have left are no members
				}
			}
			n.off = true
			w.run(2 * time.Second)
			n.off = false
		}, false},
	} {
		w := newWorld(t, 4, defaultTiming)
		n := w.nodes[3]
		tt.happen(w, n)
		n.engine = newEngine(n.name, defaultTiming, w.now)
		for _, other := range w.nodes {
			other.members = nil
			w.tell(other)
		}
		w.run(5*time.Second, func() bool { return n.engine.view.Ready })
		w.run(4 * latency)
		if got := n.engine.view.Deaths > 0; got != tt.want {
			t.Errorf("%s: when it is ready, it knows that it was gone: %v", tt.name, got)
		}
		for _, other := range w.nodes[:3] {
			if other.engine.view.Deaths > 0 {
				t.Errorf("%s: %s thinks that it was gone", tt.name, other.name)
			}
		}
	}
}

// Everything that a dead member has ever sent is replayed all the time, in a random order. The
// test takes HOURS of simulated time.
func TestAttackByReplaysRevivesNoMember(t *testing.T) {
	t.Parallel()
	length := time.Hour
	if testing.Short() {
		length = 10 * time.Minute
	}
	if text := os.Getenv("HOURS"); text != "" {
		hours, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		length = time.Duration(hours) * time.Hour
	}
	w := newWorld(t, 3, defaultTiming)
	dead := w.nodes[0]
	recorded := w.record(dead)
	dead.engine = newEngine(dead.name, defaultTiming, w.now)
	w.tell(dead)
	w.run(2 * time.Second)
	recorded = append(recorded, w.record(dead)...)
	dead.off = true
	w.run(time.Second, w.allBelieveDead(dead))
	for end := w.now.Add(length); w.now.Before(end); w.run(100 * time.Millisecond) {
		f := recorded[w.rng.IntN(len(recorded))]
		f.to.engine.receive(w.now, f.m)
		w.after(f.to)
		for _, n := range w.nodes[1:] {
			if !n.believesDead(dead) || n.engine.view.Fenced != "" {
				t.Fatalf("%s: %+v", n.name, n.engine.view)
			}
		}
	}
}
