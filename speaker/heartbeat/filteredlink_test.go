package heartbeat

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// A firewall drops the heartbeats of a node on one of two links. Its kernel answers there.
func TestFirewallOnOneLinkMakesNoTwoOwners(t *testing.T) {
	for _, direction := range []string{"ingress", "egress", "both"} {
		for _, n := range []int{2, 3, 5} {
			t.Run(fmt.Sprint(direction, "/", n), func(t *testing.T) {
				w := newLinkedWorld(t, n, 2, defaultTiming)
				cut := w.nodes[0]
				w.firewall = func(from, to *node, link int) bool {
					return link == 0 && (direction != "egress" && to == cut || direction != "ingress" && from == cut)
				}
				w.run(5 * time.Second)
				if fenced := cut.engine.view.FencedLinks["eth0"]; fenced != (n > 2) || cut.engine.view.Fenced != "" || len(cut.deaths) > 0 {
					t.Errorf("%+v, deaths %v", cut.engine.view, cut.deaths)
				}
				for _, other := range w.nodes[1:] {
					isDead := slices.Equal(other.engine.view.Dead[cut.name], cut.addrs[:1])
					if v := other.engine.view; isDead != (n > 2) || len(v.FencedLinks) > 0 || len(v.KernelDead) > 0 {
						t.Errorf("%s: %+v", other.name, v)
					}
				}
			})
		}
	}
}

// The node cannot hear that a member is lost which the others still hear.
func TestFirewallOnOneLinkBesideABrokenLinkFencesTheLink(t *testing.T) {
	w := newLinkedWorld(t, 4, 2, defaultTiming)
	broken, filtered := w.nodes[0], w.nodes[3]
	w.cut = func(from, to *node, link int) bool { return link == 0 && (from == broken || to == broken) }
	w.run(300 * time.Millisecond)
	w.firewall = func(from, to *node, link int) bool { return link == 1 && (from == filtered || to == filtered) }
	w.run(1500 * time.Millisecond)
	if v := filtered.engine.view; !v.FencedLinks["eth1"] || v.Fenced != "" {
		t.Errorf("%+v", v)
	}
}

func TestFirewallOnOneLinkHidesNoFrozenProcess(t *testing.T) {
	w := newLinkedWorld(t, 2, 2, defaultTiming)
	frozen, other := w.nodes[0], w.nodes[1]
	w.firewall = func(_, _ *node, link int) bool { return link == 0 }
	w.run(5 * time.Second)
	frozen.frozen = true
	other.engine.witness(w.now, w.now.Add(5*time.Second))
	took := w.run(5*time.Second, func() bool { return len(other.engine.view.Dead[frozen.name]) == 2 })
	if took > defaultTiming.SlowDetection() {
		t.Errorf("it is dead on both links after %v", took)
	}
}

func TestFirewallOnOneLinkMakesNoTwoOwnersIfTheListIsLate(t *testing.T) {
	w := newLinkedWorld(t, 2, 2, defaultTiming)
	self, lost := w.nodes[0], w.nodes[1]
	self.members = []string{}
	w.tell(self)
	w.run(time.Second)
	w.firewall = func(_, to *node, link int) bool { return link == 0 && to == self }
	w.run(5 * time.Second)
	if v := self.engine.view; !slices.Equal(v.Returned, []string{lost.name}) || len(v.Dead) > 0 {
		t.Errorf("%+v", v)
	}
	if v := lost.engine.view; len(v.Dead) > 0 || len(v.FencedLinks) > 0 {
		t.Errorf("%+v", v)
	}
}

// A second link is shared by four of twelve nodes, of which one is no neighbour of a fenced one. The two
// neighbours give the link up while a fault lasts. The other node is heard on it when the fault is over.
func TestFencedLinkWorksAgainByAMemberThatIsNoNeighbour(t *testing.T) {
	w := newIdleWorld(t, 12, 2, defaultTiming, 1)
	fenced := w.nodes[0]
	names := map[string]*node{}
	for _, n := range w.nodes {
		names[n.name] = n
	}
	tell := func(share []*node) {
		for _, n := range w.nodes {
			members := w.without(n, n)
			for i, m := range members {
				if !slices.Contains(share, n) || !slices.Contains(share, names[m.Name]) {
					members[i].Paths = m.Paths[:1]
				}
			}
			n.engine.set(w.now, members)
			n.next = w.now
		}
	}
	tell(nil)
	near := w.neighboursOf(fenced)[:2]
	far := w.nodes[slices.IndexFunc(w.nodes, func(n *node) bool { return n != fenced && !fenced.engine.ring.neighbours(n.name, fenced.name) })]
	tell([]*node{fenced, near[0], near[1], far})
	w.run(2 * time.Second)
	w.cut = func(from, to *node, link int) bool { return link == 1 && (from == fenced || to == fenced) }
	w.run(2 * time.Second)
	if v := fenced.engine.view; !v.FencedLinks["eth1"] {
		t.Fatalf("%+v", v)
	}
	tell([]*node{fenced, far})
	w.run(2 * time.Second)
	if v := fenced.engine.view; !v.FencedLinks["eth1"] {
		t.Fatalf("it is cut off, but not fenced: %+v", v)
	}
	w.cut = nil
	if took := w.run(time.Second, func() bool { return !fenced.engine.view.FencedLinks["eth1"] }); took > 2*defaultTiming.Interval {
		t.Errorf("the link is used again after %v", took)
	}
	w.run(5*time.Second, func() bool {
		if v := fenced.engine.view; v.FencedLinks["eth1"] {
			t.Fatalf("it is fenced again: %+v", v)
		}
		return false
	})
}
