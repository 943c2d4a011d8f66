package election_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
)

var nodes = []string{"node-1", "node-2", "node-3", "node-4", "node-5"}

func TestOwnerIsTheSameInEveryVersion(t *testing.T) {
	for addr, want := range map[string]string{
		"192.168.120.200": "node-4",
		"192.168.120.201": "node-5",
		"192.168.120.202": "node-1",
		"2001:db8::1":     "node-1",
	} {
		if got := election.Owner(netip.MustParseAddr(addr), nodes); got != want {
			t.Errorf("Owner(%s) = %s, want %s", addr, got, want)
		}
	}
}

func TestOwnerWithoutCandidatesIsEmpty(t *testing.T) {
	if got := election.Owner(netip.MustParseAddr("10.0.0.1"), nil); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestOwnerDoesNotDependOnTheOrderOfCandidates(t *testing.T) {
	reversed := slices.Clone(nodes)
	slices.Reverse(reversed)
	for _, vip := range vips(1000) {
		if a, b := election.Owner(vip, nodes), election.Owner(vip, reversed); a != b {
			t.Fatalf("%s: %s and %s", vip, a, b)
		}
	}
}

func TestOwnerChangesOnlyForVIPsOfADeadNode(t *testing.T) {
	heirs := map[string]int{}
	for _, vip := range vips(5000) {
		before := election.Owner(vip, nodes)
		after := election.Owner(vip, nodes[:4])
		if before != "node-5" && after != before {
			t.Fatalf("%s moved from %s to %s although %s is alive", vip, before, after, before)
		}
		if before == "node-5" {
			heirs[after]++
		}
	}
	for _, n := range nodes[:4] {
		if heirs[n] < 150 || heirs[n] > 350 { // 250 expected
			t.Errorf("the dead node had about 1000 addresses, and %s now has %d of them", n, heirs[n])
		}
	}
}

func TestOwnersShareNeighbouringVIPsEvenly(t *testing.T) {
	count := map[string]int{}
	for _, vip := range vips(5000) {
		count[election.Owner(vip, nodes)]++
	}
	for _, n := range nodes {
		if count[n] < 850 || count[n] > 1150 {
			t.Errorf("%s owns %d of 5000", n, count[n])
		}
	}
}

func BenchmarkOwnerOf100Candidates(b *testing.B) {
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf("worker-%03d.example.com", i))
	}
	vip := netip.MustParseAddr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		election.Owner(vip, many)
	}
}

func vips(n int) []netip.Addr {
	list := make([]netip.Addr, n)
	addr := netip.MustParseAddr("10.20.0.0")
	for i := range list {
		list[i] = addr
		addr = addr.Next()
	}
	return list
}

func TestOwnerHasTheLowestCost(t *testing.T) {
	vip := netip.MustParseAddr("192.168.120.0")
	for range 1000 {
		vip = vip.Next()
		cheapest := slices.MinFunc(nodes, func(a, b string) int { return cmp.Compare(election.Cost(vip, a), election.Cost(vip, b)) })
		if owner := election.Owner(vip, nodes); cheapest != owner {
			t.Errorf("%s: %s has the lowest cost, but %s is the owner", vip, cheapest, owner)
		}
	}
}
