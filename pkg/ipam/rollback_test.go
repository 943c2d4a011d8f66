package ipam

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// dump returns everything that a later decision can depend on.
func (a *Allocator) dump() string {
	var b strings.Builder
	for _, uid := range slices.Sorted(maps.Keys(a.claims)) {
		c := a.claims[uid]
		fmt.Fprintf(&b, "%s %v from %v\n", uid, c.addrs, c.from)
	}
	for _, addr := range slices.SortedFunc(maps.Keys(a.users), netip.Addr.Compare) {
		fmt.Fprintf(&b, "%s has %v of %s\n", addr, a.users[addr], a.homeOf(addr).Name)
	}
	for _, s := range a.spaces {
		fmt.Fprintf(&b, "%s used %v cooldowns %v queue %v\n", s.pool.Name, s.used, s.cooldowns, s.queue)
	}
	fmt.Fprintf(&b, "shared %v, held %v, leavers %v, chances %d\n", a.shared, a.held, slices.Sorted(maps.Keys(a.leavers)), a.chances)
	return b.String()
}

// w1 and w2 share an address that r asks for, and both ask for others: w1 for a free one,
// w2 for one that stays in use. So r cannot be served, and every attempt is undone.
func TestRearrangementThatFailsLeavesNoTrace(t *testing.T) {
	c, err := config.Parse([]byte("address-pools: [{name: p, protocol: layer2, addresses: [10.0.0.1-10.0.0.9], max-per-namespace: 9}]"))
	if err != nil {
		t.Fatal(err)
	}
	a := New()
	a.SetPools(c)
	ask := func(uid, addr, key string, port uint16) error {
		_, err := a.Allocate(Request{UID: uid, Name: uid, Namespace: "ns", Families: []Family{IPv4}, Addrs: []netip.Addr{netip.MustParseAddr(addr)},
			Sharing: Sharing{Key: key, Ports: []Port{{Protocol: "TCP", Number: port}}}})
		return err
	}
	for _, first := range []struct {
		uid, addr string
		port      uint16
	}{{"w1", "10.0.0.1", 1}, {"w2", "10.0.0.1", 2}, {"stays", "10.0.0.2", 3}, {"released", "10.0.0.3", 4}, {"r", "10.0.0.4", 5}} {
		if err := ask(first.uid, first.addr, "k", first.port); err != nil {
			t.Fatal(err)
		}
	}
	a.Release("released")
	for _, uid := range []string{"w1", "w2"} {
		if err := ask(uid, "10.0.0.2", "k", 3); err == nil { // the port of "stays"
			t.Fatal("not refused")
		}
	}
	refused := func() string {
		err := ask("r", "10.0.0.1", "l", 5)
		if err == nil {
			t.Fatal("r was served")
		}
		return err.Error()
	}
	text := refused()
	before := a.dump()
	for range 3 {
		if again := refused(); again != text {
			t.Errorf("first %q, then %q", text, again)
		}
	}
	if after := a.dump(); after != before {
		t.Errorf("before\n%s\nafter\n%s", before, after)
	}
}
