package ipam_test

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
)

var (
	v4   = []ipam.Family{ipam.IPv4}
	v6   = []ipam.Family{ipam.IPv6}
	dual = []ipam.Family{ipam.IPv4, ipam.IPv6}
	xual = []ipam.Family{ipam.IPv6, ipam.IPv4}
)

func TestAllocate(t *testing.T) {
	const pools = `
- {name: tiny, protocol: layer2, addresses: [10.0.0.1/32]}
- {name: six, protocol: layer2, addresses: [fd00::1-fd00::2]}
- {name: both, protocol: layer2, addresses: [10.0.2.0/30, fd02::/126], avoid-buggy-ips: true}
- {name: asked, protocol: layer2, addresses: [10.0.9.0/30], auto-assign: false}
`
	type step struct {
		uid     string
		req     ipam.Request
		release bool
		want    string
	}
	get := func(uid string, families []ipam.Family, want string) step {
		return step{uid: uid, req: ipam.Request{Families: families}, want: want}
	}
	for name, steps := range map[string][]step{
		"pools are filled in file order, addresses in pool order": {
			get("a", v4, "10.0.0.1"), get("b", v4, "10.0.2.1"), get("c", v4, "10.0.2.2"),
		},
		"asking again changes nothing": {
			get("a", v4, "10.0.0.1"), get("b", v4, "10.0.2.1"), get("a", v4, "10.0.0.1"), get("b", v4, "10.0.2.1"),
		},
		"an address that ends in 0 is given unless the pool avoids it": {
			{uid: "a", req: ipam.Request{Families: v4, Pool: "asked"}, want: "10.0.9.0"},
		},
		"a full cluster of pools says how full each is": {
			get("a", v4, "10.0.0.1"), get("b", v4, "10.0.2.1"), get("c", v4, "10.0.2.2"), get("d", v4, "10.0.2.3"),
			get("e", v4, `pool "tiny" is exhausted (1 of 1 in use), pool "both" is exhausted (3 of 3 in use)`),
		},
		"dual stack prefers one pool that has both, in the order of the families": {
			{uid: "a", req: ipam.Request{Families: dual, RequireAll: true}, want: "10.0.2.1 fd02::"},
			{uid: "b", req: ipam.Request{Families: xual, RequireAll: true}, want: "fd02::1 10.0.2.2"},
		},
		"dual stack takes one address from each of two pools when no pool has both": {
			{uid: "1", req: ipam.Request{Families: v4, Addrs: addrs("10.0.2.1")}, want: "10.0.2.1"},
			{uid: "2", req: ipam.Request{Families: v4, Addrs: addrs("10.0.2.2")}, want: "10.0.2.2"},
			{uid: "3", req: ipam.Request{Families: v4, Addrs: addrs("10.0.2.3")}, want: "10.0.2.3"},
			{uid: "a", req: ipam.Request{Families: dual, RequireAll: true}, want: "10.0.0.1 fd00::1"},
		},
		"preferred dual stack makes do with one family, required does not": {
			{uid: "a", req: ipam.Request{Families: dual, Pool: "six"}, want: "fd00::1"},
			{uid: "b", req: ipam.Request{Families: dual, Pool: "six", RequireAll: true}, want: `pool "six" has no IPv4 addresses`},
		},
		"a second family is added without changing the first, and taken away again": {
			get("a", v4, "10.0.0.1"), get("a", dual, "10.0.0.1 fd00::1"), get("a", xual, "fd00::1 10.0.0.1"), get("a", v6, "fd00::1"),
			get("b", v6, "fd00::2"),
		},
		"a pool that is asked for": {
			{uid: "a", req: ipam.Request{Families: v4, Pool: "asked"}, want: "10.0.9.0"},
			{uid: "b", req: ipam.Request{Families: v4, Pool: "nope"}, want: `there is no pool "nope"`},
			get("b", v4, "10.0.0.1"),
			{uid: "b", req: ipam.Request{Families: v4, Pool: "asked"}, want: "10.0.9.1"},
		},
		"an address that is asked for": {
			{uid: "a", req: ipam.Request{Families: v4, Addrs: addrs("10.0.9.2")}, want: "10.0.9.2"},
			{uid: "b", req: ipam.Request{Families: v4, Addrs: addrs("10.0.9.2")}, want: "10.0.9.2 is used by ns/a"},
			{uid: "b", req: ipam.Request{Families: v4, Addrs: addrs("10.7.0.1")}, want: "10.7.0.1 is in no pool"},
			{uid: "b", req: ipam.Request{Families: v4, Addrs: addrs("10.0.2.0")}, want: `10.0.2.0 is in pool "both", which avoids addresses that end in .0 or .255 (avoid-buggy-ips)`},
			{uid: "b", req: ipam.Request{Families: v4, Addrs: addrs("10.0.2.1"), Pool: "asked"}, want: `10.0.2.1 is in pool "both", and the Service asks for pool "asked"`},
			{uid: "b", req: ipam.Request{Families: v4, Addrs: addrs("fd00::1")}, want: "fd00::1 is asked for, but the Service has no IPv6 in its ipFamilies"},
			{uid: "b", req: ipam.Request{Families: dual, Addrs: addrs("10.0.2.1", "10.0.2.2")}, want: "the Service asks for two IPv4 addresses, and can have only one of each family"},
			{uid: "b", req: ipam.Request{Families: dual, Addrs: addrs("10.0.2.1"), RequireAll: true}, want: "the Service requires dual stack, but asks for no IPv6 address"},
			{uid: "a", req: ipam.Request{Families: v4, Addrs: addrs("10.0.9.1")}, want: "10.0.9.1"},
		},
		"a refused request leaves the address that the Service has": {
			get("a", v4, "10.0.0.1"),
			{uid: "a", req: ipam.Request{Families: v4, Pool: "nope"}, want: `there is no pool "nope"`},
			get("b", v4, "10.0.2.1"), get("a", v4, "10.0.0.1"),
		},
		"a released address is in cooldown while another is free in any pool": {
			get("a", v6, "fd00::1"), {uid: "a", release: true}, get("b", v6, "fd00::2"), get("c", v6, "fd02::"), get("d", v6, "fd02::1"),
		},
		"the address that was released first is used first": {
			get("a", v6, "fd00::1"), get("b", v6, "fd00::2"), get("c", v6, "fd02::"), get("d", v6, "fd02::1"), get("e", v6, "fd02::2"), get("f", v6, "fd02::3"),
			{uid: "b", release: true}, {uid: "a", release: true}, get("g", v6, "fd00::2"), get("h", v6, "fd00::1"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := allocator(t, pools)
			for i, s := range steps {
				if s.release {
					a.Release(s.uid)
					continue
				}
				s.req.UID, s.req.Namespace, s.req.Name = s.uid, cmp.Or(s.req.Namespace, "ns"), s.uid
				got, err := a.Allocate(s.req)
				text := join(got)
				if err != nil {
					text = err.Error()
					if _, ok := errors.AsType[*ipam.Error](err); !ok {
						t.Errorf("step %d: %T is not *ipam.Error", i+1, err)
					}
				}
				if text != s.want {
					t.Errorf("step %d: got %s, want %s", i+1, text, s.want)
				}
			}
		})
	}
}

func TestCooldownDelaysTheReuseOfAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := allocator(t, `[{name: p, protocol: layer2, addresses: [10.0.0.1-10.0.0.9]}]`)
		for _, uid := range []string{"a", "b", "c"} {
			must(t, a, uid)
		}
		a.Release("b")
		time.Sleep(config.DefaultReuseDelay - time.Second)
		if got := must(t, a, "d"); got != "10.0.0.4" {
			t.Errorf("during the cooldown of .2: got %s", got)
		}
		if u := a.Usage()[0]; u != (ipam.Usage{Pool: "p", Family: ipam.IPv4, Usable: 9, Used: 3, Cooldown: 1}) {
			t.Errorf("usage %+v", u)
		}
		time.Sleep(time.Second)
		if got := must(t, a, "e"); got != "10.0.0.2" {
			t.Errorf("after the cooldown of .2: got %s", got)
		}
	})
}

func TestOrphanStaysWithItsService(t *testing.T) {
	a := allocator(t, `[{name: p, protocol: layer2, addresses: [10.0.0.1-10.0.0.2]}]`)
	must(t, a, "a")
	must(t, a, "b")
	a.SetPools(parse(t, `[{name: q, protocol: layer2, addresses: [10.0.0.2-10.0.0.3]}]`))
	if got := must(t, a, "a"); got != "10.0.0.1" {
		t.Errorf("a got %s", got)
	}
	if got := must(t, a, "c"); got != "10.0.0.3" {
		t.Errorf("c got %s", got)
	}
	a.Release("a")
	if _, err := a.Allocate(ipam.Request{UID: "d", Families: v4}); err == nil || err.Error() != `pool "q" is exhausted (2 of 2 in use)` {
		t.Errorf("got %v", err)
	}
}

func TestCooldownSurvivesAChangeOfPools(t *testing.T) {
	a := allocator(t, `[{name: p, protocol: layer2, addresses: [10.0.0.1-10.0.0.4]}]`)
	must(t, a, "a")
	a.Release("a")
	a.SetPools(parse(t, `[{name: q, protocol: layer2, addresses: [10.0.0.0/29]}]`))
	if got := must(t, a, "b"); got != "10.0.0.0" {
		t.Errorf("b got %s", got)
	}
	if got := must(t, a, "c"); got != "10.0.0.2" {
		t.Errorf("c got %s, but .1 should be in cooldown", got)
	}
}

func TestRefusalSaysThatNoPoolServes(t *testing.T) {
	_, err := ipam.New().Allocate(ipam.Request{UID: "a", Families: v4})
	if err == nil || err.Error() != "no pool serves Services that do not ask for a pool" {
		t.Errorf("got %v", err)
	}
}

func allocator(t testing.TB, pools string) *ipam.Allocator {
	t.Helper()
	a := ipam.New()
	a.SetPools(parse(t, pools))
	return a
}

func parse(t testing.TB, pools string) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte("address-pools: " + pools))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func must(t testing.TB, a *ipam.Allocator, uid string) string {
	t.Helper()
	got, err := a.Allocate(ipam.Request{UID: uid, Namespace: "ns", Name: uid, Families: v4})
	if err != nil {
		t.Fatal(err)
	}
	return join(got)
}

func addrs(texts ...string) []netip.Addr {
	var list []netip.Addr
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func join(list []netip.Addr) string {
	return strings.Trim(fmt.Sprint(list), "[]")
}

func TestPoolSplitMovesNoService(t *testing.T) {
	a := allocator(t, `[{name: a, protocol: layer2, addresses: [10.0.0.0/28]}]`)
	if got := a.Adopt(ipam.Request{UID: "s", Namespace: "ns", Name: "s", Pool: "a", Claimed: addrs("10.0.0.12")}, false); got[0].Refused != nil {
		t.Fatal(got)
	}
	a.SetPools(parse(t, `[{name: a, protocol: layer2, addresses: [10.0.0.0/29]}, {name: b, protocol: layer2, addresses: [10.0.0.8/29]}]`))
	for _, step := range []struct{ pool, want string }{{"a", "10.0.0.12"}, {"", "10.0.0.12"}, {"b", "10.0.0.12"}, {"a", "10.0.0.0"}} {
		got, err := a.Allocate(ipam.Request{UID: "s", Namespace: "ns", Name: "s", Families: v4, Pool: step.pool})
		if err != nil || got[0].String() != step.want {
			t.Errorf("asking for pool %q: %v (%v), want %s", step.pool, got, err, step.want)
		}
	}
}

func TestDualStackMovesBothFamiliesOrNone(t *testing.T) {
	a := allocator(t, `[{name: a, protocol: layer2, addresses: [10.0.0.1/32, "fd00::1/128"]}, {name: b, protocol: layer2, addresses: [10.0.1.1/32, "fd01::1/128"]}]`)
	both := []ipam.Family{ipam.IPv4, ipam.IPv6}
	if _, err := a.Allocate(ipam.Request{UID: "other", Namespace: "ns", Name: "other", Families: v4, Pool: "a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Allocate(ipam.Request{UID: "s", Namespace: "ns", Name: "s", Families: both, Pool: "b"}); err != nil {
		t.Fatal(err)
	}
	if got, err := a.Allocate(ipam.Request{UID: "s", Namespace: "ns", Name: "s", Families: both, Pool: "a"}); err == nil {
		t.Errorf("moved to %v", got)
	}
	if got := a.Addrs("s"); !slices.Equal(got, addrs("10.0.1.1", "fd01::1")) {
		t.Errorf("holds %v", got)
	}
}

func TestCooldownHoldsWhileAnyPoolHasAFreeAddress(t *testing.T) {
	a := allocator(t, `[{name: a, protocol: layer2, addresses: [10.0.0.1/32]}, {name: b, protocol: layer2, addresses: [10.0.1.1/32]}]`)
	must(t, a, "x")
	a.Release("x")
	for _, want := range []string{"10.0.1.1", "10.0.0.1"} {
		if got := must(t, a, want); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
