package plan

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// state returns three nodes, all alive, and one Service. No pool has its address any more.
func state(change func(*State)) State {
	s := State{
		Node:     "node1",
		Nodes:    []Node{{Name: "node1"}, {Name: "node2"}, {Name: "node3"}},
		Members:  alive("node1", "node2", "node3"),
		Services: []Service{{Name: "default/web", VIPs: []netip.Addr{addr("192.0.2.7")}}},
		Orphans:  orphans(),
	}
	change(&s)
	return s
}

func nets(texts ...string) (networks []netip.Prefix) {
	for _, text := range texts {
		networks = append(networks, netip.MustParsePrefix(text))
	}
	return networks
}

// alive returns members with one link each.
func alive(names ...string) (speakers []Member) {
	for _, name := range names {
		speakers = append(speakers, Member{Name: name, Segments: []Segment{{Link: "eth0"}}})
	}
	return speakers
}

func TestPlanElectsOneOwnerAmongTheCandidates(t *testing.T) {
	pools, err := config.Parse([]byte(`address-pools: [{name: default, protocol: layer2, addresses: [192.0.2.0/24]}]`))
	if err != nil {
		t.Fatal(err)
	}
	special, err := config.Parse([]byte(`address-pools:
- {name: edge, protocol: layer2, addresses: [192.0.2.0/24], node-selectors: [{match-labels: {edge: ""}}]}
- {name: vlan, protocol: layer2, addresses: [203.0.113.0/24], interfaces: [vlan7]}`))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*State)
		want   string
	}{
		{
			name:   "every node is a candidate, and a published orphan is announced",
			change: func(*State) {},
			want:   "192.0.2.7 services=default/web pool=none owner=node3 candidates=node1,node2,node3 reason=OtherOwner\n",
		},
		{
			name:   "the pool is named",
			change: func(s *State) { s.Config = pools; s.Node = "node3" },
			want:   "192.0.2.7 services=default/web pool=default owner=node3 candidates=node1,node2,node3 reason=Owner links=eth0\n",
		},
		{
			name:   "a dead node is no candidate",
			change: func(s *State) { s.Members = alive("node1", "node2") },
			want:   "192.0.2.7 services=default/web pool=none owner=node1 candidates=node1,node2 reason=Owner links=eth0\n",
		},
		{
			name: "a node that the pool's selectors leave out is no candidate",
			change: func(s *State) {
				s.Config, s.Nodes[0].Labels, s.Nodes[1].Labels = special, map[string]string{"edge": ""}, map[string]string{"edge": ""}
			},
			want: "192.0.2.7 services=default/web pool=edge owner=node1 candidates=node1,node2 reason=Owner links=eth0\n",
		},
		{
			name:   "no node is left by the pool's selectors",
			change: func(s *State) { s.Config = special },
			want:   "192.0.2.7 services=default/web pool=edge owner=none candidates=none reason=NoCandidate\n",
		},
		{
			name:   "an excluded node is no candidate",
			change: func(s *State) { s.Nodes[2].Excluded = "label" },
			want:   "192.0.2.7 services=default/web pool=none owner=node1 candidates=node1,node2 reason=Owner links=eth0\n",
		},
		{
			name:   "a speaker that is no node of the cluster is no candidate",
			change: func(s *State) { s.Nodes = s.Nodes[:2] },
			want:   "192.0.2.7 services=default/web pool=none owner=node1 candidates=node1,node2 reason=Owner links=eth0\n",
		},
		{
			name:   "no node may announce",
			change: func(s *State) { s.Members = nil },
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
			want:   "192.0.2.7 services=default/web pool=none owner=node1 candidates=node1 reason=Owner links=eth0\n",
		},
		{
			name:   "Local without endpoints is not announced",
			change: func(s *State) { s.Services[0].Local = true },
			want:   "192.0.2.7 services=default/web pool=none owner=none candidates=none reason=NoEndpoint\n",
		},
		{
			name:   "a fenced speaker announces nothing, whichever node is elected",
			change: func(s *State) { s.Fenced, s.Node = "it has no link", "node3" },
			want:   "fenced: it has no link\n192.0.2.7 services=default/web pool=none owner=node3 candidates=node1,node2,node3 reason=Fenced\n",
		},
		{
			name: "only a node with one of the pool's interfaces is a candidate, and announces there only",
			change: func(s *State) {
				s.Config, s.Services[0].VIPs = special, []netip.Addr{addr("203.0.113.7")}
				s.Members[0].Segments = append(s.Members[0].Segments, Segment{Link: "vlan7"})
			},
			want: "203.0.113.7 services=default/web pool=vlan owner=node1 candidates=node1 reason=Owner links=vlan7\n",
		},
		{
			name:   "no node has one of the pool's interfaces",
			change: func(s *State) { s.Config, s.Services[0].VIPs = special, []netip.Addr{addr("203.0.113.7")} },
			want:   "203.0.113.7 services=default/web pool=vlan owner=none candidates=none reason=NoLink\n",
		},
		{
			name: "a node that is not heard on the VIP's own segment is no candidate",
			change: func(s *State) {
				for i := range s.Members {
					s.Members[i].Segments = []Segment{
						{Link: "eth0", Networks: nets("10.0.0.0/8")},
						{Link: "eth1", Networks: nets("192.0.2.0/24"), Dead: s.Members[i].Name == "node3"},
					}
				}
			},
			want: "192.0.2.7 services=default/web pool=none owner=node1 candidates=node1,node2 reason=Owner links=eth1\n",
		},
		{
			name: "a node that is not heard on another segment is a candidate, and a link of no network is worse than its link",
			change: func(s *State) {
				s.Node = "node3"
				s.Members[2].Segments = []Segment{
					{Link: "eth0", Networks: nets("10.0.0.0/8"), Dead: true},
					{Link: "eth1", Networks: nets("192.0.2.0/24")},
				}
			},
			want: "192.0.2.7 services=default/web pool=none owner=node3 candidates=node3 reason=Owner links=eth1\n",
		},
		{
			name:   "a node without a link that is heard is no candidate",
			change: func(s *State) { s.Members[2].Segments[0].Dead = true },
			want:   "192.0.2.7 services=default/web pool=none owner=node1 candidates=node1,node2 reason=Owner links=eth0\n",
		},
		{
			name:   "a suppressed node is passed over",
			change: func(s *State) { s.Members[2].Suppressed = true },
			want:   "192.0.2.7 services=default/web pool=none owner=node1 candidates=node1,node2 reason=Owner links=eth0\n",
		},
		{
			name: "suppression does not count if all nodes are suppressed",
			change: func(s *State) {
				s.Members[0].Suppressed, s.Members[1].Suppressed, s.Members[2].Suppressed = true, true, true
			},
			want: "192.0.2.7 services=default/web pool=none owner=node3 candidates=node1,node2,node3 reason=OtherOwner\n",
		},
		{
			name: "suppression does not count if no other node has an endpoint",
			change: func(s *State) {
				s.Members[2].Suppressed, s.Services[0].Local, s.Services[0].EndpointNodes = true, true, []string{"node3"}
			},
			want: "192.0.2.7 services=default/web pool=none owner=node3 candidates=node3 reason=OtherOwner\n",
		},
		{
			name: "a VIP that a foreign host has is not announced",
			change: func(s *State) {
				s.Node, s.Conflicts = "node3", map[netip.Addr]string{addr("192.0.2.7"): "02:00:00:00:00:99"}
			},
			want: "192.0.2.7 services=default/web pool=none owner=node3 candidates=node1,node2,node3 reason=Conflict links=eth0 foreign=02:00:00:00:00:99\n",
		},
		{
			name: "two Services with one VIP are one decision, dual stack is two",
			change: func(s *State) {
				s.Services = []Service{{Name: "b/b", VIPs: []netip.Addr{addr("2001:db8::1"), addr("192.0.2.7")}}, {Name: "a/a", VIPs: []netip.Addr{addr("192.0.2.7")}}}
			},
			want: "192.0.2.7 services=a/a,b/b pool=none owner=node3 candidates=node1,node2,node3 reason=OtherOwner\n" +
				"2001:db8::1 services=b/b pool=none owner=node1 candidates=node1,node2,node3 reason=Owner links=eth0\n",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := state(tt.change)
			if got, want := Make(s, Plan{}).Describe(), "node "+s.Node+"\n"+tt.want; got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

func TestPlansOfAllNodesAgreeOnOneOwner(t *testing.T) {
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
			plan = Make(s, Plan{})
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

func TestDeadNodeMovesOnlyItsOwnVIPs(t *testing.T) {
	s := state(func(s *State) {
		s.Services = nil
		for i := range 200 {
			s.Services = append(s.Services, Service{Name: fmt.Sprint("default/s", i), VIPs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}})
		}
	})
	before := Make(s, Plan{})
	s.Members = slices.DeleteFunc(s.Members, func(n Member) bool { return n.Name == "node2" })
	for i, d := range Make(s, Plan{}).Decisions {
		if was := before.Decisions[i].Owner; was != "node2" && was != d.Owner {
			t.Errorf("%s moved from %s, which lives, to %s", d.VIP, was, d.Owner)
		}
	}
}

// large returns a cluster in which every Service has a VIP.
func large(services, nodes int) State {
	s := State{Node: "node1", Orphans: map[netip.Addr]*config.Pool{}}
	pool := &config.Pool{Protocol: config.Layer2}
	for i := range nodes {
		s.Nodes = append(s.Nodes, Node{Name: fmt.Sprint("node", i)})
		s.Members = append(s.Members, alive(fmt.Sprint("node", i))...)
	}
	for i := range services {
		vip := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		s.Services = append(s.Services, Service{Name: fmt.Sprint("default/s", i), VIPs: []netip.Addr{vip}})
		s.Orphans[vip] = pool
	}
	return s
}

func BenchmarkMakePlan5000Services10Nodes(b *testing.B) {
	s := large(5000, 10)
	for b.Loop() {
		Make(s, Plan{})
	}
}

func BenchmarkPlanAfterADeath10000Services1000Nodes(b *testing.B) {
	s := large(10000, 1000)
	all := s.Members
	previous := Make(s, Plan{})
	i := 0
	for b.Loop() {
		i++ // another node dies, and the one before it is back
		s.Members = slices.Concat(all[:i%1000], all[i%1000+1:])
		previous = Make(s, previous)
	}
}
