package config_test

import (
	"bytes"
	"net/netip"
	"reflect"
	"testing"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

const orphanedPools = `
peers:
- {name: r1, my-asn: 64512, peer-asn: 64513, peer-address: 192.0.2.1}
address-pools:
- name: routed
  protocol: bgp
  addresses: [10.0.0.0/24, "fd00::/120"]
  withdraw-without-endpoints: true
  bgp-advertisements:
  - {communities: [64512:1, "64512:1:2"], localpref: 5, peers: [r1]}
  - {aggregation-length: 24}
  node-selectors:
  - {match-labels: {rack: a7}, match-expressions: [{key: zone, operator: NotIn, values: [x, y]}]}
  - {match-expressions: [{key: old, operator: DoesNotExist}]}
- {name: switched, protocol: layer2, addresses: [10.0.1.0/24], interfaces: [eth0, eth1], ignore-exclude-label: true, conflicts: announce, spread: true, preferred-nodes: [{match-labels: {edge: a}}]}
`

func TestOrphansSurviveThePublication(t *testing.T) {
	c, err := config.Parse([]byte(orphanedPools))
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Orphan{
		{Addr: netip.MustParseAddr("10.0.0.7"), UIDs: []string{"a", "b"}, Pool: &c.Pools[0]},
		{Addr: netip.MustParseAddr("10.0.1.1"), UIDs: []string{"c"}, Pool: &c.Pools[1]},
		{Addr: netip.MustParseAddr("fd00::1"), UIDs: []string{"a"}, Pool: &c.Pools[0]},
	}
	text, err := config.EncodeOrphans(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := config.DecodeOrphans(text)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%v, %v from\n%s", got, err, text)
	}
	byAddr := map[netip.Addr]config.Orphan{}
	for _, o := range got {
		byAddr[o.Addr] = o
	}
	for _, w := range want {
		g := byAddr[w.Addr]
		if !reflect.DeepEqual(g.UIDs, w.UIDs) || g.Pool.Name != w.Pool.Name || g.Pool.Protocol != w.Pool.Protocol || g.Pool.WithdrawWithoutEndpoints != w.Pool.WithdrawWithoutEndpoints || g.Pool.Spread != w.Pool.Spread ||
			!reflect.DeepEqual(g.Pool.Advertisements, w.Pool.Advertisements) || !reflect.DeepEqual(g.Pool.Interfaces, w.Pool.Interfaces) {
			t.Errorf("got %+v in pool %+v, want %+v in pool %+v", g, g.Pool, w, w.Pool)
		}
		for _, set := range []labels.Set{{}, {"rack": "a7"}, {"rack": "a7", "zone": "x"}, {"old": "1"}, {"old": "1", "rack": "a7"}} {
			if g.Pool.Announces(set) != w.Pool.Announces(set) {
				t.Errorf("%s: a node with %v announces: %v", w.Addr, set, g.Pool.Announces(set))
			}
		}
	}
}

func FuzzDecodeOrphans(f *testing.F) {
	c, err := config.Parse([]byte(orphanedPools))
	if err != nil {
		f.Fatal(err)
	}
	text, err := config.EncodeOrphans([]config.Orphan{{Addr: netip.MustParseAddr("10.0.0.7"), UIDs: []string{"a"}, Pool: &c.Pools[0]}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`[{"protocol":"layer2","nodeSelectors":["a in (b)"],"addresses":[{"address":"::ffff:1.2.3.4"}]}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		orphans, err := config.DecodeOrphans(text)
		if err != nil {
			return
		}
		first, err := config.EncodeOrphans(orphans)
		if err != nil {
			t.Fatal(err)
		}
		again, err := config.DecodeOrphans(first)
		if err != nil {
			t.Fatalf("cannot read its own text: %v\n%s", err, first)
		}
		if second, err := config.EncodeOrphans(again); err != nil || !bytes.Equal(first, second) {
			t.Errorf("%s became %s (%v)", first, second, err)
		}
	})
}
