package speaker

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// state is three nodes, all alive, and one Service.
func state(change func(*State)) State {
	s := State{
		Node:     "node1",
		Nodes:    []Node{{Name: "node1"}, {Name: "node2"}, {Name: "node3"}},
		Alive:    []string{"node1", "node2", "node3"},
		Services: []Service{{Name: "default/web", VIPs: []netip.Addr{addr("192.0.2.7")}}},
	}
	change(&s)
	return s
}

func TestMakePlan(t *testing.T) {
	pools, err := config.Parse([]byte(`address-pools: [{name: default, protocol: layer2, addresses: [192.0.2.0/24]}]`))
	if err != nil {
		t.Fatal(err)
	}
	special, err := config.Parse([]byte(`address-pools:
- {name: edge, protocol: layer2, addresses: [192.0.2.0/24], node-selectors: [{match-labels: {edge: ""}}]}
- {name: routed, protocol: bgp, addresses: [198.51.100.0/24]}`))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*State)
		want   string
	}{
		{
			name:   "every node is a candidate; an address of no pool is announced all the same",
			change: func(*State) {},
			want:   "192.0.2.7 services=default/web pool=none owner=node3 candidates=node1,node2,node3 reason=OtherOwner\n",
		},
		{
			name:   "the pool is named",
			change: func(s *State) { s.Config = pools; s.Node = "node3" },
			want:   "192.0.2.7 services=default/web pool=default owner=node3 candidates=node1,node2,node3 reason=Owner\n",
		},
		{
			name:   "a dead node is no candidate",
			change: func(s *State) { s.Alive = []string{"node1", "node2"} },
			want:   "192.0.2.7 services=default/web pool=none owner=node1 candidates=node1,node2 reason=Owner\n",
		},
		{
			name: "a node that the pool's selectors leave out is no candidate",
			change: func(s *State) {
				s.Config, s.Nodes[0].Labels, s.Nodes[1].Labels = special, map[string]string{"edge": ""}, map[string]string{"edge": ""}
			},
			want: "192.0.2.7 services=default/web pool=edge owner=node1 candidates=node1,node2 reason=Owner\n",
		},
		{
			name:   "no node is left by the pool's selectors",
			change: func(s *State) { s.Config = special },
			want:   "192.0.2.7 services=default/web pool=edge owner=none candidates=none reason=NoCandidate\n",
		},
		{
			name: "an address of a BGP pool is not announced on the link",
			change: func(s *State) {
				s.Config, s.Services[0].VIPs = special, []netip.Addr{addr("198.51.100.7")}
			},
			want: "198.51.100.7 services=default/web pool=routed owner=none candidates=none reason=OnlyBGP\n",
		},
		{
			name:   "an excluded node is no candidate",
			change: func(s *State) { s.Nodes[2].Excluded = "label" },
			want:   "192.0.2.7 services=default/web pool=none owner=node1 candidates=node1,node2 reason=Owner\n",
		},
		{
			name:   "a speaker that is no node of the cluster is no candidate",
			change: func(s *State) { s.Nodes = s.Nodes[:2] },
			want:   "192.0.2.7 services=default/web pool=none owner=node1 candidates=node1,node2 reason=Owner\n",
		},
		{
			name:   "nobody may announce",
			change: func(s *State) { s.Alive = nil },
			want:   "192.0.2.7 services=default/web pool=none owner=none candidates=none reason=NoCandidate\n",
		},
		{
			name:   "Cluster is announced without endpoints",
			change: func(s *State) { s.Services[0].EndpointNodes = nil },
			want:   "192.0.2.7 services=default/web pool=none owner=node3 candidates=node1,node2,node3 reason=OtherOwner\n",
		},
		{
			name:   "Local only where an endpoint is",
			change: func(s *State) { s.Services[0].Local, s.Services[0].EndpointNodes = true, []string{"node1", "node9"} },
			want:   "192.0.2.7 services=default/web pool=none owner=node1 candidates=node1 reason=Owner\n",
		},
		{
			name:   "Local without endpoints is not announced",
			change: func(s *State) { s.Services[0].Local = true },
			want:   "192.0.2.7 services=default/web pool=none owner=none candidates=none reason=NoEndpoint\n",
		},
		{
			name:   "a silent speaker announces nothing, whoever is elected",
			change: func(s *State) { s.Silent, s.Node = true, "node3" },
			want:   "192.0.2.7 services=default/web pool=none owner=node3 candidates=node1,node2,node3 reason=Silent\n",
		},
		{
			name: "two Services with one address are one decision, dual stack is two",
			change: func(s *State) {
				s.Services = []Service{{Name: "b/b", VIPs: []netip.Addr{addr("2001:db8::1"), addr("192.0.2.7")}}, {Name: "a/a", VIPs: []netip.Addr{addr("192.0.2.7")}}}
			},
			want: "192.0.2.7 services=a/a,b/b pool=none owner=node3 candidates=node1,node2,node3 reason=OtherOwner\n" +
				"2001:db8::1 services=b/b pool=none owner=node1 candidates=node1,node2,node3 reason=Owner\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := state(tt.change)
			if got, want := MakePlan(s).Describe(), "node "+s.Node+"\n"+tt.want; got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func TestAllNodesWithTheSameStateAgreeOnOneOwner(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		s := state(func(s *State) {
			s.Services = nil
			for i := range 1 + rng.IntN(20) {
				s.Services = append(s.Services, Service{
					Name: fmt.Sprint("default/s", i), VIPs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(rng.IntN(32))})},
					Local: rng.IntN(2) == 0, EndpointNodes: []string{fmt.Sprint("node", 1+rng.IntN(3))},
				})
			}
		})
		owners := map[netip.Addr]int{}
		var plan Plan
		for _, n := range s.Nodes {
			s.Node = n.Name
			rng.Shuffle(len(s.Services), func(i, j int) { s.Services[i], s.Services[j] = s.Services[j], s.Services[i] })
			plan = MakePlan(s)
			for _, d := range plan.Decisions {
				if d.Reason == Owner {
					owners[d.VIP]++
				}
			}
		}
		for _, d := range plan.Decisions {
			if owners[d.VIP] != 1 {
				t.Fatalf("%s has %d owners in\n%s", d.VIP, owners[d.VIP], plan.Describe())
			}
		}
	}
}

func TestADeadNodeMovesOnlyItsOwnAddresses(t *testing.T) {
	s := state(func(s *State) {
		s.Services = nil
		for i := range 200 {
			s.Services = append(s.Services, Service{Name: fmt.Sprint("default/s", i), VIPs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}})
		}
	})
	before := MakePlan(s)
	s.Alive = slices.DeleteFunc(s.Alive, func(n string) bool { return n == "node2" })
	for i, d := range MakePlan(s).Decisions {
		if was := before.Decisions[i].Owner; was != "node2" && was != d.Owner {
			t.Errorf("%s moved from %s, which lives, to %s", d.VIP, was, d.Owner)
		}
	}
}

func BenchmarkMakePlan5000Services10Nodes(b *testing.B) {
	s := State{Node: "node1"}
	for i := range 10 {
		s.Nodes = append(s.Nodes, Node{Name: fmt.Sprint("node", i)})
		s.Alive = append(s.Alive, fmt.Sprint("node", i))
	}
	for i := range 5000 {
		s.Services = append(s.Services, Service{Name: fmt.Sprint("default/s", i), VIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}})
	}
	for b.Loop() {
		MakePlan(s)
	}
}
