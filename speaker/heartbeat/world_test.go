package heartbeat

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// world is a cluster of engines on a network that exists in memory only. Time
// passes as fast as it can be computed.
type world struct {
	t       *testing.T
	now     time.Time
	rng     *rand.Rand
	timing  Timing
	nodes   []*node
	flights []flight
	// lost says whether a message is lost on its way.
	lost func(from, to *node) bool
}

type node struct {
	name     string
	addr     netip.Addr
	engine   *engine
	next     time.Time
	off      bool // has no power
	frozen   bool
	linkless bool      // its own link is down: its paths have no link
	inbox    []message // what has come while it was frozen
	// members are the nodes that the engine gets as members that are not lost; nil for all.
	members []string
	// deaths are the members that it has detected as dead, in the order of time.
	deaths []string
}

type flight struct {
	at time.Time
	to *node
	m  message
}

const latency = 200 * time.Microsecond

func newWorld(t *testing.T, n int, timing Timing) *world {
	w := &world{t: t, now: time.Unix(1_000_000_000, 0), rng: rand.New(rand.NewPCG(7, uint64(n))), timing: timing, lost: func(_, _ *node) bool { return false }}
	for i := range n {
		w.nodes = append(w.nodes, &node{name: fmt.Sprint("node", i+1), addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i + 1)})})
	}
	for _, node := range w.nodes {
		w.now = w.now.Add(time.Duration(w.rng.Int64N(int64(timing.Interval)))) // they do not send at the same time
		node.engine = newEngine(node.name, timing, w.now)
		w.tell(node)
	}
	w.run(2 * time.Second)
	for _, node := range w.nodes {
		if v := node.engine.view; !v.Ready || v.Fenced != "" || len(v.Dead) > 0 {
			t.Fatalf("%s after the start: %+v", node.name, v)
		}
	}
	return w
}

// tell gives an engine its members.
func (w *world) tell(n *node) {
	var members []Member
	for _, other := range w.nodes {
		if other == n {
			continue
		}
		m := Member{Name: other.name, Lost: n.members != nil && !slices.Contains(n.members, other.name)}
		m.Paths = []Path{{Link: "eth0", Local: n.addr, Remote: other.addr}}
		if n.linkless {
			m.Paths[0].Link = ""
		}
		members = append(members, m)
	}
	n.engine.set(w.now, members)
	n.next = w.now
}

// run lets time pass, until a condition holds if there is one.
func (w *world) run(d time.Duration, until ...func() bool) (took time.Duration) {
	start := w.now
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = end
		for _, n := range w.nodes {
			if !n.off && !n.frozen && n.next.Before(w.now) {
				w.now = n.next
			}
		}
		if len(w.flights) > 0 && w.flights[0].at.Before(w.now) {
			w.now = w.flights[0].at
		}
		for len(w.flights) > 0 && !w.flights[0].at.After(w.now) {
			f := w.flights[0]
			w.flights = w.flights[1:]
			switch {
			case f.to.off:
			case f.to.frozen:
				f.to.inbox = append(f.to.inbox, f.m)
			default:
				f.to.engine.receive(w.now, f.m)
				w.after(f.to)
			}
		}
		for _, n := range w.nodes {
			if !n.off && !n.frozen && !n.next.After(w.now) {
				w.after(n)
			}
		}
		if len(until) > 0 && until[0]() {
			break
		}
	}
	return w.now.Sub(start)
}

func (w *world) after(n *node) {
	n.next = n.engine.step(w.now)
	for _, p := range n.engine.out {
		to := w.nodes[slices.IndexFunc(w.nodes, func(o *node) bool { return o.addr == p.path.Remote })]
		if !w.lost(n, to) {
			w.flights = append(w.flights, flight{w.now.Add(latency), to, p.message})
		}
	}
	n.engine.out = nil
	for name := range n.engine.view.Dead {
		if len(n.deaths) == 0 || n.deaths[len(n.deaths)-1] != name {
			n.deaths = append(n.deaths, name)
		}
	}
}

// thaw lets a frozen node run again. It receives everything that was sent to it during
// the freeze.
func (w *world) thaw(n *node) {
	n.frozen = false
	for _, m := range n.inbox {
		n.engine.receive(w.now, m)
	}
	n.inbox = nil
	n.next = w.now
}

func (n *node) believesDead(other *node) bool { return len(n.engine.view.Dead[other.name]) > 0 }

func (w *world) allBelieveDead(dead *node) func() bool {
	return func() bool {
		return !slices.ContainsFunc(w.nodes, func(n *node) bool { return n != dead && !n.off && !n.frozen && !n.believesDead(dead) })
	}
}

func (w *world) noneBelievedDead() bool {
	return !slices.ContainsFunc(w.nodes, func(n *node) bool { return len(n.engine.view.Dead) > 0 || n.engine.view.Fenced != "" })
}
