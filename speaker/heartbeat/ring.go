package heartbeat

import (
	"cmp"
	"slices"
)

// watchers is how many speakers watch each speaker, if there are that many. So the
// cost of watching does not grow with the cluster.
const watchers = 3

// ring is the members in the order of the hashes of their names. Every member computes
// the same order. The members that follow a member watch it.
type ring struct {
	names []string
	place map[string]int
}

func newRing(names []string) ring {
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(mixed(a), mixed(b)), cmp.Compare(a, b)) })
	r := ring{names: names, place: make(map[string]int, len(names))}
	for i, name := range names {
		r.place[name] = i
	}
	return r
}

// mixed spreads the hashes of names that differ only in their last bytes.
func mixed(name string) uint64 {
	h := nodeID(name)
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	return h ^ h>>33
}

// neighbours reports whether one of the two watches the other. Then both send
// heartbeats, so that each of them watches the other.
func (r ring) neighbours(a, b string) bool {
	i, okA := r.place[a]
	j, okB := r.place[b]
	if !okA || !okB || a == b {
		return false
	}
	n := len(r.names)
	distance := (i - j + n) % n
	return min(distance, n-distance) <= watchers
}

// Neighbours returns those of the members that this speaker watches, and that watch it. Only
// neighbours send each other heartbeats.
func Neighbours(self string, members []string) []string {
	return newRing(append([]string{self}, members...)).around(self)
}

// around returns the neighbours of name.
func (r ring) around(name string) []string {
	i, ok := r.place[name]
	if !ok {
		return nil
	}
	var near []string
	n := len(r.names)
	for d := 1; d <= watchers; d++ {
		for _, other := range []string{r.names[(i+d)%n], r.names[((i-d)%n+n)%n]} {
			if other != name && !slices.Contains(near, other) {
				near = append(near, other)
			}
		}
	}
	return near
}
