package heartbeat

import (
	"fmt"
	"testing"
	"time"
)

func TestLossDelaysADeathButInventsNone(t *testing.T) {
	t.Parallel()
	for _, loss := range []float64{0.1, 0.2, 0.4} {
		t.Run(fmt.Sprint(loss), func(t *testing.T) {
			w := newWorld(t, 5, defaultTiming)
			w.run(5 * time.Second)
			w.lost = func(_, _ *node) bool { return w.rng.Float64() < loss }
			w.run(minutes(10))
			for _, n := range w.nodes {
				if len(n.deaths) > 0 || n.engine.view.Fenced != "" {
					t.Fatalf("%s detected the deaths %v: %+v", n.name, n.deaths, n.engine.view)
				}
			}
			w.nodes[0].off = true
			if took := w.run(time.Second, w.allBelieveDead(w.nodes[0])); took > 300*time.Millisecond {
				t.Errorf("a death is detected after %v", took)
			}
		})
	}
}

// Each kernel's own average learns of a loss too late: eight probes in a row are lost before.
func TestSuddenLossInventsNoDeath(t *testing.T) {
	w := newWorld(t, 12, defaultTiming)
	loss := 0.0
	w.lost = func(_, _ *node) bool { return w.rng.Float64() < loss }
	times := 25
	if testing.Short() {
		times = 5
	}
	for range times {
		loss = 0.35
		w.run(300 * time.Millisecond)
		loss = 0
		w.run(2 * time.Second)
	}
	for _, n := range w.nodes {
		if len(n.deaths) > 0 || n.engine.view.Deaths > 0 {
			t.Errorf("%s detected the deaths %v, and believes that it has died %d times", n.name, n.deaths, n.engine.view.Deaths)
		}
	}
}

// A machine that stops for a moment loses many probes in a row. They say nothing about the link.
func TestLostProbesInARowDoNotDelayTheDeathsOfOthers(t *testing.T) {
	var link average
	now := time.Now()
	stopped, other := kernel{watched: true}, kernel{watched: true}
	for range 200 {
		for _, k := range []*kernel{&stopped, &other} {
			k.ask(now)
			k.answer(now, &link)
		}
	}
	for range defaultTiming.Kernel.Misses {
		stopped.ask(now)
	}
	stopped.answer(now, &link)
	if misses := other.misses(defaultTiming.Kernel, &link); misses != defaultTiming.Kernel.Misses {
		t.Errorf("another kernel is dead after %d probes without an answer, want %d", misses, defaultTiming.Kernel.Misses)
	}
	if misses := stopped.misses(defaultTiming.Kernel, &link); misses <= defaultTiming.Kernel.Misses {
		t.Errorf("the kernel that did not answer is dead after %d probes without an answer", misses)
	}
}
