package heartbeat

import (
	"fmt"
	"slices"
	"testing"
)

func TestRingGivesEachSpeakerThreeWatchers(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 7, 8, 100} {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprint("node", i))
		}
		r := newRing(slices.Clone(names))
		for _, a := range names {
			near := 0
			for _, b := range names {
				if r.neighbours(a, b) != r.neighbours(b, a) || r.neighbours(a, b) != slices.Contains(r.around(a), b) {
					t.Fatalf("%s and %s disagree", a, b)
				}
				if r.neighbours(a, b) {
					near++
				}
			}
			if want := min(n-1, 2*watchers); near != want {
				t.Errorf("of %d, %s has %d neighbours, want %d", n, a, near, want)
			}
		}
	}
}
