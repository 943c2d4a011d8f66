package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var fiveNodes = service.nodes

func draw(t *testing.T, seed uint64, n int, names string) (all []episode) {
	t.Helper()
	s, err := newSchedule(seed, fiveNodes, names)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		all = append(all, s.next())
	}
	return all
}

func TestSeedDecidesTheSchedule(t *testing.T) {
	text := func(seed uint64) string { return fmt.Sprint(draw(t, seed, 50, "all")) }
	first, again, other := text(7), text(7), text(8)
	if first != again {
		t.Error("the same seed gives other faults")
	}
	if first == other {
		t.Error("another seed gives the same faults")
	}
}

func TestScheduleDrawsAllKindsAndLeavesTwoNodes(t *testing.T) {
	drawn, pairs := map[string]bool{}, 0
	for i, e := range draw(t, 1, 3000, "all") {
		var hit []string
		for _, p := range e.faults {
			drawn[p.kind.name] = true
			if p.length < p.kind.least || p.length > p.kind.longest || p.after > e.faults[0].length {
				t.Errorf("episode %d: %v after %v does not fit its kind", i, p, p.after)
			}
			for _, n := range p.nodes {
				if slices.Contains(hit, n) {
					t.Errorf("episode %d: two faults hit %s", i, n)
				}
			}
			hit = append(hit, p.nodes...)
		}
		if len(hit) > 3 {
			t.Errorf("episode %d: only %d nodes are left", i, 5-len(hit))
		}
		if len(e.faults) == 2 {
			pairs++
			a, b := e.faults[0].kind, e.faults[1].kind
			if a.parts && b.parts || a.control && b.control || a.moves && b.cutsAPI || a.cutsAPI && b.moves {
				t.Errorf("episode %d: %s and %s do not fit", i, a.name, b.name)
			}
		}
	}
	for _, k := range kinds {
		if !drawn[k.name] {
			t.Errorf("no fault of the kind %s was drawn", k.name)
		}
		if strikes[k.name] == nil {
			t.Errorf("nothing makes faults of the kind %s", k.name)
		}
	}
	if pairs < 600 {
		t.Errorf("only %d of 3000 episodes have two faults", pairs)
	}
}

func TestPauseIsLongerWhenWatchesComeBackLate(t *testing.T) {
	of := func(name string) []planned {
		return []planned{{kind: strike(name, 0, 0).kind, length: 4 * time.Second}}
	}
	for _, c := range []struct {
		before, after string
		want          time.Duration
	}{
		{"power", "crash", 0}, {"power", "exclude", 4 * time.Second}, {"crash", "exclude", 0},
		{"api", "crash", 13 * time.Second}, {"partition", "prefer", 4 * time.Second},
	} {
		if got := extraPause(of(c.before), of(c.after)); got != c.want {
			t.Errorf("%s after %s: %v, want %v", c.after, c.before, got, c.want)
		}
	}
}

func TestUnknownKindIsRefused(t *testing.T) {
	_, err := newSchedule(1, fiveNodes, "power,earthquake")
	if err == nil || !strings.Contains(err.Error(), `"earthquake"`) {
		t.Errorf("error %v", err)
	}
	for _, e := range draw(t, 1, 100, "mute,crash") {
		for _, p := range e.faults {
			if p.kind.name != "mute" && p.kind.name != "crash" {
				t.Errorf("drawn: %v", p)
			}
		}
	}
}

func TestSpeakersDisagreeIfTheirPlansDiffer(t *testing.T) {
	const plan = "node x\n192.0.2.1 services=default/web pool=default owner=%s candidates=node1,node2 reason=Owner\n192.0.2.9 services=default/y pool=none reason=Unpublished\n"
	for _, c := range []struct {
		name  string
		plans map[string]string
		want  string
	}{
		{"agree", map[string]string{"node1": fmt.Sprintf(plan, "node2"), "node2": fmt.Sprintf(plan, "node2")}, ""},
		{"differ", map[string]string{"node1": fmt.Sprintf(plan, "node1"), "node2": fmt.Sprintf(plan, "node2")}, "the owner of 192.0.2.1 is node1 on node1, but node2 on node2"},
		{"one has no plan", map[string]string{"node1": fmt.Sprintf(plan, "node1"), "node2": ""}, "the owner of 192.0.2.1 is node1 on node1, but none on node2"},
		{"nobody owns it", map[string]string{"node1": fmt.Sprintf(plan, "none"), "node2": ""}, "the owner of 192.0.2.1 is none on node1, node2"},
	} {
		if got := disagreement(c.plans, []vip{service}); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
