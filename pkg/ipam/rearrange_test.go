package ipam_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
)

func TestServicesInARingAreServedTogether(t *testing.T) {
	const pools = `
- {name: p, protocol: layer2, addresses: [10.0.0.1-10.0.0.3]}
- {name: one, protocol: layer2, addresses: [10.0.1.1/32], auto-assign: false}
- {name: two, protocol: layer2, addresses: [10.0.2.1/32], auto-assign: false}
`
	want := func(addr string) try { return try{request: asking(addr)} }
	pool := func(name string) try { return try{request: ipam.Request{Pool: name}} }
	for name, test := range map[string]struct{ before, after []try }{
		"two swap":             {[]try{want("10.0.0.1"), want("10.0.0.2")}, []try{want("10.0.0.2"), want("10.0.0.1")}},
		"three move in a ring": {[]try{want("10.0.0.1"), want("10.0.0.2"), want("10.0.0.3")}, []try{want("10.0.0.2"), want("10.0.0.3"), want("10.0.0.1")}},
		"two swap full pools":  {[]try{pool("one"), pool("two")}, []try{pool("two"), pool("one")}},
		"one asks for a pool":  {[]try{pool("one"), want("10.0.0.2")}, []try{want("10.0.0.2"), pool("one")}},
		"across namespaces":    {[]try{{namespace: "x", request: asking("10.0.0.1")}, {namespace: "y", request: asking("10.0.0.2")}}, []try{{namespace: "x", request: asking("10.0.0.2")}, {namespace: "y", request: asking("10.0.0.1")}}},
		"with one key in different namespaces": {[]try{{namespace: "x", key: "k", port: tcp80, request: asking("10.0.0.1")}, {namespace: "y", key: "k", port: tcp53, request: asking("10.0.0.2")}},
			[]try{{namespace: "x", key: "k", port: tcp80, request: asking("10.0.0.2")}, {namespace: "y", key: "k", port: tcp53, request: asking("10.0.0.1")}}},
		"with a chain at its end": {[]try{want("10.0.0.1"), want("10.0.0.2"), pool("one")}, []try{want("10.0.0.2"), want("10.0.0.1"), pool("one")}},
	} {
		t.Run(name, func(t *testing.T) {
			a := allocator(t, pools)
			for i, s := range test.before {
				s.uid = fmt.Sprint("s", i)
				s.do(a)
			}
			for range 2 { // the first to change is refused, the last completes the ring
				for i, s := range test.after {
					s.uid = fmt.Sprint("s", i)
					s.do(a)
				}
			}
			for i, s := range test.after {
				has := a.Addrs(fmt.Sprint("s", i))
				if r := s.request; len(has) != 1 || len(r.Addrs) > 0 && has[0] != r.Addrs[0] || r.Pool == "one" && join(has) != "10.0.1.1" || r.Pool == "two" && join(has) != "10.0.2.1" {
					t.Errorf("s%d has %v, and asks for %v of pool %q", i, has, r.Addrs, r.Pool)
				}
			}
		})
	}
}

func TestRingThatCannotCloseChangesNothing(t *testing.T) {
	a := allocator(t, `[{name: p, protocol: layer2, addresses: [10.0.0.1-10.0.0.3]}]`)
	for i, addr := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"} {
		(try{uid: fmt.Sprint("s", i), request: asking(addr)}).do(a)
	}
	chances := a.Chances()
	for range 3 {
		for uid, addr := range map[string]string{"s0": "10.0.0.2", "s1": "10.0.0.3"} { // s2 stays where it is
			if got := (try{uid: uid, request: asking(addr)}).do(a); !strings.Contains(got, "is used by ns/s") {
				t.Errorf("%s: got %s", uid, got)
			}
		}
	}
	for i, want := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"} {
		if has := join(a.Addrs(fmt.Sprint("s", i))); has != want {
			t.Errorf("s%d has %s, want %s", i, has, want)
		}
	}
	if a.Chances() != chances {
		t.Error("refusals alone make a new chance, so waiting Services are tried for ever")
	}
}

// Every change that can serve a waiting Service counts as a chance; see Allocator.Chances.
func TestChangeThatServesAWaitingServiceIsAChance(t *testing.T) {
	const pools = `[{name: p, protocol: layer2, addresses: [10.0.0.1/32]}]`
	waits := try{uid: "waits", key: "k", port: tcp80}
	for name, test := range map[string]struct {
		holder try
		change func(a *ipam.Allocator)
	}{
		"the holder changes its port":    {try{uid: "h", key: "k", port: tcp80}, func(a *ipam.Allocator) { (try{uid: "h", key: "k", port: tcp53}).do(a) }},
		"the holder changes its key":     {try{uid: "h", key: "l", port: tcp53}, func(a *ipam.Allocator) { (try{uid: "h", key: "k", port: tcp53}).do(a) }},
		"the holder gets a key":          {try{uid: "h", port: tcp53}, func(a *ipam.Allocator) { (try{uid: "h", key: "k", port: tcp53}).do(a) }},
		"the holder changes its backend": {try{uid: "h", key: "k", backend: "pods", port: tcp53}, func(a *ipam.Allocator) { (try{uid: "h", key: "k", port: tcp53}).do(a) }},
		"the holder is deleted":          {try{uid: "h", port: tcp53}, func(a *ipam.Allocator) { a.Release("h") }},
		"the pool grows": {try{uid: "h", port: tcp53}, func(a *ipam.Allocator) {
			a.SetPools(parse(t, `[{name: p, protocol: layer2, addresses: [10.0.0.1-10.0.0.2]}]`))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			a := allocator(t, pools)
			test.holder.do(a)
			if got := waits.do(a); !strings.Contains(got, "exhausted") {
				t.Fatalf("got %s", got)
			}
			before := a.Chances()
			test.change(a)
			if a.Chances() == before {
				t.Error("it is not a chance")
			}
			if got := waits.do(a); !strings.HasPrefix(got, "10.0.0.") || strings.Contains(got, "used") {
				t.Errorf("after the change: %s", got)
			}
		})
	}
}

func TestReleasedAddressRestsBeforeAnotherNamespaceGetsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := allocator(t, `[{name: p, protocol: layer2, addresses: [10.0.0.1-10.0.0.9]}]`)
		bank := try{uid: "b1", namespace: "bank", request: asking("10.0.0.5")}
		evil := try{uid: "e", namespace: "evil", request: asking("10.0.0.5")}
		bank.do(a)
		a.Release("b1")
		time.Sleep(time.Millisecond)
		if got := evil.do(a); !strings.HasPrefix(got, "10.0.0.5 was released by another namespace a moment ago, and is not free for others before 2000-01-01T00:00:30Z (reuse-delay)") {
			t.Errorf("evil got %s", got)
		}
		bank.uid = "b2" // helm uninstall && helm install
		if got := bank.do(a); got != "10.0.0.5" {
			t.Errorf("bank got %s", got)
		}
		a.Release("b2")
		time.Sleep(30 * time.Second)
		if got := evil.do(a); got != "10.0.0.5" {
			t.Errorf("after the cooldown evil got %s", got)
		}
	})
}

// A random world without sharing has a simple truth: a refused Service that asks for an
// address can be served if the requests for addresses form a ring, or end at a free one.
func TestNobodyInARingWaits(t *testing.T) {
	const size = 6
	addr := func(i int) string { return fmt.Sprint("10.0.0.", i+1) }
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 2))
		a := allocator(t, fmt.Sprintf(`[{name: p, protocol: layer2, addresses: [10.0.0.1-10.0.0.%d], reuse-delay: 0s}]`, size))
		wants := rng.Perm(size)
		for i := range size {
			(try{uid: fmt.Sprint("s", i), request: asking(addr(i))}).do(a)
		}
		order := rng.Perm(size)
		for _, i := range order { // every permutation consists of rings
			(try{uid: fmt.Sprint("s", i), request: asking(addr(wants[i]))}).do(a)
		}
		var has []string
		for i := range size {
			has = append(has, join(a.Addrs(fmt.Sprint("s", i))))
			if has[i] != addr(wants[i]) {
				t.Fatalf("seed %d: s%d has %s, and asks for %s", seed, i, has[i], addr(wants[i]))
			}
		}
		slices.Sort(has)
		if len(slices.Compact(has)) != size {
			t.Fatalf("seed %d: %v", seed, has)
		}
	}
}
