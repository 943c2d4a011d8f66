package ipam_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
)

// adoption is one call of Adopt for one address. It wants "", a part of the refusal, or a
// part of the warning after "warning: ".
type adoption struct {
	uid, namespace, addr string
	key                  string
	port                 ipam.Port
	trust                bool
	want                 string
}

func (d adoption) do(t *testing.T, a *ipam.Allocator) {
	t.Helper()
	if d.namespace == "" {
		d.namespace = "ns"
	}
	got := a.Adopt(ipam.Request{
		UID: d.uid, Name: d.uid, Namespace: d.namespace, Families: v4, Claimed: addrs(d.addr),
		Sharing: ipam.Sharing{Key: d.key, Ports: []ipam.Port{d.port}},
	}, d.trust)[0]
	switch warning, isWarning := strings.CutPrefix(d.want, "warning: "); {
	case isWarning && (got.Refused != nil || !strings.Contains(got.Warning, warning)):
		t.Errorf("%s: %+v, want the warning %q", d.uid, got, warning)
	case isWarning:
	case d.want == "" && (got.Refused != nil || got.Warning != ""):
		t.Errorf("%s: refused %v, warning %q", d.uid, got.Refused, got.Warning)
	case d.want != "" && (got.Refused == nil || !strings.Contains(got.Refused.Msg, d.want)):
		t.Errorf("%s: refused %v, want %q", d.uid, got.Refused, d.want)
	}
	if has := join(a.Addrs(d.uid)) == d.addr; has != (got.Refused == nil) {
		t.Errorf("%s holds %v after %+v", d.uid, a.Addrs(d.uid), got)
	}
}

func TestAdoptionHonoursThePools(t *testing.T) {
	const pools = `
- {name: p, protocol: layer2, addresses: [10.0.0.0/29], avoid-buggy-ips: true}
- {name: bank, protocol: layer2, addresses: [10.0.1.0/29], namespaces: [bank]}
- {name: open, protocol: layer2, addresses: [10.0.2.0/29], share-across-namespaces: true}
`
	for name, story := range map[string][]adoption{
		"an address of a pool":                {{uid: "a", addr: "10.0.0.1"}},
		"an address of no pool":               {{uid: "a", addr: "192.0.2.1", want: "192.0.2.1 is in no pool"}},
		"an address of no pool, with trust":   {{uid: "a", addr: "192.0.2.1", trust: true}},
		"another namespace's pool":            {{uid: "a", addr: "10.0.1.1", want: "for other namespaces"}, {uid: "b", namespace: "bank", addr: "10.0.1.1"}},
		"an address that the pool avoids":     {{uid: "a", addr: "10.0.0.0", want: "avoid-buggy-ips"}},
		"a node's address":                    {{uid: "a", addr: "10.0.0.3", want: "10.0.0.3 is an address of node n1"}},
		"a node's address, even with trust":   {{uid: "a", addr: "10.0.0.3", trust: true, want: "node n1"}},
		"an address of another Service":       {{uid: "a", addr: "10.0.0.1"}, {uid: "b", addr: "10.0.0.1", want: "used by ns/a"}},
		"a published orphan":                  {{uid: "orphan", addr: "10.9.0.1"}},
		"the published orphan of another one": {{uid: "thief", addr: "10.9.0.1", want: "in no pool"}},
		"a shared address": {
			{uid: "a", addr: "10.0.0.1", key: "k", port: udp53}, {uid: "b", addr: "10.0.0.1", key: "k", port: tcp53},
			{uid: "c", addr: "10.0.0.1", key: "k", port: tcp53, want: "which has port 53/TCP too"},
		},
		"an address shared across namespaces, as MetalLB allows it": {
			{uid: "a", addr: "10.0.0.1", key: "k", port: udp53}, {uid: "b", namespace: "other", addr: "10.0.0.1", key: "k", port: tcp53, want: "warning: shared with ns/a in another namespace"},
		},
		"an address shared across namespaces, as the pool allows it": {
			{uid: "a", addr: "10.0.2.1", key: "k", port: udp53}, {uid: "b", namespace: "other", addr: "10.0.2.1", key: "k", port: tcp53},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := allocator(t, pools)
			a.SetReserved(map[netip.Addr]string{netip.MustParseAddr("10.0.0.3"): "an address of node n1"})
			a.SetPublished([]config.Orphan{{Addr: netip.MustParseAddr("10.9.0.1"), UIDs: []string{"orphan"}, Pool: &config.Pool{Name: "gone", Protocol: config.BGP}}})
			for _, d := range story {
				d.do(t, a)
			}
		})
	}
}

func TestAdoptedSharingAcrossNamespacesStaysButNobodyJoins(t *testing.T) {
	a := allocator(t, `[{name: p, protocol: layer2, addresses: [10.0.0.1-10.0.0.2]}]`)
	adoption{uid: "a", addr: "10.0.0.1", key: "k", port: udp53}.do(t, a)
	adoption{uid: "b", namespace: "other", addr: "10.0.0.1", key: "k", port: tcp53, want: "warning: "}.do(t, a)
	for _, s := range []try{
		{uid: "b", namespace: "other", key: "k", port: tcp53, want: "10.0.0.1"},
		{uid: "a", key: "k", port: udp53, want: "10.0.0.1"},
		{uid: "c", namespace: "third", key: "k", port: tcp80, want: "10.0.0.2"},
		{uid: "d", namespace: "third", key: "k", port: tcp80, request: asking("10.0.0.1"), want: "10.0.0.1 is used by ns/a in another namespace, and its pool does not set share-across-namespaces"},
	} {
		if got := s.do(a); got != s.want {
			t.Errorf("%s: got %s, want %s", s.uid, got, s.want)
		}
	}
}

func TestOrphansArePublishedWithTheirLastPool(t *testing.T) {
	a := allocator(t, `[{name: p, protocol: layer2, addresses: [10.0.0.1-10.0.0.3], interfaces: [eth7]}]`)
	must(t, a, "a")
	must(t, a, "b")
	inP := try{uid: "c", request: ipam.Request{Pool: "p"}}
	inP.do(a)
	if got := a.AllOrphans(); len(got) > 0 {
		t.Fatalf("orphans without a change: %v", got)
	}
	a.SetPools(parse(t, `[{name: q, protocol: layer2, addresses: [10.0.0.2-10.0.0.3]}]`))
	inP.do(a)
	got := a.AllOrphans()
	if len(got) != 2 || got[0].Addr.String() != "10.0.0.1" || got[0].Pool.Name != "p" || got[0].Pool.Interfaces[0] != "eth7" || got[0].UIDs[0] != "a" ||
		got[1].Addr.String() != "10.0.0.3" || got[1].Pool.Name != "p" || got[1].UIDs[0] != "c" {
		t.Fatalf("got %+v", got)
	}
	// The next process knows what was published, and moves nobody.
	b := allocator(t, `[{name: q, protocol: layer2, addresses: [10.0.0.2-10.0.0.3]}]`)
	b.SetPublished(got)
	adoption{uid: "a", addr: "10.0.0.1"}.do(t, b)
	b.Adopt(ipam.Request{UID: "c", Name: "c", Namespace: "ns", Families: v4, Pool: "p", Claimed: addrs("10.0.0.3")}, false)
	if has := inP.do(b); has != "10.0.0.3" {
		t.Errorf("c has %s after the restart", has)
	}
	if again := b.AllOrphans(); len(again) != 2 || again[0].Pool.Interfaces[0] != "eth7" || again[1].Pool.Name != "p" {
		t.Errorf("published again: %+v", again)
	}
}

func TestChangedPoolIsNoticedAfterARestart(t *testing.T) {
	a := allocator(t, `[{name: p, protocol: layer2, addresses: [10.0.0.1/32]}, {name: q, protocol: layer2, addresses: [10.0.1.1/32]}]`)
	r := ipam.Request{UID: "s", Name: "s", Namespace: "ns", Families: v4, Claimed: addrs("10.0.0.1"), Pool: "q"}
	if got := a.Adopt(r, false); got[0].Refused != nil {
		t.Fatal(got)
	}
	if got, err := a.Allocate(r); err != nil || join(got) != "10.0.1.1" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestReservedAddressIsNeverGivenAndIsTakenBack(t *testing.T) {
	a := allocator(t, `[{name: p, protocol: layer2, addresses: [10.0.0.3-10.0.0.5]}]`)
	reserve := func(texts ...string) {
		reserved := map[netip.Addr]string{}
		for _, text := range texts {
			reserved[netip.MustParseAddr(text)] = "an address of node n1"
		}
		a.SetReserved(reserved)
	}
	reserve("10.0.0.3", "10.0.0.9")
	if got := must(t, a, "a"); got != "10.0.0.4" {
		t.Errorf("got %s", got)
	}
	if got := (try{uid: "b", request: asking("10.0.0.3")}).do(a); got != "10.0.0.3 is an address of node n1" {
		t.Errorf("got %s", got)
	}
	if u := a.Usage()[0]; u.Usable != 2 || u.Used != 1 {
		t.Errorf("usage %+v", u)
	}
	reserve("10.0.0.4") // the node has another address now: .3 is free, and a has to move
	if got := must(t, a, "a"); got != "10.0.0.3" {
		t.Errorf("a moved to %s", got)
	}
	if lost := a.Losses("a"); len(lost) != 1 || lost[0].Reason != ipam.Reserved || lost[0].Why != "10.0.0.4 is an address of node n1" {
		t.Errorf("lost %+v", lost)
	}
	if got := must(t, a, "b"); got != "10.0.0.5" {
		t.Errorf("b got %s", got)
	}
	if got := (try{uid: "c"}).do(a); got != `pool "p" is exhausted (2 of 2 in use)` {
		t.Errorf("c got %s", got)
	}
	reserve()
	if got := must(t, a, "c"); got != "10.0.0.4" {
		t.Errorf("c got %s", got)
	}
}

func TestReservedAddressIsLostEvenWithoutAnother(t *testing.T) {
	a := allocator(t, `[{name: p, protocol: layer2, addresses: [10.0.0.3/32]}]`)
	must(t, a, "a")
	a.SetReserved(map[netip.Addr]string{netip.MustParseAddr("10.0.0.3"): "the gateway of node n1"})
	if got := (try{uid: "a"}).do(a); got != `10.0.0.3 is the gateway of node n1; pool "p" is exhausted (0 of 0 in use)` {
		t.Errorf("got %s", got)
	}
	if has := a.Addrs("a"); len(has) > 0 {
		t.Errorf("it has %v", has)
	}
}
