package ipam_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
)

// try is one request of a story. It wants addresses, or the text of the refusal.
type try struct {
	uid, namespace string
	families       []ipam.Family
	request        ipam.Request
	key            string
	port           ipam.Port
	backend        string
	want           string
}

var (
	udp53 = ipam.Port{Protocol: "UDP", Number: 53}
	tcp53 = ipam.Port{Protocol: "TCP", Number: 53}
	tcp80 = ipam.Port{Protocol: "TCP", Number: 80}
)

func (s try) do(a *ipam.Allocator) string {
	r := s.request
	r.UID, r.Name, r.Namespace, r.Families = s.uid, s.uid, "ns", v4
	if s.namespace != "" {
		r.Namespace = s.namespace
	}
	if s.families != nil {
		r.Families = s.families
	}
	r.Sharing = ipam.Sharing{Key: s.key, Ports: []ipam.Port{s.port}, Backend: s.backend}
	got, err := a.Allocate(r)
	if err != nil {
		return err.Error()
	}
	return join(got)
}

func asking(addr string) ipam.Request { return ipam.Request{Addrs: addrs(addr)} }

func TestSharing(t *testing.T) {
	const pools = `
- {name: p, protocol: layer2, addresses: [10.0.0.1-10.0.0.9, "fd00::1-fd00::9"]}
- {name: open, protocol: layer2, addresses: [10.0.1.1-10.0.1.9], auto-assign: false, share-across-namespaces: true}
`
	for name, story := range map[string][]try{
		"with one key and different protocols": {
			{uid: "a", key: "dns", port: udp53, want: "10.0.0.1"}, {uid: "b", key: "dns", port: tcp53, want: "10.0.0.1"}, {uid: "c", key: "web", port: tcp80, want: "10.0.0.2"},
		},
		"not without a key, and not with an empty one": {
			{uid: "a", port: udp53, want: "10.0.0.1"}, {uid: "b", key: "dns", port: tcp53, want: "10.0.0.2"}, {uid: "c", port: tcp80, want: "10.0.0.3"},
			{uid: "d", key: "dns", port: tcp80, request: asking("10.0.0.1"), want: "10.0.0.1 is used by ns/a"},
		},
		"a clash of ports gets another address, or a refusal when that one was asked for": {
			{uid: "a", key: "dns", port: udp53, want: "10.0.0.1"}, {uid: "b", key: "dns", port: udp53, want: "10.0.0.2"},
			{uid: "c", key: "dns", port: udp53, request: asking("10.0.0.1"), want: "10.0.0.1 is used by ns/a, which has port 53/UDP too"},
			{uid: "c", key: "web", port: tcp80, request: asking("10.0.0.1"), want: "10.0.0.1 is used by ns/a, which has another share key"},
			{uid: "c", key: "dns", port: tcp80, request: asking("10.0.0.2"), want: "10.0.0.2"},
		},
		"both families": {
			{uid: "a", key: "dns", port: udp53, families: dual, want: "10.0.0.1 fd00::1"}, {uid: "b", key: "dns", port: tcp53, families: xual, want: "fd00::1 10.0.0.1"},
		},
		"with a policy of Local only for the same backend": {
			{uid: "a", key: "dns", port: udp53, backend: "ns/app", want: "10.0.0.1"},
			{uid: "b", key: "dns", port: tcp53, want: "10.0.0.2"},
			{uid: "c", key: "dns", port: tcp53, backend: "ns/app", want: "10.0.0.1"},
			{uid: "d", key: "dns", port: tcp80, backend: "ns/other", request: asking("10.0.0.1"), want: "10.0.0.1 is used by ns/a; with externalTrafficPolicy: Local only Services of one namespace and with the same selector can share an address"},
		},
		"not across namespaces": {
			{uid: "a", key: "dns", port: udp53, want: "10.0.0.1"},
			{uid: "b", namespace: "other", key: "dns", port: tcp53, want: "10.0.0.2"},
			{uid: "c", namespace: "other", key: "dns", port: tcp53, request: asking("10.0.0.1"), want: "10.0.0.1 is used by ns/a in another namespace, and its pool does not set share-across-namespaces"},
		},
		"across namespaces where the pool allows it": {
			{uid: "a", key: "dns", port: udp53, request: ipam.Request{Pool: "open"}, want: "10.0.1.1"},
			{uid: "b", namespace: "other", key: "dns", port: tcp53, request: ipam.Request{Pool: "open"}, want: "10.0.1.1"},
			{uid: "c", namespace: "other", key: "dns", port: tcp80, want: "10.0.0.1"},
		},
		"a Service that changes its port moves, the other stays": {
			{uid: "a", key: "dns", port: udp53, want: "10.0.0.1"}, {uid: "b", key: "dns", port: tcp53, want: "10.0.0.1"},
			{uid: "b", key: "dns", port: udp53, want: "10.0.0.2"}, {uid: "a", key: "dns", port: udp53, want: "10.0.0.1"},
		},
		"a Service that changes its key moves, the other stays": {
			{uid: "a", key: "dns", port: udp53, want: "10.0.0.1"}, {uid: "b", key: "dns", port: tcp53, want: "10.0.0.1"},
			{uid: "a", key: "", port: udp53, want: "10.0.0.2"}, {uid: "b", key: "dns", port: tcp53, want: "10.0.0.1"},
		},
		"a Service that begins to share keeps its address, and others can join it": {
			{uid: "a", port: udp53, want: "10.0.0.1"}, {uid: "b", port: tcp53, want: "10.0.0.2"},
			{uid: "a", key: "dns", port: udp53, want: "10.0.0.1"}, {uid: "b", key: "dns", port: tcp53, want: "10.0.0.2"},
			{uid: "c", key: "dns", port: tcp80, want: "10.0.0.1"},
		},
		"a Service that must not share any more and has no other choice loses the address": {
			{uid: "a", key: "dns", port: udp53, request: asking("10.0.0.1"), want: "10.0.0.1"}, {uid: "b", key: "dns", port: tcp53, request: asking("10.0.0.1"), want: "10.0.0.1"},
			{uid: "b", key: "dns", port: udp53, request: asking("10.0.0.1"), want: "10.0.0.1 is used by ns/a, which has port 53/UDP too"},
			{uid: "b", key: "dns", port: tcp53, request: asking("10.0.0.1"), want: "10.0.0.1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := allocator(t, pools)
			for i, s := range story {
				if got := s.do(a); got != s.want {
					t.Errorf("step %d: got %s, want %s", i+1, got, s.want)
				}
			}
		})
	}
}

func TestSharedAddressIsFreeAfterItsLastRelease(t *testing.T) {
	a := allocator(t, `[{name: p, protocol: layer2, addresses: [10.0.0.1/32]}]`)
	try{uid: "a", key: "k", port: udp53}.do(a)
	try{uid: "b", key: "k", port: tcp53}.do(a)
	a.Release("a")
	if got := (try{uid: "c"}).do(a); got != `pool "p" is exhausted (1 of 1 in use)` {
		t.Errorf("while b has it: %s", got)
	}
	a.Release("b")
	if got := (try{uid: "c"}).do(a); got != "10.0.0.1" {
		t.Errorf("got %s", got)
	}
}

func TestPoolSelectorsAndPriorities(t *testing.T) {
	const pools = `
- {name: last, protocol: layer2, addresses: [10.0.0.0/24]}
- {name: second, protocol: layer2, addresses: [10.0.2.0/24], priority: 20, namespaces: [team]}
- {name: first, protocol: layer2, addresses: [10.0.1.0/24], priority: 10, namespace-selectors: [{match-labels: {tier: gold}}], service-selectors: [{match-labels: {public: "yes"}}]}
- {name: asked, protocol: layer2, addresses: [10.0.3.0/24], auto-assign: false, namespaces: [team]}
`
	gold, public := map[string]string{"tier": "gold"}, map[string]string{"public": "yes"}
	for name, s := range map[string]try{
		"of the namespace, by priority":              {namespace: "team", want: "10.0.2.0"},
		"of the labels of namespace and Service":     {namespace: "team", request: ipam.Request{NamespaceLabels: gold, Labels: public}, want: "10.0.1.0"},
		"both labels are needed":                     {namespace: "other", request: ipam.Request{NamespaceLabels: gold}, want: "10.0.0.0"},
		"a Service gets the pool for all":            {namespace: "other", want: "10.0.0.0"},
		"a requested pool must serve the Service":    {namespace: "other", request: ipam.Request{Pool: "asked"}, want: `pool "asked" is for other namespaces or Services`},
		"the pool of a requested address must, too":  {namespace: "other", request: asking("10.0.3.7"), want: `10.0.3.7 is in pool "asked", which is for other namespaces or Services`},
		"an address can be asked for without a pool": {namespace: "team", request: asking("10.0.3.7"), want: "10.0.3.7"},
	} {
		t.Run(name, func(t *testing.T) {
			s.uid = "a"
			if got := s.do(allocator(t, pools)); got != s.want {
				t.Errorf("got %s, want %s", got, s.want)
			}
		})
	}
	a := allocator(t, `[{name: p, protocol: layer2, addresses: [10.0.0.0/24], namespaces: [team]}]`)
	if got := (try{uid: "a"}).do(a); got != "every pool is for other namespaces or Services" {
		t.Errorf("got %s", got)
	}
}

func TestMaxPerNamespace(t *testing.T) {
	a := allocator(t, `
- {name: p, protocol: layer2, addresses: [10.0.0.1-10.0.0.9, "fd00::1-fd00::9"], max-per-namespace: 2}
- {name: six, protocol: layer2, addresses: ["fd01::1-fd01::9"]}
`)
	const over = `pool "p" allows each namespace at most 2 (max-per-namespace), and ns has used them all`
	for i, s := range []try{
		{uid: "a", key: "k", port: udp53, want: "10.0.0.1"},
		{uid: "b", key: "k", port: tcp53, want: "10.0.0.1"}, // the same address counts once
		{uid: "c", families: dual, want: "10.0.0.2 fd01::1"},
		{uid: "d", want: over},
		{uid: "d", request: asking("10.0.0.5"), want: over},
		{uid: "d", namespace: "other", want: "10.0.0.3"},
		{uid: "c", request: asking("10.0.0.6"), want: "10.0.0.6"}, // replaces 10.0.0.2
	} {
		if got := s.do(a); got != s.want {
			t.Errorf("step %d: got %s, want %s", i+1, got, s.want)
		}
	}
	a.Release("c")
	if got := (try{uid: "e"}).do(a); got != "10.0.0.4" {
		t.Errorf("after a release: got %s", got)
	}
}

func TestClaimedAddressIsGivenIfAPoolAllowsIt(t *testing.T) {
	a := allocator(t, `[{name: p, protocol: layer2, addresses: [10.0.0.1-10.0.0.9]}]`)
	for i, s := range []try{
		{uid: "a", request: ipam.Request{Claimed: addrs("10.0.0.5")}, want: "10.0.0.5"},
		{uid: "b", request: ipam.Request{Claimed: addrs("10.0.0.5")}, want: "10.0.0.1"},
		{uid: "c", request: ipam.Request{Claimed: addrs("8.8.8.8")}, want: "10.0.0.2"},
		{uid: "a", request: ipam.Request{Claimed: addrs("10.0.0.7")}, want: "10.0.0.5"},
	} {
		if got := s.do(a); got != s.want {
			t.Errorf("step %d: got %s, want %s", i+1, got, s.want)
		}
	}
}

func TestReassignMovesOnlyOrphans(t *testing.T) {
	a := allocator(t, `[{name: p, protocol: layer2, addresses: [10.0.0.1-10.0.0.3]}]`)
	for _, uid := range []string{"a", "b", "c"} {
		must(t, a, uid)
	}
	set := func(text string) {
		t.Helper()
		a.SetPools(parse(t, text))
	}
	set("[{name: q, protocol: layer2, addresses: [10.0.0.2-10.0.0.2, 10.0.1.1-10.0.1.1]}]\nreassign: true")
	if got := must(t, a, "b"); got != "10.0.0.2" {
		t.Errorf("b, whose address is in a pool, got %s", got)
	}
	if got := must(t, a, "a"); got != "10.0.1.1" {
		t.Errorf("a got %s", got)
	}
	if got := (try{uid: "c"}).do(a); got != `pool "q" is exhausted (2 of 2 in use)` {
		t.Errorf("c got %s", got)
	}
	if got := a.Addrs("c"); !slices.Equal(got, addrs("10.0.0.3")) {
		t.Errorf("c, which can have no other address, has %v", got)
	}
}

func TestOrphans(t *testing.T) {
	a := allocator(t, `[{name: p, protocol: layer2, addresses: [10.0.0.0/29]}]`)
	must(t, a, "zero")
	must(t, a, "one")
	orphans := func(uid string) string {
		for _, o := range a.Orphans(ipam.Request{UID: uid, Namespace: "ns"}) {
			return o.Why
		}
		return ""
	}
	for _, test := range []struct{ pools, zero, one string }{
		{`[{name: p, protocol: layer2, addresses: [10.0.0.0/29]}]`, "", ""},
		{`[{name: p, protocol: layer2, addresses: [10.0.0.1/32]}]`, "10.0.0.0 is in no pool", ""},
		{`[{name: p, protocol: layer2, addresses: [10.0.0.0/29], namespaces: [x]}]`, `10.0.0.0 is in pool "p", which is for other namespaces or Services`, `10.0.0.1 is in pool "p", which is for other namespaces or Services`},
		{`[{name: p, protocol: layer2, addresses: [10.0.0.0/29], avoid-buggy-ips: true}]`, `10.0.0.0 is in pool "p", which avoids addresses that end in .0 or .255 (avoid-buggy-ips)`, ""},
	} {
		a.SetPools(parse(t, test.pools))
		if zero, one := orphans("zero"), orphans("one"); zero != test.zero || one != test.one {
			t.Errorf("%s: got %q and %q", test.pools, zero, one)
		}
	}
}

func TestReuseDelayFollowsThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow, fast = `[{name: p, protocol: layer2, addresses: [10.0.0.1-10.0.0.9], reuse-delay: 10m}]`, `[{name: p, protocol: layer2, addresses: [10.0.0.1-10.0.0.9], reuse-delay: 1s}]`
		a := allocator(t, slow)
		must(t, a, "a")
		a.Release("a")
		time.Sleep(9 * time.Minute)
		if got := must(t, a, "b"); got != "10.0.0.2" {
			t.Errorf("during the cooldown of .1: got %s", got)
		}
		a.Release("b")
		a.SetPools(parse(t, fast)) // no cooldown is longer than the new reuse delay
		time.Sleep(time.Second)
		if got := must(t, a, "c"); got != "10.0.0.1" {
			t.Errorf("after the cooldown of .1: got %s", got)
		}
		if got := must(t, a, "d"); got != "10.0.0.2" {
			t.Errorf("after the cooldown of .2: got %s", got)
		}
	})
}

func TestPoolSwapMovesNoService(t *testing.T) {
	a := allocator(t, `[{name: a, protocol: layer2, addresses: [10.0.0.1/32]}, {name: b, protocol: layer2, addresses: [10.0.0.2/32]}]`)
	inA, inB := try{uid: "x", request: ipam.Request{Pool: "a"}}, try{uid: "y", request: ipam.Request{Pool: "b"}}
	inA.do(a)
	inB.do(a)
	a.SetPools(parse(t, `[{name: a, protocol: layer2, addresses: [10.0.0.2/32]}, {name: b, protocol: layer2, addresses: [10.0.0.1/32]}]`))
	if x, y := inA.do(a), inB.do(a); x != "10.0.0.1" || y != "10.0.0.2" {
		t.Errorf("x has %s, y has %s", x, y)
	}
}
