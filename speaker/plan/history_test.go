package plan

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// histories are the configurations between which random sequences of states
// change: none, pools of all protocols, and pools that vanish, move between
// protocols, or lose their peers.
func histories(t *testing.T) []*config.Config {
	const peers = `
peers:
- {name: tor, my-asn: 64512, peer-asn: 64513, peer-address: 192.0.2.1, password-secret: s}
- {name: edge, my-asn: 64512, peer-asn: 64512, peer-address: 10.9.9.9, node-selectors: [{match-labels: {edge: ""}}]}
`
	spread := parse(t, peers+`
address-pools:
- {name: edge, protocol: layer2, addresses: [192.0.2.0/28], node-selectors: [{match-labels: {edge: ""}}]}
- {name: all, protocol: both, addresses: [192.0.2.16-192.0.2.255]}`)
	for i := range spread.Pools {
		spread.Pools[i].Spread = true
	}
	return []*config.Config{
		nil,
		spread,
		parse(t, peers+`
address-pools:
- {name: edge, protocol: layer2, addresses: [192.0.2.0/28], node-selectors: [{match-labels: {edge: ""}}]}
- {name: vlan, protocol: both, addresses: [192.0.2.16/28], interfaces: [vlan7], bgp-advertisements: [{aggregation-length: 30}, {peers: [edge], localpref: 7}]}
- {name: routed, protocol: bgp, addresses: [192.0.2.32/28], bgp-advertisements: [{communities: [64512:7]}]}`),
		parse(t, peers+`
address-pools:
- {name: all, protocol: bgp, addresses: [192.0.2.0/27]}`),
		parse(t, `
address-pools:
- {name: all, protocol: both, addresses: [192.0.2.0/24], preferred-nodes: [{match-labels: {edge: ""}}], ignore-exclude-label: true}`),
		parse(t, peers),
	}
}

func TestPlanIsTheSameWithAndWithoutPrevious(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	configs := histories(t)
	for sequence := range 30 {
		var previous Plan
		c := configs[rng.IntN(len(configs))]
		for step := range 40 {
			if rng.IntN(4) == 0 {
				c = configs[rng.IntN(len(configs))]
			}
			s := randomState(rng, c)
			fresh := Make(s, Plan{})
			next := Make(s, previous)
			if next.Describe() != fresh.Describe() {
				t.Fatalf("sequence %d, step %d: with previous\n%swithout\n%s", sequence, step, next.Describe(), fresh.Describe())
			}
			if a, b := visible(next), visible(fresh); !reflect.DeepEqual(a, b) {
				t.Fatalf("sequence %d, step %d: with previous\n%+v\nwithout\n%+v", sequence, step, a, b)
			}
			if again := Make(s, next); !reflect.DeepEqual(visible(again), visible(fresh)) {
				t.Fatalf("sequence %d, step %d: the plan changes although the state does not", sequence, step)
			}
			previous = next
		}
	}
}

// visible returns a plan without the fields that only save time.
func visible(p Plan) Plan {
	p.groups, p.owners, p.divisions = nil, nil, nil
	return p
}

// orphans returns published orphans of a pool of layer 2: 192.0.2.0/24 and 2001:db8::1.
func orphans() map[netip.Addr]*config.Pool {
	pool := &config.Pool{Protocol: config.Layer2}
	published := map[netip.Addr]*config.Pool{addr("2001:db8::1"): pool}
	for i := range 256 {
		published[netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})] = pool
	}
	return published
}

// history is what all random states of a test have in common.
var history = struct {
	orphans map[netip.Addr]*config.Pool
	earlier *config.Config
}{orphans(), &config.Config{}}

func randomState(rng *rand.Rand, c *config.Config) State {
	s := State{
		Node: "node1", Config: c, Conflicts: map[netip.Addr]string{},
		Addrs:      []netip.Addr{netip.MustParseAddr("10.0.0.1")},
		Interfaces: []Interface{{Name: "eth0", IPv4: netip.MustParsePrefix("192.0.2.99/24")}},
		Routers:    map[string]Router{"tor": {Link: 2, Direct: rng.IntN(2) == 0, Password: "p"}},
	}
	if rng.IntN(2) == 0 {
		s.Orphans = history.orphans
	}
	if rng.IntN(4) == 0 {
		s.Earlier = history.earlier
	}
	if rng.IntN(4) == 0 {
		s.NodeAddrs = map[netip.Addr]string{netip.AddrFrom4([4]byte{192, 0, 2, byte(rng.IntN(48))}): "node3"}
	}
	if rng.IntN(8) == 0 {
		s.Fenced = "it has no link"
	}
	for i := range 8 {
		name := fmt.Sprint("node", i)
		n := Node{Name: name, Cordoned: rng.IntN(5) == 0}
		if rng.IntN(2) == 0 {
			n.Labels = map[string]string{"edge": ""}
		}
		if rng.IntN(10) == 0 {
			n.Excluded = "label"
		}
		n.ExcludeLabel = rng.IntN(10) == 0
		if i != 1 || rng.IntN(10) > 0 {
			s.Nodes = append(s.Nodes, n)
		}
		m := randomMember(rng, name, i)
		if rng.IntN(5) > 0 {
			s.Members = append(s.Members, m)
		}
		if i == 1 || slices.ContainsFunc(s.Members, func(m Member) bool { return m.Name == name }) || rng.IntN(2) == 0 {
			s.Holders = append(s.Holders, m)
		}
	}
	if rng.IntN(10) == 0 {
		s.CannotSpread = "the kernel has no nftables"
	}
	if rng.IntN(2) == 0 {
		s.Networks = map[string][]NodeNetwork{"node7": {{"eth0", netip.MustParsePrefix("192.0.2.32/28")}}}
	}
	for i := range 48 {
		vip := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		if rng.IntN(10) == 0 {
			s.Conflicts[vip] = "02:00:00:00:00:99"
		}
		s.Services = append(s.Services, Service{
			Name: fmt.Sprint("default/s", i), VIPs: []netip.Addr{vip}, Sticky: i%11 == 0,
			Preferred: []string{"", "", "", "node1", "node2"}[rng.IntN(5)],
			Local:     i%7 == 0, Endpoints: map[string]int{"node1": rng.IntN(4), "node2": rng.IntN(40), "node5": 1},
			Spread:        []*bool{nil, nil, nil, new(true), new(false)}[rng.IntN(5)],
			EndpointNodes: []string{fmt.Sprint("node", rng.IntN(8)), fmt.Sprint("node", rng.IntN(8))},
		})
	}
	return s
}

func randomMember(rng *rand.Rand, name string, number int) Member {
	m := Member{Name: name, Suppressed: rng.IntN(5) == 0, Spreads: rng.IntN(5) > 0, HandsOn: rng.IntN(5) > 0}
	networks := []string{"192.0.2.0/24", "10.0.0.0/8", "192.0.2.16/28"}
	segment := func(link string) Segment {
		seg := Segment{Link: link, Networks: nets(networks[rng.IntN(3)]), Dead: rng.IntN(5) == 0}
		if rng.IntN(10) > 0 {
			host := seg.Networks[0].Addr()
			for range number + 1 {
				host = host.Next()
			}
			seg.IPv4 = netip.PrefixFrom(host, seg.Networks[0].Bits())
		}
		return seg
	}
	if rng.IntN(5) == 0 {
		m.HasRules = map[netip.Addr]bool{}
		for i := range 256 {
			m.HasRules[netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})] = rng.IntN(2) == 0
		}
	}
	m.Segments = append(m.Segments, segment("eth0"))
	if rng.IntN(2) == 0 {
		m.Segments = append(m.Segments, segment("vlan7"))
	}
	return m
}
