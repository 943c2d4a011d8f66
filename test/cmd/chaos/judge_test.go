package main

import (
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

var origin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// at returns a time of the tests, in milliseconds since their start.
func at(ms int) time.Time { return origin.Add(time.Duration(ms) * time.Millisecond) }

// strike returns a fault of that kind. If ended is 0, the fault lasts.
func strike(name string, begun, ended int, nodes ...string) fault {
	for _, k := range kinds {
		if k.name == name {
			f := fault{kind: k, nodes: nodes, begun: at(begun)}
			if ended > 0 {
				f.ended = at(ended)
			}
			return f
		}
	}
	panic("no kind " + name)
}

// segment is a time in which the same nodes answer each question, in milliseconds.
type segment struct {
	until int
	who   string // names, separated by commas
	delay int    // of the answers; if it is negative, all answers arrive at the end of the segment
}

var (
	nodeNames = map[string]string{"mac1": "node1", "mac2": "node2", "mac3": "node3", "mac4": "node4", "mac5": "node5"}
	service   = vip{addr: "192.0.2.1", service: "web", nodes: []string{"node1", "node2", "node3", "node4", "node5"}}
)

const every = 20 * time.Millisecond

// questions returns a question every 20 ms, with the answers of the segments.
func questions(segments ...segment) (all []cluster.Question) {
	t := 0
	for _, s := range segments {
		for ; t < s.until; t += 20 {
			q := cluster.Question{At: at(t)}
			for name := range strings.SplitSeq(s.who, ",") {
				if name == "" {
					continue
				}
				answer := at(t + s.delay)
				if s.delay < 0 {
					answer = at(s.until)
				}
				q.MACs, q.Times = append(q.MACs, strings.Replace(name, "node", "mac", 1)), append(q.Times, answer)
			}
			all = append(all, q)
		}
	}
	return all
}

func TestAnswersAreJudgedByTheFaults(t *testing.T) {
	one := func(until int) segment { return segment{until: until, who: "node1"} }
	two := func(until int) segment { return segment{until: until, who: "node2"} }
	both := func(until int) segment { return segment{until: until, who: "node1,node2"} }
	none := func(until int) segment { return segment{until: until} }
	cases := []struct {
		name   string
		faults []fault
		seen   []segment
		want   []string // words of each violation
	}{
		{"nothing happens", nil, []segment{one(2000)}, nil},
		{"a short spell", nil, []segment{one(1000), none(1280), one(2000)}, nil},
		{"a long spell", nil, []segment{one(1000), none(1400), one(2000)}, []string{"was answered for 400 ms"}},
		{"a spell that does not end", nil, []segment{one(1000), none(9000)}, []string{"was answered for 5020 ms"}},
		{"a late answer is none", nil, []segment{one(1000), {until: 1400, who: "node1", delay: 250}, one(2000)}, []string{"was answered for 400 ms"}},

		{"a death in time", []fault{strike("power", 1000, 0, "node1")}, []segment{one(1000), none(1280), two(3000)}, nil},
		{"a death too late", []fault{strike("power", 1000, 0, "node1")}, []segment{one(1000), none(1360), two(3000)}, []string{"360 ms count; node1 had"}},
		{"a spell that is a little longer", nil, []segment{one(1000), none(1320), one(2000)}, []string{"320 ms count"}},
		{"a spell of just the limit", nil, []segment{one(1000), none(1300), one(2000)}, nil},
		{"a second death begins the time again", []fault{strike("power", 1000, 0, "node1"), strike("power", 1200, 0, "node2")},
			[]segment{one(1000), none(1480), {until: 3000, who: "node3"}}, nil},
		{"an edit does not begin the time again", []fault{strike("power", 1000, 0, "node1"), strike("config", 1200, 1300)},
			[]segment{one(1000), none(1480), two(3000)}, []string{"480 ms count"}},
		{"one node is well", []fault{strike("partition", 500, 0, "node2", "node3"), strike("mute", 500, 0, "node4"), strike("power", 1000, 0, "node1")},
			[]segment{one(1000), none(3000), {until: 4000, who: "node5"}}, nil},
		{"two nodes are well again", []fault{strike("partition", 500, 1000, "node2", "node3"), strike("mute", 500, 0, "node4"), strike("power", 1000, 0, "node1")},
			[]segment{one(1000), none(2600), {until: 4000, who: "node5"}}, []string{"600 ms count"}},

		{"a frozen owner for a second", []fault{strike("freeze", 1000, 0, "node1")}, []segment{one(1000), none(2280), two(3000)}, nil},
		{"a frozen owner for longer", []fault{strike("freeze", 1000, 0, "node1")}, []segment{one(1000), none(2360), two(3000)}, []string{"360 ms count"}},
		{"a frozen owner after it runs again", []fault{strike("freeze", 1000, 1500, "node1")}, []segment{one(1000), none(1860), two(3000)}, []string{"360 ms count"}},
		{"another node is frozen", []fault{strike("freeze", 1000, 0, "node3")}, []segment{one(1100), none(1500), one(3000)}, []string{"400 ms count"}},
		{"the next owner is frozen, too", []fault{strike("freeze", 900, 0, "node2"), strike("power", 1000, 0, "node1")},
			[]segment{one(1000), none(2180), {until: 3000, who: "node3"}}, nil},

		{"two nodes for a moment", nil, []segment{one(1000), both(1280), two(2000)}, nil},
		{"two nodes for long", nil, []segment{one(1000), both(1400), two(2000)}, []string{"node1 and node2 all answered for 192.0.2.1 for 400 ms"}},
		{"two nodes with a break", nil, []segment{one(1000), both(1200), one(1260), both(1400), two(2000)}, []string{"for 400 ms"}},
		{"two nodes, twice", nil, []segment{one(1000), both(1200), one(1400), both(1600), two(2000)}, nil},
		{"two nodes that do not reach each other", []fault{strike("split", 1000, 2000, "node1", "node3")}, []segment{one(1000), both(2260), two(3000)}, nil},
		{"two nodes after they reach each other", []fault{strike("split", 1000, 2000, "node1", "node3")}, []segment{one(1000), both(2360), two(3000)}, []string{"for 360 ms"}},
		{"two nodes of the same part", []fault{strike("split", 1000, 2000, "node1", "node2")}, []segment{one(1000), both(1400), two(3000)}, []string{"for 400 ms"}},
		{"a deaf node and another", []fault{strike("deaf", 1000, 2000, "node2")}, []segment{one(1000), both(2260), two(3000)}, nil},
		{"two of three nodes reach each other", []fault{strike("mute", 1000, 2000, "node3")},
			[]segment{one(1000), {until: 1400, who: "node1,node2,node3"}, two(2000)}, []string{"for 400 ms"}},
		{"answers to old questions arrive at once", []fault{strike("freeze", 1000, 1500, "node1")},
			[]segment{one(1000), {until: 1500, who: "node1,node2", delay: -1}, two(3000)}, nil},

		{"a stranger", nil, []segment{one(1000), {until: 1100, who: "node9"}, one(2000)}, []string{"a host with the MAC address mac9 answered"}},
		{"an excluded node in time", []fault{strike("exclude", 1000, 0, "node1")}, []segment{one(3000), two(4000)}, nil},
		{"an excluded node too late", []fault{strike("exclude", 1000, 0, "node1")}, []segment{one(4000), two(5000)}, []string{"node1 answered for 192.0.2.1, but must not"}},
		{"a node alone with a witness", []fault{strike("split", 1000, 0, "node1")}, []segment{one(1000), both(4500), two(5000)}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := newAnswers(service, every, nodeNames)
			m := model{c.faults}
			var found []violation
			for _, q := range questions(c.seen...) {
				found = append(found, a.see(q, m)...)
			}
			expect(t, append(found, a.end(m)...), c.want)
		})
	}
}

// expect compares violations with words that they must contain.
func expect(t *testing.T, found []violation, want []string) {
	t.Helper()
	for i, v := range found {
		if i >= len(want) || !strings.Contains(v.what, want[i]) {
			t.Errorf("found: %s", v.what)
		}
	}
	if len(found) != len(want) {
		t.Errorf("found %d violations, want %d: %q", len(found), len(want), want)
	}
}

func TestLocalAddressIsJudgedByItsOwnNodes(t *testing.T) {
	local := service
	local.nodes = []string{"node1", "node2"}
	m := model{[]fault{strike("power", 1000, 0, "node1")}}
	a := newAnswers(local, every, nodeNames)
	var found []violation
	for _, q := range questions(segment{until: 1000, who: "node1"}, segment{until: 2000}, segment{until: 3000, who: "node3"}) {
		found = append(found, a.see(q, m)...)
	}
	// Only one of its nodes was well, so the spell is allowed.
	expect(t, append(found, a.end(m)...), []string{"node3 answered for 192.0.2.1, but must not"})
}

func TestLateWatcherMakesViolationsDoubtful(t *testing.T) {
	for _, c := range []struct {
		name     string
		stop     int // how long the watcher stops at 1,200 ms
		doubtful bool
	}{{"on time", 0, false}, {"a little late", 100, false}, {"late", 140, true}} {
		t.Run(c.name, func(t *testing.T) {
			for _, who := range []string{"", "node1,node2"} {
				a := newAnswers(service, every, nodeNames)
				var found []violation
				for _, q := range questions(segment{until: 1000, who: "node1"}, segment{until: 2000, who: who}, segment{until: 3000, who: "node2"}) {
					if q.At.Before(at(1200)) || !q.At.Before(at(1200+c.stop)) {
						found = append(found, a.see(q, model{})...)
					}
				}
				if len(found) != 1 || found[0].doubtful() != c.doubtful {
					t.Errorf("answered by %q: %+v, want one violation, doubtful: %v", who, found, c.doubtful)
				}
			}
		})
	}
}

func TestLateWatcherDoesNotDivideTheTimeOfTwoOwners(t *testing.T) {
	a := newAnswers(service, every, nodeNames)
	var found []violation
	for _, q := range questions(segment{until: 1000, who: "node1"}, segment{until: 1420, who: "node1,node2"}, segment{until: 2000, who: "node2"}) {
		if q.At.Before(at(1200)) || !q.At.Before(at(1340)) {
			found = append(found, a.see(q, model{})...)
		}
	}
	if len(found) != 1 || !found[0].doubtful() {
		t.Errorf("%+v, want one doubtful violation", found)
	}
}

func TestFrozenOwnerExcusesQuestionsButNoConnections(t *testing.T) {
	m := model{[]fault{strike("freeze", 1000, 0, "node1")}}
	for s, want := range map[side]time.Duration{asking: 200 * time.Millisecond, connecting: 1200 * time.Millisecond} {
		if got := m.counted(service, s, "node1", at(1000), at(2200)); got != want {
			t.Errorf("%s: %v, want %v", s, got, want)
		}
	}
}

func TestConnectionsAreJudgedInTheOrderOfTheirStarts(t *testing.T) {
	cases := []struct {
		name      string
		faults    []fault
		from, to  int // connections fail that begin in this time
		wantWords []string
	}{
		{"none fails", nil, 0, 0, nil},
		{"a death in time", []fault{strike("power", 1000, 0, "node1")}, 1000, 1280, nil},
		{"a death too late", []fault{strike("power", 1000, 0, "node1")}, 1000, 1400, []string{"no connection for 192.0.2.1 was answered for 400 ms"}},
		{"a frozen owner loses no connection", []fault{strike("freeze", 1000, 0, "node1")}, 1000, 1400, []string{"400 ms count"}},
		{"the next owner is frozen", []fault{strike("freeze", 900, 0, "node2"), strike("power", 1000, 0, "node1")}, 1000, 2180, nil},
		{"the next owner is frozen for longer", []fault{strike("freeze", 900, 0, "node2"), strike("power", 1000, 0, "node1")}, 1000, 2280, []string{"380 ms count"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := requests{silence: spells{vip: service, side: connecting, late: lateness{every: every}}}
			m := model{c.faults}
			var failed, all []cluster.Attempt
			for ms := 0; ms < 5000; ms += 20 {
				a := cluster.Attempt{Start: at(ms), Took: time.Millisecond, OK: ms < c.from || ms >= c.to}
				if !a.OK { // it ends 400 ms later, after connections that began later
					failed = append(failed, a)
					continue
				}
				for len(failed) > 0 && ms >= int(failed[0].Start.Sub(origin).Milliseconds())+400 {
					all, failed = append(all, failed[0]), failed[1:]
				}
				all = append(all, a)
			}
			var found []violation
			for len(all) > 0 {
				n := min(7, len(all))
				found = append(found, r.see(all[:n], m)...)
				all = all[n:]
			}
			expect(t, append(found, r.end(m)...), c.wantWords)
			if n := len(r.silence.lengths); n != min(1, c.to-c.from) {
				t.Errorf("%d spells", n)
			}
		})
	}
}

func TestLedgerFindsAddressesThatMoveOrAreGivenTwice(t *testing.T) {
	l := newLedger()
	see := func(service string, want int, addresses ...string) {
		t.Helper()
		if wrong := l.see(service, addresses); len(wrong) != want {
			t.Errorf("%s with %v: %q, want %d", service, addresses, wrong, want)
		}
	}
	see("a", 0)
	see("a", 0, "192.0.2.1")
	see("a", 0, "192.0.2.1")
	see("b", 0, "192.0.2.2")
	see("c", 1, "192.0.2.2") // given twice
	see("a", 1)              // lost
	see("a", 1, "192.0.2.3") // changed
	l.gone("b")
	l.gone("c")
	see("d", 0, "192.0.2.2")
}
