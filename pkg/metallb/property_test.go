package metallb_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/metallb"
)

// The nodes of the random clusters, by their labels.
var randomNodes = []map[string]string{{"rack": "a", "half": "l"}, {"rack": "a", "half": "r"}, {"rack": "b", "half": "l"}, {"rack": "b", "half": "r"}}

// choice is a set of label values. It is written as selectors, one for each element. An
// empty choice selects everything.
type choice []string

func randomChoice(r *rand.Rand) choice {
	return [][]string{nil, nil, {"rack: a"}, {"rack: b"}, {"rack: a", "rack: b"}, {"half: l"}}[r.IntN(6)]
}

func (c choice) yaml(key string) string {
	if len(c) == 0 {
		return ""
	}
	var selectors []string
	for _, label := range c {
		selectors = append(selectors, "{matchLabels: {"+label+"}}")
	}
	return fmt.Sprintf(", %s: [%s]", key, strings.Join(selectors, ", "))
}

func (c choice) matches(labels map[string]string) bool {
	return len(c) == 0 || slices.ContainsFunc(c, func(label string) bool {
		key, value, _ := strings.Cut(label, ": ")
		return labels[key] == value
	})
}

// names are names of pools or peers. Empty names mean all.
type names []string

func randomNames(r *rand.Rand, prefix string, count int) names {
	var some names
	for i := range count {
		if r.IntN(3) == 0 {
			some = append(some, fmt.Sprint(prefix, i))
		}
	}
	return some
}

func (n names) yaml(key string) string {
	if len(n) == 0 {
		return ""
	}
	return fmt.Sprintf(", %s: [%s]", key, strings.Join(n, ", "))
}

func (n names) has(name string) bool { return len(n) == 0 || slices.Contains(n, name) }

// randomMetalLB is a configuration of MetalLB, and what MetalLB does with it.
type randomMetalLB struct {
	pools, peers int
	peerNodes    []choice
	l2, bgp      []struct {
		pools, peers names
		nodes        choice
		localPref    int
	}
}

func newRandomMetalLB(r *rand.Rand) (m randomMetalLB) {
	m.pools, m.peers = 1+r.IntN(3), r.IntN(3)
	for range m.peers {
		m.peerNodes = append(m.peerNodes, randomChoice(r))
	}
	for i := range r.IntN(3) + r.IntN(4) {
		to := &m.l2
		if i%2 == 1 {
			to = &m.bgp
		}
		*to = append(*to, struct {
			pools, peers names
			nodes        choice
			localPref    int
		}{randomNames(r, "pool", m.pools), randomNames(r, "peer", m.peers), randomChoice(r), 100 * r.IntN(3)})
	}
	return m
}

func (m randomMetalLB) yaml() string {
	var b strings.Builder
	object := func(kind, name, spec string) {
		version := "v1beta1"
		if kind == "BGPPeer" {
			version = "v1beta2"
		}
		fmt.Fprintf(&b, "---\napiVersion: metallb.io/%s\nkind: %s\nmetadata: {name: %s}\nspec: {%s}\n", version, kind, name, strings.TrimPrefix(spec, ", "))
	}
	for i := range m.pools {
		object("IPAddressPool", fmt.Sprint("pool", i), fmt.Sprintf("addresses: [10.0.%d.0/24]", i))
	}
	for i, nodes := range m.peerNodes {
		object("BGPPeer", fmt.Sprint("peer", i), fmt.Sprintf("myASN: 64512, peerASN: 64512, peerAddress: 192.0.2.%d%s", i+1, nodes.yaml("nodeSelectors")))
	}
	for i, a := range m.l2 {
		object("L2Advertisement", fmt.Sprint("l2-", i), a.pools.yaml("ipAddressPools")+a.nodes.yaml("nodeSelectors"))
	}
	for i, a := range m.bgp {
		object("BGPAdvertisement", fmt.Sprint("bgp-", i), fmt.Sprintf("localPref: %d%s%s%s", a.localPref, a.pools.yaml("ipAddressPools"), a.peers.yaml("peers"), a.nodes.yaml("nodeSelectors")))
	}
	return b.String()
}

// announcements returns what MetalLB does, each announcement of a node as a text.
func (m randomMetalLB) announcements() map[string]bool {
	all := map[string]bool{}
	for p := range m.pools {
		pool := fmt.Sprint("pool", p)
		for n, labels := range randomNodes {
			for _, a := range m.l2 {
				if a.pools.has(pool) && a.nodes.matches(labels) {
					all[fmt.Sprintf("node %d answers for %s", n, pool)] = true
				}
			}
			for _, a := range m.bgp {
				for i, nodes := range m.peerNodes {
					if peer := fmt.Sprint("peer", i); a.pools.has(pool) && a.nodes.matches(labels) && a.peers.has(peer) && nodes.matches(labels) {
						all[fmt.Sprintf("node %d advertises %s to %s, localpref %d", n, pool, peer, a.localPref)] = true
					}
				}
			}
		}
	}
	return all
}

// announcementsOf returns what this project does, in the same form.
func announcementsOf(c *config.Config) map[string]bool {
	all := map[string]bool{}
	for _, pool := range c.Pools {
		for n, labels := range randomNodes {
			if !pool.Announces(labels) {
				continue
			}
			if pool.Protocol.Layer2() {
				all[fmt.Sprintf("node %d answers for %s", n, pool.Name)] = true
			}
			for _, a := range pool.Advertisements {
				for _, peer := range c.Peers {
					if names(a.Peers).has(peer.Name) && peer.Selects(labels) {
						all[fmt.Sprintf("node %d advertises %s to %s, localpref %d", n, pool.Name, peer.Name, a.LocalPref)] = true
					}
				}
			}
		}
	}
	return all
}

// Whatever the advertisements are, nothing that MetalLB announces is missing. If everything
// is carried over, nothing is announced that MetalLB does not announce.
func TestConvertedConfigurationAnnouncesWhatMetalLBAnnounces(t *testing.T) {
	exact, wider := 0, 0
	for seed := range uint64(1000) {
		m := newRandomMetalLB(rand.New(rand.NewPCG(seed, 1)))
		r, err := convert("random", m.yaml())
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, m.yaml())
		}
		c, err := config.Parse([]byte(r.Text))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		want, got := m.announcements(), announcementsOf(c)
		for a := range want {
			if !got[a] {
				t.Fatalf("seed %d: %s only in MetalLB\n%s\n%s", seed, a, m.yaml(), r.Text)
			}
		}
		if r.Count(metallb.NotCarried) > 0 {
			wider++
			continue
		}
		exact++
		if !maps.Equal(want, got) {
			t.Fatalf("seed %d: got %v\nwant %v\n%s\n%s", seed, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)), m.yaml(), r.Text)
		}
	}
	if exact < 300 || wider < 50 {
		t.Errorf("%d configurations were carried over, %d were not: the test does not look at both", exact, wider)
	}
}
