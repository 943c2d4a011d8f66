package memberkey_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/memberkey"
)

// keysOf returns the Keys that a word names: "a" or "ab", the key to send with first.
func keysOf(word string) memberkey.Keys {
	k := memberkey.Keys{Send: []byte(word[:1])}
	if len(word) > 1 {
		k.Accepted = []byte(word[1:])
	}
	return k
}

// inUse returns the keys in use as a word, the one for sending first, the others sorted.
func inUse(r *memberkey.Ring, now time.Time) string {
	keys, _ := r.Keys(now)
	var others []string
	for _, k := range keys[1:] {
		others = append(others, string(k))
	}
	slices.Sort(others)
	return string(keys[0]) + strings.Join(others, "")
}

func TestRingChangesKeysWithoutLosingAny(t *testing.T) {
	type step struct {
		at   time.Duration
		set  string // the Secret's keys from now on; "" for no change
		want string // the keys in use
	}
	for name, steps := range map[string][]step{
		"start":                   {{0, "", "a"}},
		"no change":               {{0, "a", "a"}, {time.Hour, "", "a"}},
		"a second key":            {{0, "ab", "ab"}, {time.Hour, "", "ab"}},
		"rotation with pauses":    {{0, "ab", "ab"}, {time.Minute, "ba", "ba"}, {2 * time.Minute, "b", "ba"}, {3*time.Minute - 1, "", "ba"}, {3 * time.Minute, "", "b"}},
		"rotation in a hurry":     {{0, "ab", "ab"}, {time.Second, "ba", "ab"}, {2 * time.Second, "b", "ab"}, {5*time.Second - 1, "", "ab"}, {5 * time.Second, "", "ba"}, {62 * time.Second, "", "b"}},
		"replaced in one step":    {{0, "b", "ab"}, {5 * time.Second, "", "ba"}, {time.Minute - 1, "", "ba"}, {time.Minute, "", "b"}},
		"replaced and put back":   {{0, "b", "ab"}, {time.Second, "a", "ab"}, {time.Minute, "", "ab"}, {61 * time.Second, "", "a"}},
		"put back after a switch": {{0, "b", "ab"}, {10 * time.Second, "", "ba"}, {11 * time.Second, "a", "ab"}, {71 * time.Second, "", "a"}},
		"both replaced":           {{0, "ab", "ab"}, {time.Minute, "cd", "abcd"}, {65 * time.Second, "", "cabd"}, {2 * time.Minute, "", "cd"}},
		"too many changes":        {{0, "b", "ab"}, {1, "c", "abc"}, {2, "d", "abcd"}, {3, "e", "acde"}, {5*time.Second + 3, "", "eacd"}},
	} {
		start := time.Unix(1e9, 0)
		r := memberkey.NewRing(keysOf("a"))
		for _, s := range steps {
			if s.set != "" {
				r.Set(start.Add(s.at), keysOf(s.set))
			}
			if got := inUse(r, start.Add(s.at)); got != s.want {
				t.Errorf("%s: after %v %s is in use, want %s", name, s.at, got, s.want)
			}
		}
	}
}

func TestRingSaysWhenItChanges(t *testing.T) {
	start := time.Unix(1e9, 0)
	r := memberkey.NewRing(keysOf("a"))
	if _, next := r.Keys(start); !next.IsZero() {
		t.Errorf("nothing changes, but next is %v", next)
	}
	r.Set(start, keysOf("b"))
	for _, want := range []time.Duration{5 * time.Second, time.Minute} {
		_, next := r.Keys(start)
		if got := next.Sub(time.Unix(1e9, 0)); got != want {
			t.Errorf("next is after %v, want %v", got, want)
		}
		start = next
	}
	if _, next := r.Keys(start); !next.IsZero() {
		t.Errorf("nothing changes any more, but next is %v", next)
	}
}

// Two speakers hear of each change at different times, up to four seconds apart. At every
// moment each accepts what the other sends.
func TestRingsOfTwoSpeakersAlwaysUnderstandEachOther(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 0))
		var rings [2]*memberkey.Ring
		var pending [2][]func(time.Time) bool
		for i := range rings {
			rings[i] = memberkey.NewRing(keysOf("a"))
		}
		now := time.Unix(1e9, 0)
		key := byte('a')
		for range 4 {
			k := memberkey.Keys{Send: []byte{key + 1}}
			if random.IntN(2) == 0 {
				k.Accepted = []byte{key}
			}
			key++
			for i := range rings {
				at := now.Add(time.Duration(random.Int64N(int64(4 * time.Second))))
				pending[i] = append(pending[i], func(now time.Time) bool {
					if now.Before(at) {
						return false
					}
					rings[i].Set(now, k)
					return true
				})
			}
			for end := now.Add(5*time.Second + time.Duration(random.Int64N(int64(30*time.Second)))); now.Before(end); now = now.Add(100 * time.Millisecond) {
				var use [2][][]byte
				for i := range rings {
					pending[i] = slices.DeleteFunc(pending[i], func(set func(time.Time) bool) bool { return set(now) })
					use[i], _ = rings[i].Keys(now)
				}
				for i := range use {
					other := fmt.Sprintf("%s", use[1-i])
					if !strings.Contains(other, string(use[i][0])) {
						t.Fatalf("seed %d: one sends with %s, the other accepts %s", seed, use[i][0], other)
					}
				}
			}
		}
	}
}
