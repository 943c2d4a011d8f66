package heartbeat

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// A firewall drops the heartbeats of a node on one of two links.
func TestFirewallOnOneLinkMovesNothing(t *testing.T) {
	for _, direction := range []string{"ingress", "egress", "both"} {
		for _, n := range []int{2, 3, 5} {
			t.Run(fmt.Sprint(direction, "/", n), func(t *testing.T) {
				w := newLinkedWorld(t, n, 2, defaultTiming)
				cut := w.nodes[0]
				w.firewall = func(from, to *node, link int) bool {
					return link == 0 && (direction != "egress" && to == cut || direction != "ingress" && from == cut)
				}
				w.run(5 * time.Second)
				for _, n := range w.nodes {
					if v := n.engine.view; len(n.deaths) > 0 || len(v.FencedLinks) > 0 || v.Fenced != "" || v.Deaths+v.LinkDeaths > 0 {
						t.Errorf("%s: deaths %v, %+v", n.name, n.deaths, v)
					}
				}
				if n == 2 {
					return // none of two nodes can tell whose link is broken
				}
				// Then the link is broken. When it is whole again, but the firewall is still there, the
				// nodes still agree.
				w.cut = func(from, to *node, link int) bool { return link == 0 && (from == cut || to == cut) }
				isDead := func(other *node) bool { return slices.Contains(other.engine.view.Dead[cut.name], cut.addrs[0]) }
				moved := func() bool {
					return !slices.ContainsFunc(w.nodes[1:], func(n *node) bool { return !isDead(n) }) && cut.engine.view.FencedLinks["eth0"]
				}
				if took := w.run(time.Second, moved); took > 150*time.Millisecond {
					t.Errorf("the broken link is found after %v", took)
				}
				w.run(time.Second)
				w.cut = nil
				w.run(5 * time.Second)
				if !moved() {
					t.Errorf("after the repair: fenced %v, dead %v", cut.engine.view.FencedLinks, w.nodes[1].engine.view.Dead)
				}
				w.firewall = nil
				well := func() bool { return w.noneBelievedDead() && len(cut.engine.view.FencedLinks) == 0 }
				if took := w.run(2*time.Second, well); took > 500*time.Millisecond {
					t.Errorf("well again after %v", took)
				}
			})
		}
	}
}

func TestFirewallOnOneLinkHidesNoFrozenProcess(t *testing.T) {
	w := newLinkedWorld(t, 3, 2, defaultTiming)
	frozen := w.nodes[0]
	w.firewall = func(from, to *node, link int) bool { return link == 0 && (from == frozen || to == frozen) }
	w.run(5 * time.Second)
	frozen.frozen = true
	everywhere := func() bool {
		return len(w.nodes[1].engine.view.Dead[frozen.name]) == 2 && len(w.nodes[2].engine.view.Dead[frozen.name]) == 2
	}
	if took := w.run(5*time.Second, everywhere); took > defaultTiming.SlowDetection() {
		t.Errorf("it is dead on both links after %v", took)
	}
}

// The member list has lost the node, but its heartbeats are heard on the other link.
func TestFirewallOnOneLinkMovesNothingOfALostMember(t *testing.T) {
	w := newLinkedWorld(t, 3, 2, defaultTiming)
	lost := w.nodes[0]
	w.firewall = func(from, to *node, link int) bool { return link == 0 && (from == lost || to == lost) }
	w.run(5 * time.Second)
	w.nodes[1].members = []string{w.nodes[2].name}
	w.tell(w.nodes[1])
	w.run(5 * time.Second)
	if v := w.nodes[1].engine.view; !slices.Equal(v.Returned, []string{lost.name}) || len(v.Dead) > 0 {
		t.Errorf("%+v", v)
	}
	if v := lost.engine.view; len(v.FencedLinks) > 0 {
		t.Errorf("%+v", v)
	}
}
