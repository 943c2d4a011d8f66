package heartbeat

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

var seeds = flag.Int("seeds", 200, "number of random scenarios of TestRandomFaultsBreakNoPromise; with -short it is a twenty-fifth")
var firstSeed = flag.Uint64("seed", 1, "seed of the first of them")

// The promises that random faults must not break.
const (
	maxTwoOwners = 300 * time.Millisecond // of one link that reach each other
	maxNoOwner   = 400 * time.Millisecond // of a link on which a majority is connected
	maxHealing   = time.Second            // until all agree
	maxMoves     = 20                     // of the address of a link, within movesTime; some faults in a row cause eight
	movesTime    = 5 * time.Second
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
	// firewalls drop messages only.
	firewalls []fault
	loss      float64
	freezes   *rand.Rand // decides when all processes are frozen together
	witness   *node      // a host on the first link that is no speaker; nil if there is none
	steps     []string
	// since when a promise does not hold, by link and kind
	twoSince, noneSince []time.Time
	worstTwo, worstNone time.Duration
	moves               []moves // by link
	failures            []string
	listed              time.Time // when the member lists were last updated
}

// fault is something that happens to the network.
type fault struct {
	text string
	cut  func(from, to *node, link int) bool
}

func newScenario(t testing.TB, seed uint64) *scenario {
	rng := rand.New(rand.NewPCG(seed, 99))
	n, links := 2+rng.IntN(11), 1+rng.IntN(2)
	s := &scenario{world: newIdleWorld(t, n, links, defaultTiming, seed), seed: seed, lists: rng.IntN(3), freezes: rand.New(rand.NewPCG(seed, 98))}
	s.twoSince, s.noneSince, s.moves = make([]time.Time, links), make([]time.Time, links), make([]moves, links)
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
	s.firewall = func(from, to *node, link int) bool {
		return slices.ContainsFunc(s.firewalls, func(f fault) bool { return f.cut(from, to, link) })
	}
	for _, p := range s.pilots {
		s.tellList(p)
	}
	if s.freezes.IntN(2) == 0 {
		s.witness = newNode(n, links)
	}
	s.log("%d nodes, %d links, member lists %d, a witness %v", n, links, s.lists, s.witness != nil)
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

// hearEachOther reports whether heartbeats go both ways, too.
func (s *scenario) hearEachOther(a, b *node, link int) bool {
	return s.bothReach(a, b, link) && !s.firewall(a, b, link) && !s.firewall(b, a, link)
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
				s.testify(p)
			}
		}
		s.check()
	}
}

func (s *scenario) check() {
	for link := range s.links {
		var owners []*pilot
		for _, p := range s.pilots {
			if s.mayAnswer(p, link) {
				owners = append(owners, p)
			}
		}
		if s.moves[link].see(s.now, owners) == maxMoves {
			s.fail("the address of eth%d has moved %d times within %v", link, maxMoves, movesTime)
		}
		two := ""
		for i, a := range owners {
			for _, b := range owners[:i] {
				if s.bothReach(a.node, b.node, link) && !s.seemFrozen(a.node, b.node, link) {
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
	if len(s.firewalls) > 0 {
		limit += s.timing.SlowDetection() // a speaker behind a firewall is found as late as one that is frozen
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
			if b.runs() && s.now.Sub(b.started) > 4*time.Second && (a == b || s.hearEachOther(a, b, link)) {
				with = append(with, b)
			}
		}
		if len(with)*2 <= len(s.nodes) {
			continue
		}
		full := true
		for _, b := range with {
			for _, c := range with {
				full = full && (b == c || s.hearEachOther(b, c, link))
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

// Each failure prints its steps. Run it again with -seed SEED -seeds 1.
func TestRandomFaultsBreakNoPromise(t *testing.T) {
	t.Parallel()
	var worstTwo, worstNone []time.Duration
	worstMoves := 0
	kinds := map[string]int{}
	number := uint64(*seeds)
	if testing.Short() {
		number = max(1, number/25)
	}
	for seed := *firstSeed; seed < *firstSeed+number; seed++ {
		s := newScenario(t, seed)
		s.play()
		worstTwo, worstNone = append(worstTwo, s.worstTwo), append(worstNone, s.worstNone)
		for _, m := range s.moves {
			worstMoves = max(worstMoves, m.worst)
		}
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
	t.Logf("longest time with two owners %v, without an owner %v, most moves within %v %d; %v", worstTwo[0], worstNone[0], movesTime, worstMoves, kinds)
}
