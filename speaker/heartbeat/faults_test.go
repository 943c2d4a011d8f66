package heartbeat

import (
	"slices"
	"testing"
	"time"
)

// minutes returns a time that is long enough for rare events; with -short it is a tenth.
func minutes(n int) time.Duration {
	if testing.Short() {
		return time.Duration(n) * time.Minute / 10
	}
	return time.Duration(n) * time.Minute
}

// cutOn lets no frame pass on a link for which drop is true.
func (w *world) cutOn(link int, drop func(from, to *node) bool) {
	w.cut = func(from, to *node, on int) bool { return on == link && drop(from, to) }
}

// deadAt reports whether a node believes another one dead on a link.
func (n *node) deadAt(other *node, link int) bool {
	return slices.Contains(n.engine.view.Dead[other.name], other.addrs[link])
}

func TestSilentProcessIsDeadAfterASecond(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	frozen := w.nodes[0]
	frozen.frozen = true
	took := w.run(5*time.Second, w.allBelieveDead(frozen))
	if low, high := defaultTiming.SlowDetection()-defaultTiming.SlowInterval, defaultTiming.SlowDetection()+10*time.Millisecond; took < low || took > high {
		t.Errorf("after %v, want %v to %v", took, low, high)
	}
	if v := w.nodes[1].engine.view; len(v.KernelDead) > 0 {
		t.Errorf("the kernels of %v are dead", v.KernelDead)
	}
}

func TestStoppedMachineLearnsThatItWasReplaced(t *testing.T) {
	for _, length := range []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, 5 * time.Second} {
		w := newWorld(t, 3, defaultTiming)
		stopped := w.nodes[0]
		stopped.stopped = true
		if took := w.run(length, w.allBelieveDead(stopped)); took == length {
			t.Errorf("%v: not detected", length)
		}
		if v := w.nodes[1].engine.view; !slices.Equal(v.KernelDead, []string{stopped.name}) {
			t.Errorf("%v: the kernels of %v are dead", length, v.KernelDead)
		}
		w.run(length)
		stopped.stopped, stopped.next = false, w.now
		w.after(stopped)
		took := w.run(time.Second, func() bool { return w.noneBelievedDead() && !stopped.engine.lease().IsZero() })
		if v := stopped.engine.view; v.Deaths != 1 || took > 300*time.Millisecond || len(stopped.deaths) > 0 {
			t.Errorf("%v: after %v %+v, deaths %v", length, took, v, stopped.deaths)
		}
	}
}

// The same with two nodes. A witness tells the other one that it is alone. What it hears first of the stopped
// machine must not look as if the machine had gone on.
func TestStoppedMachineOfTwoLearnsThatItWasReplaced(t *testing.T) {
	for phase := time.Duration(0); phase < 100*time.Millisecond; phase += 7 * time.Millisecond {
		w := newWorld(t, 2, defaultTiming)
		w.run(phase)
		stopped, other := w.nodes[0], w.nodes[1]
		other.engine.witness(w.now, w.now.Add(time.Minute))
		stopped.stopped = true
		w.run(500 * time.Millisecond)
		if !other.believesDead(stopped) || !other.engine.alone {
			t.Fatalf("not detected: %+v", other.engine.view)
		}
		stopped.stopped, stopped.next = false, w.now
		w.after(stopped)
		w.run(time.Second, func() bool {
			if v := other.engine.view; v.Fenced != "" || len(v.FencedLinks) > 0 || v.Deaths > 0 {
				t.Fatalf("the one that went on gives way: %+v", v)
			}
			return false
		})
		if v := stopped.engine.view; v.Deaths != 1 || !w.noneBelievedDead() {
			t.Errorf("%+v", v)
		}
	}
}

// The switch may begin to limit ARP. Then kernels prove nothing any more.
func TestKernelIsDoubtedWhileItsSpeakerGoesOn(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	w.run(time.Second)
	w.mute = true
	w.run(8 * time.Second)
	for _, n := range w.nodes {
		if v := n.engine.view; len(v.Dead) > 0 || v.Fenced != "" || n.engine.lease().IsZero() {
			t.Errorf("%s: %+v", n.name, v)
		}
	}
	w.nodes[0].off = true
	if took := w.run(5*time.Second, w.allBelieveDead(w.nodes[0])); took > defaultTiming.Detection()+10*time.Millisecond {
		t.Errorf("a death is detected after %v, want the time without kernels", took)
	}
}

// Its member list and those of the others use the first link.
func TestLostMemberIsElectedWhereItIsHeard(t *testing.T) {
	w := newLinkedWorld(t, 3, 2, defaultTiming)
	cut := w.nodes[0]
	w.cutOn(0, func(from, to *node) bool { return from == cut || to == cut })
	w.run(time.Second)
	for _, n := range w.nodes {
		n.members = []string{w.nodes[1].name, w.nodes[2].name}
		if n == cut {
			n.members = []string{}
		}
		w.tell(n)
	}
	w.run(20 * time.Second)
	if v := cut.engine.view; !v.FencedLinks["eth0"] || v.FencedLinks["eth1"] || v.Fenced != "" {
		t.Errorf("the node that is cut off: %+v", v)
	}
	for _, n := range w.nodes[1:] {
		if v := n.engine.view; !slices.Equal(v.Returned, []string{cut.name}) || !n.deadAt(cut, 0) || n.deadAt(cut, 1) {
			t.Errorf("%s: %+v", n.name, v)
		}
	}
}

// Suspicions of the first link come over the second one, too.
func TestPartitionOfOneLinkFencesNoMajority(t *testing.T) {
	for _, n := range []int{4, 5} {
		w := newLinkedWorld(t, n, 2, defaultTiming)
		few := w.nodes[:2]
		w.cutOn(0, func(from, to *node) bool { return slices.Contains(few, from) != slices.Contains(few, to) })
		w.run(50 * time.Millisecond)
		messages := uint64(0)
		for _, n := range w.nodes {
			messages -= n.engine.seq
		}
		w.run(100 * time.Millisecond)
		for _, n := range w.nodes {
			messages += n.engine.seq
		}
		if messages > 500 {
			t.Errorf("of %d: %d messages in 100 ms", n, messages)
		}
		w.run(10 * time.Second)
		for _, n := range w.nodes {
			if v := n.engine.view; v.FencedLinks["eth0"] || v.Fenced != "" {
				t.Errorf("%s: %+v", n.name, v)
			}
		}
	}
}

func TestSpeakerThatOneMemberReachesIsFenced(t *testing.T) {
	for _, n := range []int{4, 5, 7} {
		w := newWorld(t, n, defaultTiming)
		cut, friend := w.nodes[0], w.nodes[1]
		w.lost = func(from, to *node) bool {
			return from == cut && to != friend || to == cut && from != friend
		}
		w.run(500*time.Millisecond, func() bool { return cut.engine.view.Fenced != "" })
		for range 50 {
			w.run(200 * time.Millisecond)
			if cut.engine.view.Fenced == "" || !friend.believesDead(cut) {
				t.Fatalf("of %d: %+v; the member that reaches it: %+v", n, cut.engine.view, friend.engine.view)
			}
		}
		w.lost = func(_, _ *node) bool { return false }
		if took := w.run(2*time.Second, w.noneBelievedDead); took > 300*time.Millisecond {
			t.Errorf("of %d: well again after %v", n, took)
		}
		if v := cut.engine.view; v.Deaths != 1 {
			t.Errorf("of %d: it has died %d times", n, v.Deaths)
		}
	}
}

func TestDeafSpeakerSuppressesNoMember(t *testing.T) {
	for _, n := range []int{5, 8, 12} {
		w := newWorld(t, n, defaultTiming)
		deaf := w.nodes[0]
		for range 2 {
			w.lost = func(_, to *node) bool { return to == deaf }
			w.run(3 * time.Second)
			w.lost = func(_, _ *node) bool { return false }
			w.run(3 * time.Second)
		}
		for _, other := range w.nodes[1:] {
			if v := other.engine.view; v.Suppressed || v.Deaths > 0 {
				t.Errorf("of %d: %s has died %d times, suppressed: %v", n, other.name, v.Deaths, v.Suppressed)
			}
		}
		if !deaf.engine.view.Suppressed {
			t.Errorf("of %d: the deaf one is not suppressed after two deaths", n)
		}
	}
}

func TestOneOfTwoGoesOnIfBothHaveAWitness(t *testing.T) {
	w := newWorld(t, 2, defaultTiming)
	w.lost = func(from, _ *node) bool { return from == w.nodes[0] }
	for range 100 {
		w.run(50 * time.Millisecond)
		for _, n := range w.nodes {
			if n.engine.view.NeedWitness {
				n.engine.witness(w.now, w.now.Add(2*time.Second))
			}
		}
	}
	if mute, other := w.nodes[0].engine.view, w.nodes[1].engine.view; mute.Fenced == "" || other.Fenced != "" {
		t.Errorf("the mute one: %+v; the other: %+v", mute, other)
	}
}

// The first profile of a starting speaker has no links.
func TestPathKeepsItsStateWhenItsLinkIsKnown(t *testing.T) {
	w := newIdleWorld(t, 2, 1, defaultTiming, 1)
	starter, other := w.nodes[1], w.nodes[0]
	other.linkless = true
	for _, n := range w.nodes {
		w.tell(n)
	}
	for range 20 {
		w.run(time.Duration(w.rng.Int64N(int64(200 * time.Millisecond))))
		other.linkless = !other.linkless
		w.tell(other)
		w.run(500 * time.Millisecond)
		if v := other.engine.view; len(v.Dead) > 0 || v.Fenced != "" || starter.engine.view.Fenced != "" {
			t.Fatalf("%+v; the starter: %+v", v, starter.engine.view)
		}
	}
}

// Two nodes hear only each other, and all others hear them.
func TestTwoDeafSpeakersSilenceNoMember(t *testing.T) {
	for n := 4; n <= 7; n++ {
		w := newWorld(t, n, defaultTiming)
		deaf := w.nodes[:2]
		w.lost = func(from, to *node) bool { return slices.Contains(deaf, to) && !slices.Contains(deaf, from) }
		w.run(10 * time.Second)
		for _, n := range w.nodes[2:] {
			if v := n.engine.view; v.Fenced != "" || slices.ContainsFunc(n.deaths, func(name string) bool { return name != deaf[0].name && name != deaf[1].name }) {
				t.Errorf("of %d: %s believed %v dead: %+v", len(w.nodes), n.name, n.deaths, v)
			}
		}
	}
}

func TestForgedSequenceNumberIsSurvived(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	victim, at := w.nodes[0], w.nodes[1]
	m := message{name: victim.name, from: victim.addrs[0], to: at.addrs[0], epoch: victim.engine.epoch, echo: at.engine.epoch, seq: 1<<64 - 1, flags: flagHearing}
	at.engine.receive(w.now, m)
	for range 50 {
		w.run(100 * time.Millisecond)
		if v := at.engine.view; len(v.Dead) > 0 || v.Fenced != "" {
			t.Fatalf("%+v", v)
		}
	}
	if p := at.engine.members[victim.name].paths[0]; w.now.Sub(p.heardAt) > defaultTiming.SlowInterval+time.Millisecond {
		t.Errorf("it was heard %v ago", w.now.Sub(p.heardAt))
	}
}

func TestDeathOnOneLinkIsNoDeathOfTheSpeaker(t *testing.T) {
	w := newLinkedWorld(t, 3, 2, defaultTiming)
	cut := w.nodes[0]
	w.cutOn(0, func(from, to *node) bool { return from == cut || to == cut })
	w.run(5 * time.Second)
	w.cut = nil
	w.run(time.Second, func() bool { return w.noneBelievedDead() && len(cut.engine.view.FencedLinks) == 0 })
	if v := cut.engine.view; v.Deaths != 0 || v.LinkDeaths != 1 || len(v.FencedLinks) > 0 || !w.noneBelievedDead() {
		t.Errorf("%+v", v)
	}
}

func TestSpeakerThatCrashesAgainIsSuppressed(t *testing.T) {
	w := newWorld(t, 3, defaultTiming)
	n := w.nodes[0]
	for round := 1; round <= 3; round++ {
		n.off = true
		w.run(20*time.Second, w.allBelieveDead(n))
		w.run(10 * time.Second)
		n.off = false
		w.start(n)
		w.tell(n)
		w.run(2 * time.Second)
		if got, want := n.engine.view.Suppressed, round >= maxDeaths; got != want {
			t.Errorf("after %d deaths it is suppressed: %v", round, got)
		}
	}
	w.run(deathMemory)
	if n.engine.view.Suppressed {
		t.Error("it is suppressed for longer than the deaths are remembered")
	}
}
