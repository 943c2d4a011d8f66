package metallb_test

import (
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
)

// parsed converts a file of testdata, and reads the result as the programs do.
func parsed(t *testing.T, name string) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(converted(t, name).Text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConvertedPoolsServeTheServicesThatMetalLBServed(t *testing.T) {
	a := ipam.New()
	a.SetPools(parsed(t, "good-allocation.yaml"))
	for _, test := range []struct {
		name, namespace         string
		namespaceLabels, labels map[string]string
		want                    string
	}{
		{"a Service of nobody in particular", "default", nil, nil, "192.0.2.0"},
		{"a namespace that is named", "shop", nil, nil, "192.0.2.32"},
		{"a namespace with the label", "other", map[string]string{"team": "web"}, nil, "192.0.2.33"},
		{"a Service with the label, by priority", "shop", nil, map[string]string{"tier": "gold"}, "192.0.2.64"},
		{"a Service that an expression excludes", "default", nil, map[string]string{"tier": "gold", "test": "x"}, "192.0.2.1"},
	} {
		got, err := a.Allocate(ipam.Request{
			UID: test.name, Namespace: test.namespace, Name: "s", NamespaceLabels: test.namespaceLabels, Labels: test.labels, Families: []ipam.Family{ipam.IPv4},
		})
		if err != nil || len(got) != 1 || got[0].String() != test.want {
			t.Errorf("%s: got %v, %v; want %s", test.name, got, err, test.want)
		}
	}
}

func TestConvertedPoolsKeepTheAddressesOfServices(t *testing.T) {
	a := ipam.New()
	a.SetPools(parsed(t, "good-layer2.yaml"))
	held := []netip.Addr{netip.MustParseAddr("192.0.2.101"), netip.MustParseAddr("2001:db8:7::9")}
	r := ipam.Request{UID: "u", Namespace: "n", Name: "s", Families: []ipam.Family{ipam.IPv4, ipam.IPv6}, Claimed: held}
	for _, adoption := range a.Adopt(r, false) {
		if adoption.Refused != nil {
			t.Error(adoption.Refused)
		}
	}
	got, err := a.Allocate(r)
	if err != nil || len(got) != 2 || got[0] != held[0] || got[1] != held[1] {
		t.Errorf("got %v, %v; want %v", got, err, held)
	}
}

func TestConvertedRoutesAreThoseOfMetalLB(t *testing.T) {
	c := parsed(t, "good-bgp.yaml")
	pool, ok := c.PoolOf(netip.MustParseAddr("203.0.113.7"))
	if !ok || !pool.Protocol.BGP() || pool.Protocol.Layer2() || len(pool.Advertisements) != 2 {
		t.Fatalf("%+v", pool)
	}
	hosts, aggregate := pool.Advertisements[0], pool.Advertisements[1]
	if hosts.AggregationLength != 32 || hosts.LocalPref != 200 || len(hosts.Communities) != 2 || hosts.Communities[0].String() != "64513:20" ||
		len(hosts.LargeCommunities) != 1 || hosts.LargeCommunities[0].String() != "64513:7:1" || len(hosts.Peers) != 1 || hosts.Peers[0] != "tor-b" {
		t.Errorf("%+v", hosts)
	}
	if aggregate.AggregationLength != 24 || len(aggregate.Communities) != 0 || len(aggregate.Peers) != 0 {
		t.Errorf("%+v", aggregate)
	}
	if pool.Gives(netip.MustParseAddr("203.0.113.0")) {
		t.Error("the pool gives 203.0.113.0")
	}
	if len(c.Peers) != 2 || !c.Peers[0].Selects(map[string]string{"rack": "a"}) || c.Peers[0].Selects(map[string]string{"rack": "b"}) || !c.Peers[1].Selects(map[string]string{"rack": "c"}) {
		t.Errorf("%+v", c.Peers)
	}
	if profile, ok := c.BFDProfile(c.Peers[0].BFDProfile); !ok || profile.DetectMultiplier != 3 || profile.ReceiveInterval.Milliseconds() != 100 {
		t.Errorf("%+v", profile)
	}
	if internal, _ := c.Pool("internal"); internal.AutoAssign || len(internal.Advertisements) != 1 {
		t.Errorf("%+v", internal)
	}
}

func TestConvertedNodesAreThoseOfAllAdvertisements(t *testing.T) {
	for _, test := range []struct {
		file, pool, label, value string
		want                     bool
	}{
		{"good-both.yaml", "edge", "node-role.kubernetes.io/edge", "", true},
		{"good-both.yaml", "edge", "rack", "a", false},
		{"good-links.yaml", "two-links", "kubernetes.io/hostname", "n2", true},
		{"good-links.yaml", "two-links", "kubernetes.io/hostname", "n3", false},
		{"good-links.yaml", "any-link", "kubernetes.io/hostname", "n3", true},
		{"good-nodes.yaml", "racks", "rack", "b", true},
		{"good-nodes.yaml", "racks", "rack", "c", false},
		{"good-notcarried.yaml", "only-red", "rack", "a", false},
		{"good-notcarried.yaml", "nowhere", "rack", "a", false},
	} {
		pool, ok := parsed(t, test.file).Pool(test.pool)
		if !ok || pool.Announces(map[string]string{test.label: test.value}) != test.want {
			t.Errorf("%s: a node with %s=%s announces pool %s: %t", filepath.Base(test.file), test.label, test.value, test.pool, !test.want)
		}
	}
}
