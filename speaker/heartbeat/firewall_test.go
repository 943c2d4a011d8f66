package heartbeat

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// A firewall lets heartbeats pass between two of the nodes only.
func TestFirewallFencesNoSurvivor(t *testing.T) {
	w := newIdleWorld(t, 4, 1, defaultTiming, 1)
	survivor, dead := w.nodes[0], w.nodes[2]
	w.mute = true
	w.lost = func(from, to *node) bool {
		return !(from == survivor && to == dead || from == dead && to == survivor)
	}
	for _, n := range w.nodes {
		w.tell(n)
	}
	w.run(3 * time.Second)
	dead.off = true
	w.run(time.Second)
	survivor.members = []string{w.nodes[1].name, w.nodes[3].name} // as the member list finds soon
	w.tell(survivor)
	w.run(time.Second)
	if v := survivor.engine.view; v.Fenced != "" {
		t.Errorf("%+v", v)
	}
}

// The kernels answer all the time.
func TestFirewallMakesNoTwoOwners(t *testing.T) {
	for _, direction := range []string{"ingress", "egress", "both"} {
		for _, n := range []int{3, 5, 10} {
			t.Run(fmt.Sprint(direction, "/", n), func(t *testing.T) {
				w := newWorld(t, n, defaultTiming)
				cut := w.nodes[0]
				w.firewall = func(from, to *node, _ int) bool {
					return direction != "egress" && to == cut || direction != "ingress" && from == cut
				}
				w.run(2*time.Second, w.allBelieveDead(cut))
				if both := w.run(2*time.Second, func() bool { return cut.engine.view.Fenced != "" }); both > 50*time.Millisecond {
					t.Errorf("fenced %v after the others believe it dead", both)
				}
				w.run(5 * time.Second)
				if v := cut.engine.view; v.Fenced == "" || len(cut.deaths) > 0 {
					t.Errorf("%+v, deaths %v", v, cut.deaths)
				}
				for _, other := range w.nodes[1:] {
					if v := other.engine.view; !slices.Equal(other.deaths, []string{cut.name}) || v.Fenced != "" || len(v.KernelDead) > 0 {
						t.Errorf("%s: %+v, deaths %v", other.name, v, other.deaths)
					}
				}
				w.firewall = nil
				if took := w.run(2*time.Second, w.noneBelievedDead); took > 500*time.Millisecond {
					t.Errorf("well again after %v", took)
				}
			})
		}
	}
}

// A firewall begins to drop heartbeats in one direction between two of three nodes. The speaker of the
// third one crashes before that is found.
func TestFirewallBetweenTheLastTwoSpeakersMakesNoTwoOwners(t *testing.T) {
	for _, direction := range []string{"ingress", "egress", "egress, with loss"} {
		w := newWorld(t, 3, defaultTiming)
		cut, other, crashed := w.nodes[0], w.nodes[1], w.nodes[2]
		w.firewall = func(from, to *node, _ int) bool {
			return direction == "ingress" && to == cut || direction != "ingress" && from == cut
		}
		w.run(300 * time.Millisecond)
		crashed.frozen = true
		for _, n := range []*node{cut, other} {
			n.engine.crashed(w.now, crashed.name)
			w.after(n)
		}
		w.run(defaultTiming.SlowDetection() + 100*time.Millisecond)
		if direction == "egress, with loss" {
			w.lost = func(_, _ *node) bool { return w.rng.Float64() < 0.3 }
		}
		for range 500 {
			w.run(10 * time.Millisecond)
			fenced := []bool{cut.engine.view.Fenced != "", other.engine.view.Fenced != ""}
			agree := !cut.believesDead(other) && !other.believesDead(cut) // so they elect the same node
			if fenced[0] && fenced[1] || !fenced[0] && !fenced[1] && !agree {
				t.Fatalf("%s: %+v, %+v", direction, cut.engine.view, other.engine.view)
			}
		}
		if n := cut.engine.view.Deaths + other.engine.view.Deaths; n > 1 {
			t.Errorf("%s: they have died %d times together", direction, n)
		}
	}
}

func TestFirewallOnAllNodesFencesAll(t *testing.T) {
	w := newWorld(t, 4, defaultTiming)
	w.firewall = func(_, _ *node, _ int) bool { return true }
	w.run(5 * time.Second)
	for _, n := range w.nodes {
		if v := n.engine.view; v.Fenced == "" || len(v.Dead) > 0 {
			t.Errorf("%s: %+v", n.name, v)
		}
	}
}

// The speakers have another version, or a firewall drops all heartbeats from the start.
func TestHeartbeatsThatWereNeverHeardFenceNoSpeaker(t *testing.T) {
	w := newIdleWorld(t, 4, 1, defaultTiming, 1)
	w.firewall = func(_, _ *node, _ int) bool { return true }
	for _, n := range w.nodes {
		w.tell(n)
	}
	w.run(10 * time.Second)
	w.nodes[3].off = true
	w.run(10 * time.Second)
	for _, n := range w.nodes[:3] {
		if v := n.engine.view; !v.Ready || v.Fenced != "" || len(v.FencedLinks) > 0 || len(v.Dead) > 0 || n.engine.lease().IsZero() {
			t.Errorf("%s: %+v", n.name, v)
		}
	}
}

// No heartbeat of a speaker and none to it ever arrives, and it is frozen. No member can tell it whether it was
// replaced. With its kernel it was dead to the others, until they have not missed it for mourning.
func TestFreezeEndsIfHeartbeatsWereNeverHeard(t *testing.T) {
	for _, withKernel := range []bool{false, true} {
		w := newIdleWorld(t, 4, 1, defaultTiming, 1)
		frozen := w.nodes[0]
		w.firewall = func(from, to *node, _ int) bool { return from == frozen || to == frozen }
		for _, n := range w.nodes {
			w.tell(n)
		}
		w.run(10 * time.Second)
		frozen.frozen, frozen.stopped = !withKernel, withKernel
		w.run(2 * time.Second)
		if w.nodes[1].believesDead(frozen) != withKernel {
			t.Fatalf("with its kernel %v: %+v", withKernel, w.nodes[1].engine.view)
		}
		frozen.stopped = false
		w.thaw(frozen)
		for range int((mourning + 2*time.Second) / (10 * time.Millisecond)) {
			w.run(10 * time.Millisecond)
			if frozen.engine.lease().After(w.now) && w.nodes[1].believesDead(frozen) {
				t.Fatalf("it answers although the others believe it dead: %+v", w.nodes[1].engine.view)
			}
		}
		if !frozen.engine.lease().After(w.now) || !w.noneBelievedDead() {
			t.Errorf("with its kernel %v: it does not answer again: %+v", withKernel, frozen.engine.view)
		}
	}
}

// The heartbeats of a node never arrive, and it is rebooted. When the lists have it again, it lives: it cannot
// learn that it was dead, and announces.
func TestRebootedNodeThatWasNeverHeardLivesAtOnce(t *testing.T) {
	w := newIdleWorld(t, 4, 1, defaultTiming, 1)
	rebooted := w.nodes[0]
	w.firewall = func(from, to *node, _ int) bool { return from == rebooted || to == rebooted }
	for _, n := range w.nodes {
		w.tell(n)
	}
	w.run(5 * time.Second)
	rebooted.off = true
	if took := w.run(time.Second, w.allBelieveDead(rebooted)); took >= time.Second {
		t.Fatal("not detected")
	}
	w.loseEachOther(rebooted)
	w.run(time.Minute)
	rebooted.off = false
	w.start(rebooted)
	w.tell(rebooted)
	for _, n := range w.nodes {
		n.members = nil
		w.tell(n)
	}
	w.run(readyPatience, func() bool { return rebooted.engine.view.Ready })
	if !w.noneBelievedDead() {
		t.Errorf("%+v", w.nodes[1].engine.view)
	}
}

// Speakers are replaced one after the other by a version that does not understand the old one.
func TestRollingUpgradeFencesNoSpeaker(t *testing.T) {
	w := newIdleWorld(t, 4, 1, defaultTiming, 1)
	upgraded := map[*node]bool{}
	w.firewall = func(from, to *node, _ int) bool { return upgraded[from] != upgraded[to] }
	for _, n := range w.nodes {
		w.tell(n)
	}
	w.run(3 * time.Second)
	for _, n := range w.nodes {
		for _, other := range w.nodes { // it leaves with a goodbye
			if other != n {
				other.engine.set(w.now, w.without(other, n))
			}
		}
		n.off = true
		w.run(2 * time.Second)
		n.off, upgraded[n] = false, true
		w.start(n)
		for _, other := range w.nodes {
			w.tell(other)
		}
		for range 30 {
			w.run(100 * time.Millisecond)
			for _, other := range w.nodes {
				if v := other.engine.view; v.Fenced != "" || len(v.Dead) > 0 {
					t.Fatalf("after the upgrade of %s, %s: %+v", n.name, other.name, v)
				}
			}
		}
	}
}

// The kernel of a crashed process answers, but a speaker that no process hears is replaced.
func TestFirewallMakesNoTwoOwnersBesideACrash(t *testing.T) {
	for _, direction := range []string{"ingress", "egress", "both"} {
		w := newWorld(t, 5, defaultTiming)
		cut, crashed := w.nodes[0], w.nodes[4]
		w.firewall = func(from, to *node, _ int) bool {
			return direction != "egress" && to == cut || direction != "ingress" && from == cut
		}
		w.run(300 * time.Millisecond)
		crashed.frozen = true // its kernel answers
		for _, n := range w.nodes[:4] {
			n.engine.crashed(w.now, crashed.name)
		}
		took := w.run(5*time.Second, func() bool { return w.nodes[1].believesDead(cut) && cut.engine.view.Fenced != "" })
		if took > 1500*time.Millisecond {
			t.Errorf("%s: after %v the others believe that it is dead: %v, and it is fenced: %q", direction, took, w.nodes[1].believesDead(cut), cut.engine.view.Fenced)
		}
	}
}

// A process is frozen, and the others have ended: the last speaker cannot be the one that is cut off.
func TestFreezeBesideACrashFencesNoSurvivor(t *testing.T) {
	for _, n := range []int{3, 4} {
		w := newWorld(t, n, defaultTiming)
		for _, gone := range w.nodes[1:] {
			gone.frozen = true
		}
		for _, crashed := range w.nodes[2:] {
			w.nodes[0].engine.crashed(w.now, crashed.name)
		}
		w.run(5 * time.Second)
		if v := w.nodes[0].engine.view; v.Fenced != "" || len(v.FencedLinks) > 0 {
			t.Errorf("of %d: %+v", n, v)
		}
	}
}
