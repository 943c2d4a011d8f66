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
	t      testing.TB
	now    time.Time
	rng    *rand.Rand
	timing Timing
	links  int
	nodes  []*node
	byAddr map[netip.Addr]*node
	// flights are the messages that are on their way, answers the answers of kernels.
	flights, answers []flight
	// lost says whether a frame is lost on its way.
	lost func(from, to *node) bool
	// cut says whether frames on a link are lost on their way; nil for never.
	cut func(from, to *node, link int) bool
	// firewall says whether messages are lost on their way, but no probes; nil for never.
	firewall func(from, to *node, link int) bool
	// mute is set if no kernel answers probes.
	mute bool
}

type node struct {
	name     string
	addrs    []netip.Addr // one for each link
	engine   *engine
	next     time.Time
	off      bool // has no power
	frozen   bool // the process does not run, the kernel does
	stopped  bool // the whole machine does not run
	linkless bool // its own link is down: its paths have no link
	started  time.Time
	inbox    []flight // what has come while it was frozen
	answers  []flight // the kernels' answers that the process has not read
	// members are the nodes that the engine gets as members that are not lost; nil for all.
	members []string
	// deaths are the members that it has believed dead.
	deaths []string
	// manual is set if the test itself says that the node has forgotten what it announced.
	manual bool
}

type flight struct {
	at   time.Time
	to   *node
	m    message
	path Path
}

const latency = 200 * time.Microsecond

func newNode(i, links int) *node {
	n := &node{name: fmt.Sprint("node", i+1)}
	for link := range links {
		n.addrs = append(n.addrs, netip.AddrFrom4([4]byte{10, byte(link), byte(i >> 8), byte(i + 1)}))
	}
	return n
}

// newIdleWorld returns a world whose engines do not know each other yet.
func newIdleWorld(t testing.TB, n, links int, timing Timing, seed uint64) *world {
	w := &world{t: t, now: time.Unix(1_000_000_000, 0), rng: rand.New(rand.NewPCG(seed, uint64(n))), timing: timing, links: links, byAddr: map[netip.Addr]*node{}, lost: func(_, _ *node) bool { return false }}
	for i := range n {
		node := newNode(i, links)
		for _, addr := range node.addrs {
			w.byAddr[addr] = node
		}
		w.nodes = append(w.nodes, node)
		w.now = w.now.Add(time.Duration(w.rng.Int64N(int64(timing.Interval)))) // they do not send at the same time
		w.start(node)
	}
	return w
}

// start starts a speaker.
func (w *world) start(n *node) {
	n.engine, n.inbox, n.answers, n.next, n.started = newEngine(n.name, w.timing, w.now), nil, nil, w.now, w.now
}

func newWorld(t testing.TB, n int, timing Timing) *world { return newLinkedWorld(t, n, 1, timing) }

func newLinkedWorld(t testing.TB, n, links int, timing Timing) *world {
	return newSeededWorld(t, n, links, timing, 7)
}

func newSeededWorld(t testing.TB, n, links int, timing Timing, seed uint64) *world {
	w := newIdleWorld(t, n, links, timing, seed)
	for _, node := range w.nodes {
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
	n.engine.set(w.now, w.without(n, n))
	n.next = w.now
}

// without returns the members of a node, without one that has left.
func (w *world) without(n, left *node) (members []Member) {
	for _, other := range w.nodes {
		if other == n || other == left {
			continue
		}
		m := Member{Name: other.name, Lost: n.members != nil && !slices.Contains(n.members, other.name)}
		for link := range w.links {
			p := Path{Link: fmt.Sprint("eth", link), Local: n.addrs[link], Remote: other.addrs[link], MAC: [6]byte{2, 0, 0, 0, byte(link), 1}}
			if n.linkless {
				p.Link, p.MAC = "", [6]byte{}
			}
			m.Paths = append(m.Paths, p)
		}
		members = append(members, m)
	}
	return members
}

// runs reports whether the node's process runs.
func (n *node) runs() bool { return !n.off && !n.frozen && !n.stopped }

// run lets time pass, until a condition holds if there is one.
func (w *world) run(d time.Duration, until ...func() bool) (took time.Duration) {
	start := w.now
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = end
		for _, n := range w.nodes {
			if n.runs() && n.next.Before(w.now) {
				w.now = n.next
			}
		}
		if len(w.flights) > 0 && w.flights[0].at.Before(w.now) {
			w.now = w.flights[0].at
		}
		w.answer()
		w.arrive()
		for _, n := range w.nodes {
			if n.runs() && !n.next.After(w.now) {
				w.after(n)
			}
		}
		if len(until) > 0 && until[0]() {
			break
		}
	}
	return w.now.Sub(start)
}

// answer keeps the answers of kernels that have been on their way for long enough. The process reads
// them when it does something else.
func (w *world) answer() {
	for len(w.answers) > 0 && !w.answers[0].at.After(w.now) {
		if f := w.answers[0]; !f.to.off && !f.to.stopped {
			f.to.answers = append(f.to.answers, f)
		}
		w.answers = w.answers[1:]
	}
}

// arrive delivers messages that have been on their way for long enough.
func (w *world) arrive() {
	for len(w.flights) > 0 && !w.flights[0].at.After(w.now) {
		f := w.flights[0]
		w.flights = w.flights[1:]
		switch {
		case f.to.off, f.to.stopped:
		case f.to.frozen:
			f.to.inbox = append(f.to.inbox, f)
		default:
			f.to.engine.receive(w.now, f.m)
			w.after(f.to)
		}
	}
}

func (w *world) after(n *node) {
	n.engine.noticeSleep(w.now) // as Heartbeat.drain does
	for _, f := range n.answers {
		n.engine.answered(f.at, f.path)
	}
	n.answers = nil
	n.next = n.engine.step(w.now)
	for _, p := range n.engine.out {
		to := w.byAddr[p.path.Remote]
		if !w.drops(n, to, p.path) && !(w.firewall != nil && w.firewall(n, to, int(p.path.Local.As4()[1]))) {
			m := p.message
			m.suspicions = m.suspicions[:min(maxSuspicions, len(m.suspicions))] // as in seal
			w.flights = append(w.flights, flight{at: w.now.Add(latency), to: to, m: m})
		}
	}
	for _, p := range n.engine.probes {
		to := w.byAddr[p.Remote]
		if !to.off && !to.stopped && !w.mute && !w.drops(n, to, p) && !w.drops(to, n, p) {
			w.answers = append(w.answers, flight{at: w.now.Add(2 * latency), to: n, path: p})
		}
	}
	n.engine.out, n.engine.probes = nil, nil
	for name := range n.engine.view.Dead {
		if !slices.Contains(n.deaths, name) {
			n.deaths = append(n.deaths, name)
		}
	}
	if !n.manual {
		n.engine.resume(n.engine.view.Deaths)
	}
}

func (w *world) drops(from, to *node, p Path) bool {
	link := int(p.Local.As4()[1])
	return w.lost(from, to) || w.cut != nil && w.cut(from, to, link)
}

// thaw lets a frozen node run again. It receives everything that was sent to it during
// the freeze.
func (w *world) thaw(n *node) {
	n.frozen = false
	for _, f := range n.inbox {
		n.engine.receive(w.now, f.m)
	}
	for i := range n.answers {
		n.answers[i].at = w.now // the process reads them now
	}
	n.inbox = nil
	n.next = w.now
}

func (n *node) believesDead(other *node) bool { return len(n.engine.view.Dead[other.name]) > 0 }

func (w *world) allBelieveDead(dead *node) func() bool {
	return func() bool {
		return !slices.ContainsFunc(w.nodes, func(n *node) bool { return n != dead && n.runs() && !n.believesDead(dead) })
	}
}

func (w *world) noneBelievedDead() bool {
	return !slices.ContainsFunc(w.nodes, func(n *node) bool { return len(n.engine.view.Dead) > 0 || n.engine.view.Fenced != "" })
}
