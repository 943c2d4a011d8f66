package heartbeat

import (
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func TestOpenAcceptsEveryKeyOfTheRing(t *testing.T) {
	both := testKeys("new", "old")
	for secret, want := range map[string]error{"new": nil, "old": nil, "other": errKey} {
		if _, err := open(both, example().seal(testKeys(secret).send())); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", secret, err, want)
		}
	}
	if _, err := open(testKeys("new"), example().seal(both.send())); err != nil {
		t.Errorf("a speaker does not send with its first key: %v", err)
	}
}

// One side may have heard of a new key before the other.
func TestHandshakeWorksWhileKeysChange(t *testing.T) {
	for _, tt := range []struct {
		dials, accepts []string
		want           bool
	}{
		{[]string{"old"}, []string{"old", "new"}, true},
		{[]string{"old", "new"}, []string{"old"}, true},
		{[]string{"new", "old"}, []string{"old"}, true},
		{[]string{"new", "old"}, []string{"old", "new"}, true},
		{[]string{"new"}, []string{"old", "new"}, false}, // the accepting side has proved another key
		{[]string{"new"}, []string{"old"}, false},
	} {
		a, b := net.Pipe()
		result := make(chan error, 1)
		go func() {
			result <- welcome(b, testKeys(tt.accepts...))
			b.Close()
		}()
		err := greet(a, testKeys(tt.dials...))
		a.Close()
		if other := <-result; (err == nil) != tt.want || (other == nil) != tt.want {
			t.Errorf("%v dials %v: %v, %v", tt.dials, tt.accepts, err, other)
		}
	}
}

// rotation is what a speaker uses at each step, whether an operator rotates the key in
// three steps or replaces it at once; see pkg/memberkey.
var rotation = [][]string{{"old", "new"}, {"new", "old"}, {"new"}}

func TestKeysChangeInAnyOrderWithoutADeath(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			t.Parallel()
			// With this timing a busy machine does not look like a death.
			all, _, _ := loopbackWith(t, calmTiming, "old", "old", "old")
			heardAgain := func() {
				t.Helper()
				var before []float64
				for _, h := range all {
					before = append(before, count(t, h.metrics.received))
				}
				for i, h := range all {
					eventually(t, "it hears the others again", func() bool { return count(t, h.metrics.received) >= before[i]+4 })
				}
			}
			heardAgain()
			for _, keys := range rotation {
				for _, i := range order {
					var secrets [][]byte
					for _, k := range keys {
						secrets = append(secrets, []byte(k))
					}
					all[i].SetKeys(secrets)
					heardAgain()
				}
			}
			for i, h := range all {
				if rejected, deaths := count(t, h.metrics.rejected), count(t, h.metrics.deaths); rejected > 0 || deaths > 0 || !h.MayAnswer() {
					t.Errorf("node%d has rejected %v heartbeats and seen %v deaths; may answer: %v", i, rejected, deaths, h.MayAnswer())
				}
				if len(*h.keys.Load()) != 1 {
					t.Errorf("node%d still has the old key", i)
				}
			}
		})
	}
}

// count returns the sum of a counter's values.
func count(t *testing.T, c prometheus.Collector) (sum float64) {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			sum += metric.GetCounter().GetValue()
		}
	}
	return sum
}
