package heartbeat

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

var seeds = flag.Int("seeds", 60, "number of random scenarios of TestRandomFaultsBreakNoPromise")
var firstSeed = flag.Uint64("seed", 1, "seed of the first of them")

// The promises that random faults must not break.
const (
	maxTwoOwners = 300 * time.Millisecond // of one link that reach each other
	maxNoOwner   = 400 * time.Millisecond // of a link on which a majority is connected
	maxHealing   = time.Second            // until all agree
)

// scenario is a cluster with random faults. The speakers do what package reconcile does with a
// View: they tell the others what they are, they elect an owner for each link, and they stand
// back after they were dead.
type scenario struct {
	*world
	seed   uint64
	lists  int // 0: static, 1: realistic, 2: late
	pilots []*pilot
	faults []fault
	loss   float64
	steps  []string
	// since when a promise does not hold, by link and kind
	twoSince, noneSince []time.Time
	worstTwo, worstNone time.Duration
	failures            []string
	listed              time.Time // when the member lists were last updated
}

// fault is something that happens to the network.
type fault struct {
	text string
	cut  func(from, to *node, link int) bool
}

// pilot is what surrounds the engine of a node.
type pilot struct {
	*node
	passAt      time.Time // when the next pass is; zero for none
	passed      time.Time
	seen        int
	resumed     int
	standBack   time.Time // until then others are preferred
	wasBack     bool
	tail        time.Time
	says        byte
	version     uint64
	owns        []bool // by link
	died        int    // faults that hit this node
	frozenAt    time.Time
	believes    map[string][]netip.Addr
	listLag     map[*node]time.Time
	listWants   map[*node]bool
	lostMembers map[*node]bool
}

const (
	saysFenced = 1 << iota
	saysSuppressed
)

func newScenario(t testing.TB, seed uint64) *scenario {
	rng := rand.New(rand.NewPCG(seed, 99))
	n, links := 2+rng.IntN(11), 1+rng.IntN(2)
	s := &scenario{world: newIdleWorld(t, n, links, defaultTiming, seed), seed: seed, lists: rng.IntN(3)}
	s.twoSince, s.noneSince = make([]time.Time, links), make([]time.Time, links)
	for _, n := range s.nodes {
		n.manual, n.members = true, []string{}
		s.pilots = append(s.pilots, &pilot{node: n, owns: make([]bool, links), listLag: map[*node]time.Time{}, listWants: map[*node]bool{}, lostMembers: map[*node]bool{}})
	}
	s.cut = func(from, to *node, link int) bool {
		for _, f := range s.faults {
			if f.cut(from, to, link) {
				return true
			}
		}
		return s.loss > 0 && s.rng.Float64() < s.loss
	}
	for _, p := range s.pilots {
		s.tellList(p)
	}
	s.log("%d nodes, %d links, member lists %d", n, links, s.lists)
	return s
}

func (s *scenario) log(format string, args ...any) {
	s.steps = append(s.steps, fmt.Sprintf("%9.3f  ", s.now.Sub(time.Unix(1_000_000_000, 0)).Seconds())+fmt.Sprintf(format, args...))
}

// tellList gives an engine the present member list.
func (s *scenario) tellList(p *pilot) {
	p.members = []string{}
	for _, other := range s.nodes {
		if other != p.node && !p.lostMembers[other] {
			p.members = append(p.members, other.name)
		}
	}
	s.tell(p.node)
}

// reach reports whether frames go from one node to another on a link, loss aside.
func (s *scenario) reach(a, b *node, link int) bool {
	if a.off || b.off || a.stopped || b.stopped {
		return false
	}
	return !slices.ContainsFunc(s.faults, func(f fault) bool { return f.cut(a, b, link) })
}

func (s *scenario) bothReach(a, b *node, link int) bool {
	return s.reach(a, b, link) && s.reach(b, a, link)
}

// updateLists makes the member lists follow the network, which is the first link.
func (s *scenario) updateLists() {
	if s.lists == 0 {
		return
	}
	for _, p := range s.pilots {
		if !p.runs() {
			continue
		}
		for _, other := range s.nodes {
			if other == p.node {
				continue
			}
			want := other.off || other.frozen || other.stopped || !s.connected(p.node, other)
			if want != p.listWants[other] {
				p.listWants[other] = want
				lag := time.Second + time.Duration(s.rng.Int64N(int64(1500*time.Millisecond)))
				if !want {
					lag = time.Duration(s.rng.Int64N(int64(time.Second)))
				}
				if s.lists == 2 {
					lag = time.Duration(s.rng.Int64N(int64(10 * time.Second)))
				}
				p.listLag[other] = s.now.Add(lag)
			}
			if want != p.lostMembers[other] && !s.now.Before(p.listLag[other]) {
				p.lostMembers[other] = want
				s.tellList(p)
			}
		}
	}
}

// connected reports whether gossip goes from one node to another, over others if needed.
func (s *scenario) connected(a, b *node) bool {
	seen, queue := map[*node]bool{a: true}, []*node{a}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		for _, n := range s.nodes {
			if !seen[n] && n.runs() && s.bothReach(at, n, 0) {
				seen[n] = true
				queue = append(queue, n)
			}
		}
	}
	return seen[b]
}

// pass lets time pass in small steps and checks the promises.
func (s *scenario) pass(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.run(2 * time.Millisecond)
		if s.now.Sub(s.listed) >= 50*time.Millisecond {
			s.listed = s.now
			s.updateLists()
		}
		for _, p := range s.pilots {
			if p.runs() {
				s.steer(p)
			}
		}
		s.check()
	}
}

// steer does what the loop of a speaker does: it acts at once, and then waits for 50 ms.
func (s *scenario) steer(p *pilot) {
	v := p.engine.view
	changed := p.engine.views != p.seen ||
		!p.standBack.IsZero() && !s.now.Before(p.standBack) || !p.tail.IsZero() && !s.now.Before(p.tail)
	if !changed || s.now.Sub(p.passed) < 50*time.Millisecond {
		return
	}
	p.passed, p.seen = s.now, p.engine.views
	if v.Deaths != p.resumed {
		s.log("%s learns that it was dead", p.name)
	}
	for name, addrs := range v.Dead {
		if !slices.Equal(addrs, p.believes[name]) {
			s.log("%s believes %s dead at %v", p.name, name, addrs)
		}
	}
	for name := range p.believes {
		if len(v.Dead[name]) == 0 {
			s.log("%s believes %s alive", p.name, name)
		}
	}
	p.believes = v.Dead
	if v.Deaths != p.resumed && s.others(p, v) {
		p.standBack = s.now.Add(5 * time.Second)
	}
	if !p.standBack.IsZero() && !s.now.Before(p.standBack) {
		p.standBack, p.tail = time.Time{}, s.now.Add(100*time.Millisecond)
	}
	if !p.tail.IsZero() && !s.now.Before(p.tail) {
		p.tail = time.Time{}
	}
	says := byte(0)
	if v.Fenced != "" || !v.Ready {
		says |= saysFenced
	}
	if v.Suppressed || !p.standBack.IsZero() {
		says |= saysSuppressed
	}
	if says != p.says || p.version == 0 {
		p.says = says
		p.version = max(p.version+1, uint64(s.now.UnixNano()))
		p.engine.say(Profile{p.version, []byte{says}})
	}
	if v.Deaths != p.resumed {
		p.resumed = v.Deaths
		p.engine.resume(v.Deaths)
	}
	for link := range s.links {
		p.owns[link] = s.elects(p, v, link) == p.node
	}
	s.after(p.node)
}

// others reports whether another speaker is well.
func (s *scenario) others(p *pilot, v View) bool {
	return slices.ContainsFunc(s.nodes, func(o *node) bool {
		return o != p.node && len(v.Dead[o.name]) == 0 && says(v, o)&(saysFenced|saysSuppressed) == 0 && !p.lostMembers[o]
	})
}

func says(v View, n *node) byte {
	if b := v.Profiles[n.name].Bytes; len(b) > 0 {
		return b[0]
	}
	return saysFenced
}

// elects returns whom a node takes for the owner of a link's address.
func (s *scenario) elects(p *pilot, v View, link int) (owner *node) {
	best := ^uint64(0)
	for _, n := range s.nodes {
		rank := nodeID(fmt.Sprint(n.name, "/", link)) >> 1
		if n == p.node {
			if v.Fenced != "" || v.FencedLinks[fmt.Sprint("eth", link)] || !v.Ready {
				continue
			}
			if v.Suppressed || !p.standBack.IsZero() || !p.tail.IsZero() {
				rank |= 1 << 63
			}
		} else {
			if p.lostMembers[n] && !slices.Contains(v.Returned, n.name) || slices.Contains(v.Dead[n.name], n.addrs[link]) || says(v, n)&saysFenced != 0 {
				continue
			}
			if says(v, n)&saysSuppressed != 0 {
				rank |= 1 << 63
			}
		}
		if rank < best {
			best, owner = rank, n
		}
	}
	return owner
}

// answers reports whether a node answers for the address of a link.
func (s *scenario) mayAnswer(p *pilot, link int) bool {
	return p.runs() && p.owns[link] && p.engine.lease().After(s.now) && !p.engine.fencing.links[fmt.Sprint("eth", link)]
}

func (s *scenario) check() {
	for link := range s.links {
		var owners []*pilot
		for _, p := range s.pilots {
			if s.mayAnswer(p, link) {
				owners = append(owners, p)
			}
		}
		two := ""
		for i, a := range owners {
			for _, b := range owners[:i] {
				if s.bothReach(a.node, b.node, link) {
					two = a.name + " and " + b.name
				}
			}
		}
		s.watch(&s.twoSince[link], &s.worstTwo, two != "", maxTwoOwners, fmt.Sprintf("eth%d has two owners: %s", link, two))
		// A frozen process may be the owner. Its kernel serves the clients that know the address.
		none := s.majority(link) && len(owners) == 0 && !slices.ContainsFunc(s.pilots, func(p *pilot) bool {
			return p.frozen && s.now.Sub(p.frozenAt) < s.timing.SlowDetection()
		})
		s.watch(&s.noneSince[link], &s.worstNone, none, maxNoOwner, fmt.Sprintf("eth%d has no owner", link))
	}
}

func (s *scenario) watch(since *time.Time, worst *time.Duration, broken bool, limit time.Duration, text string) {
	if !broken {
		*since = time.Time{}
		return
	}
	if since.IsZero() {
		*since = s.now
	}
	lasts := s.now.Sub(*since)
	*worst = max(*worst, lasts)
	if lasts >= limit && lasts < limit+2*time.Millisecond {
		s.fail("%s for %v", text, lasts)
	}
}

// majority reports whether more than half of the nodes run and all reach each other on a link,
// for long enough to have noticed that.
func (s *scenario) majority(link int) bool {
	for _, a := range s.nodes {
		var with []*node
		for _, b := range s.nodes {
			if b.runs() && s.now.Sub(b.started) > 4*time.Second && (a == b || s.bothReach(a, b, link)) {
				with = append(with, b)
			}
		}
		if len(with)*2 <= len(s.nodes) {
			continue
		}
		full := true
		for _, b := range with {
			for _, c := range with {
				full = full && (b == c || s.bothReach(b, c, link))
			}
		}
		if full {
			return true
		}
	}
	return false
}

func (s *scenario) fail(format string, args ...any) {
	s.log("BROKEN: "+format, args...)
	s.failures = append(s.failures, fmt.Sprintf(format, args...))
	if len(s.failures) > 1 {
		return
	}
	for _, p := range s.pilots {
		v := p.engine.view
		s.log("  %s: owns %v, says %d, stands back until %v, may answer until %v, dead %v, returned %v, fenced %q %v, deaths %d, runs %v", p.name, p.owns, p.says,
			p.standBack.Sub(s.now), p.engine.lease().Sub(s.now), v.Dead, v.Returned, v.Fenced, v.FencedLinks, v.Deaths, p.runs())
	}
}

// play runs the scenario: the start, one to three phases of faults, and the end, at which all
// is healed.
func (s *scenario) play() {
	s.pass(5 * time.Second)
	for range 1 + s.rng.IntN(3) {
		for range 1 + s.rng.IntN(2) {
			s.strike()
			s.pass(time.Duration(s.rng.Int64N(int64(300 * time.Millisecond))))
		}
		s.pass(time.Duration(s.rng.Int64N(int64(8 * time.Second))))
		s.heal()
		s.pass(time.Duration(s.rng.Int64N(int64(6 * time.Second))))
	}
	if s.lists > 0 { // until the lists are right
		s.pass(12 * time.Second)
	}
	s.pass(6*time.Second + maxHealing)
	s.checkEnd()
}

// strike makes a random fault.
func (s *scenario) strike() {
	victim := s.pilots[s.rng.IntN(len(s.pilots))]
	link := s.rng.IntN(s.links)
	if !victim.runs() {
		return
	}
	if len(s.pilots) == 2 { // nobody can tell which of two nodes a fault of their link has hit
		s.pilots[0].died++
		s.pilots[1].died++
	}
	switch s.rng.IntN(9) {
	case 0:
		s.log("%s loses its power", victim.name)
		victim.off = true
		victim.died++
	case 1:
		s.log("%s crashes", victim.name)
		s.crash(victim)
	case 2:
		s.log("%s's process is frozen", victim.name)
		victim.frozen, victim.frozenAt = true, s.now
		victim.died++
	case 3:
		s.log("%s's machine is stopped", victim.name)
		victim.stopped = true
		victim.died++
	case 4, 5:
		way := s.rng.IntN(3)
		s.log("%s is cut off on eth%d, %s", victim.name, link, []string{"ingress", "egress", "both ways"}[way])
		victim.died++
		s.faults = append(s.faults, fault{"", func(from, to *node, on int) bool {
			return on == link && (way != 1 && to == victim.node || way != 0 && from == victim.node)
		}})
	case 6:
		side := map[*node]bool{}
		var names []string
		for _, n := range s.nodes {
			if s.rng.IntN(2) == 0 {
				side[n] = true
				names = append(names, n.name)
			}
		}
		s.log("eth%d is parted: %s on one side", link, strings.Join(names, ", "))
		for _, p := range s.pilots {
			p.died++
		}
		s.faults = append(s.faults, fault{"", func(from, to *node, on int) bool { return on == link && side[from] != side[to] }})
	case 7:
		pairs := map[[2]*node]bool{}
		var names []string
		for range 1 + s.rng.IntN(len(s.nodes)) {
			a, b := s.pilots[s.rng.IntN(len(s.nodes))], s.pilots[s.rng.IntN(len(s.nodes))]
			if a != b && !pairs[[2]*node{a.node, b.node}] {
				pairs[[2]*node{a.node, b.node}] = true
				names = append(names, a.name+" to "+b.name)
				a.died++
				b.died++
			}
		}
		s.log("eth%d drops frames from %s", link, strings.Join(names, ", "))
		s.faults = append(s.faults, fault{"", func(from, to *node, on int) bool { return on == link && pairs[[2]*node{from, to}] }})
	case 8:
		s.loss = s.rng.Float64() * 0.4
		s.log("%.0f%% of all frames are lost", s.loss*100)
	}
}

// crash ends a process. The kernels of the others' connections tell of it.
func (s *scenario) crash(victim *pilot) {
	victim.died++
	s.restart(victim)
	victim.frozen, victim.inbox = true, nil
	for _, p := range s.pilots {
		if p != victim && p.runs() && s.bothReach(p.node, victim.node, 0) {
			p.engine.crashed(s.now, victim.name)
			s.after(p.node)
		}
	}
}

func (s *scenario) restart(p *pilot) {
	s.start(p.node)
	if s.rng.IntN(4) == 0 { // its clock went back
		p.engine = newEngine(p.name, s.timing, s.now.Add(-1000*time.Hour))
		p.engine.planned, p.engine.due, p.engine.ticked = s.now, s.now, s.now
	}
	p.seen, p.resumed, p.standBack, p.tail, p.says, p.version, p.owns = 0, 0, time.Time{}, time.Time{}, 0, 0, make([]bool, s.links)
	p.lostMembers, p.listWants = map[*node]bool{}, map[*node]bool{}
	s.tellList(p)
}

// heal ends all faults.
func (s *scenario) heal() {
	s.log("all is healed")
	s.faults, s.loss = nil, 0
	for _, p := range s.pilots {
		switch {
		case p.off:
			p.off = false
			s.restart(p)
		case p.frozen:
			s.thaw(p.node)
			p.started = s.now
			s.after(p.node)
		case p.stopped:
			p.stopped, p.next, p.started = false, s.now, s.now
			s.after(p.node)
		}
	}
}

// checkEnd checks that all agree.
func (s *scenario) checkEnd() {
	for _, p := range s.pilots {
		v := p.engine.view
		if len(v.Dead) > 0 || v.Fenced != "" || len(v.FencedLinks) > 0 || !p.engine.lease().After(s.now) {
			s.fail("at the end %s believes %v dead, fenced %q %v", p.name, v.Dead, v.Fenced, v.FencedLinks)
		}
		if v.Suppressed && p.died < 2 {
			s.fail("%s is suppressed, but it was hit by %d faults", p.name, p.died)
		}
	}
	for link := range s.links {
		owners := 0
		for _, p := range s.pilots {
			if s.mayAnswer(p, link) {
				owners++
			}
		}
		if owners != 1 {
			s.fail("at the end eth%d has %d owners", link, owners)
		}
	}
}

// Each failure prints its steps. Run it again with -seed SEED -seeds 1.
func TestRandomFaultsBreakNoPromise(t *testing.T) {
	var worstTwo, worstNone []time.Duration
	kinds := map[string]int{}
	for seed := *firstSeed; seed < *firstSeed+uint64(*seeds); seed++ {
		s := newScenario(t, seed)
		s.play()
		worstTwo, worstNone = append(worstTwo, s.worstTwo), append(worstNone, s.worstNone)
		if len(s.failures) > 0 {
			kinds[fmt.Sprint(s.lists, " ", s.failures[0][:min(22, len(s.failures[0]))])]++
			if kinds["printed"]++; kinds["printed"] <= 3 {
				t.Errorf("seed %d:\n%s", seed, strings.Join(s.steps, "\n"))
			} else {
				t.Errorf("seed %d: %s", seed, s.failures[0])
			}
		}
	}
	for _, d := range [][]time.Duration{worstTwo, worstNone} {
		slices.SortFunc(d, func(a, b time.Duration) int { return cmp.Compare(b, a) })
	}
	t.Logf("longest time with two owners %v, without an owner %v; %v", worstTwo[0], worstNone[0], kinds)
}
