package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// spreadState returns three nodes that spread 192.0.2.7. Each has a link in the VIP's network.
func spreadState(t testing.TB, change func(*State)) State {
	c, err := config.Parse([]byte(`address-pools:
- {name: default, protocol: layer2, addresses: [192.0.2.0/24, 2001:db8::/64]}
- {name: edge, protocol: layer2, addresses: [203.0.113.0/24], node-selectors: [{match-labels: {edge: ""}}]}
- {name: routed, protocol: bgp, addresses: [198.51.100.0/24]}
peers: [{name: tor, my-asn: 64512, peer-asn: 64513, peer-address: 10.0.0.1}]`))
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Pools {
		c.Pools[i].Spread = true
	}
	s := State{
		Node: "node1", Config: c,
		Services: []Service{{Name: "default/web", VIPs: []netip.Addr{addr("192.0.2.7")}}},
	}
	addNodes(&s, 3)
	change(&s)
	return s
}

// addNodes adds nodes that can spread, up to that number.
func addNodes(s *State, upTo int) {
	for i := len(s.Nodes) + 1; i <= upTo; i++ {
		name := fmt.Sprint("node", i)
		s.Nodes = append(s.Nodes, Node{Name: name})
		m := Member{Name: name, Spreads: true, Segments: []Segment{{
			Link: "eth0", Networks: nets("192.0.2.0/24", "2001:db8::/64"),
			IPv4: netip.MustParsePrefix(fmt.Sprintf("192.0.2.%d/24", 100+i)), IPv6: netip.MustParsePrefix(fmt.Sprintf("2001:db8::%x/64", 0x100+i)),
		}}}
		s.Members, s.Holders = append(s.Members, m), append(s.Holders, m)
	}
}

// change changes a node in both lists of members.
func (s *State) change(name string, change func(*Member)) {
	for _, list := range []*[]Member{&s.Members, &s.Holders} {
		*list = slices.Clone(*list)
		for i := range *list {
			if m := &(*list)[i]; m.Name == name {
				m.Segments = slices.Clone(m.Segments)
				change(m)
			}
		}
	}
}

// leaves takes a node out of the members. It stays one of the holders.
func (s *State) leaves(name string) {
	s.Members = slices.DeleteFunc(slices.Clone(s.Members), func(m Member) bool { return m.Name == name })
}

// dies takes a node out of both lists.
func (s *State) dies(name string) {
	s.leaves(name)
	s.Holders = slices.DeleteFunc(slices.Clone(s.Holders), func(m Member) bool { return m.Name == name })
}

func (s *State) local(endpoints map[string]int) {
	svc := &s.Services[0]
	svc.Local, svc.Endpoints, svc.EndpointNodes = true, endpoints, nil
	for name, n := range endpoints {
		if n > 0 {
			svc.EndpointNodes = append(svc.EndpointNodes, name)
		}
	}
}

// All speakers were restarted. The kernel of the first one still has rules, and the others have connections.
func TestNodeThatCannotSpreadYetHandsConnectionsOn(t *testing.T) {
	s := spreadState(t, func(s *State) {
		for _, n := range s.Nodes {
			s.change(n.Name, func(m *Member) { m.Spreads, m.HandsOn = n.Name != s.Node, true })
		}
		s.Members = slices.DeleteFunc(s.Members, func(m Member) bool { return m.Name != s.Node })
	})
	p := Make(s, Plan{})
	if d := p.Decisions[0]; d.Spread != NotCapable || len(p.Spread) != 1 {
		t.Fatalf("%s says %+v, and has %+v", s.Node, d, p.Spread)
	}
	table := p.Spread[0].Slots
	for slot := range table.Next {
		if table.Carriers[slot].IsValid() || !table.Next[slot].IsValid() || table.Ring != 3 {
			t.Fatalf("slot %d is carried by %v, and handed on to %v in a ring of %d", slot, table.Carriers[slot], table.Next[slot], table.Ring)
		}
	}
}

func TestNodesThatCarryTheFlowsOfAVIP(t *testing.T) {
	vip6 := addr("2001:db8::7")
	for _, tt := range []struct {
		name   string
		change func(*State)
		want   string // reason, carriers and their slots

		without string // a node that is on no link with the others
	}{
		{"all nodes", func(*State) {}, "Spread [{node1 82} {node2 88} {node3 86}]", ""},
		{"the pool does not spread", func(s *State) { s.Config.Pools[0].Spread = false }, " []", ""},
		{"the Service wants it", func(s *State) { s.Config.Pools[0].Spread, s.Services[0].Spread = false, new(true) }, "Spread [{node1 82} {node2 88} {node3 86}]", ""},
		{"the Service does not want it", func(s *State) { s.Services[0].Spread = new(false) }, " []", ""},
		{"one of two Services does not want it", func(s *State) {
			s.Services = append(s.Services, Service{Name: "a/a", VIPs: s.Services[0].VIPs, Spread: new(false)})
			s.Services[0].Spread = new(true)
		}, " []", ""},
		{"an excluded node", func(s *State) { s.Nodes[1].Excluded = "it has the taint" }, "Spread [{node1 123} {node3 133}]", ""},
		{"a suppressed node", func(s *State) { s.change("node2", func(m *Member) { m.Suppressed = true }) }, "Spread [{node1 123} {node3 133}]", ""},
		{"all nodes are suppressed", func(s *State) {
			for _, n := range s.Nodes {
				s.change(n.Name, func(m *Member) { m.Suppressed = true })
			}
		}, "Spread [{node1 82} {node2 88} {node3 86}]", ""},
		{"a node that has left", func(s *State) { s.leaves("node2") }, "Spread [{node1 123} {node3 133}]", ""},
		{"the pool prefers a node", func(s *State) {
			s.Config.Pools[0].PreferredNodes, s.Nodes[1].Labels = s.Config.Pools[1].NodeSelectors, map[string]string{"edge": ""}
		}, "Spread [{node1 82} {node2 88} {node3 86}]", ""},
		{"the pool selects two nodes", func(s *State) {
			s.Services[0].VIPs = []netip.Addr{addr("203.0.113.7")}
			s.Nodes[0].Labels, s.Nodes[1].Labels = map[string]string{"edge": ""}, map[string]string{"edge": ""}
		}, "Spread [{node1 120} {node2 136}]", ""},
		{"Local, by the numbers of endpoints", func(s *State) { s.local(map[string]int{"node1": 1, "node2": 3}) }, "Spread [{node1 52} {node2 204}]", ""},
		{"Local, many endpoints", func(s *State) { s.local(map[string]int{"node1": 100, "node2": 300}) }, "Spread [{node1 67} {node2 189}]", ""},
		{"Local, endpoints that have not settled", func(s *State) {
			s.local(map[string]int{"node1": 1, "node2": 1, "node3": 1})
			s.Services[0].EndpointNodes = []string{"node1", "node3"}
		}, "Spread [{node1 123} {node3 133}]", ""},
		{"Local, only suppressed nodes have endpoints", func(s *State) {
			s.local(map[string]int{"node1": 1, "node2": 1})
			s.change("node1", func(m *Member) { m.Suppressed = true })
			s.change("node2", func(m *Member) { m.Suppressed = true })
		}, "Spread [{node1 120} {node2 136}]", ""},
		{"Local, one node has endpoints", func(s *State) { s.local(map[string]int{"node2": 3}) }, "OneCandidate [{node2 256}]", ""},
		{"Local without endpoints", func(s *State) { s.local(nil) }, "NoOwner []", ""},
		{"one node may announce", func(s *State) { s.Nodes[0].Excluded, s.Nodes[1].Excluded = "x", "x" }, "OneCandidate [{node3 256}]", ""},
		{"one node cannot spread", func(s *State) { s.change("node3", func(m *Member) { m.Spreads = false }) }, "Spread [{node1 120} {node2 136}]", ""},
		{"no node can spread", func(s *State) {
			for _, n := range s.Nodes {
				s.change(n.Name, func(m *Member) { m.Spreads = false })
			}
		}, "NotCapable []", ""},
		{"Local, the nodes with endpoints cannot spread", func(s *State) {
			s.local(map[string]int{"node1": 1, "node2": 1})
			s.change("node1", func(m *Member) { m.Spreads = false })
			s.change("node2", func(m *Member) { m.Spreads = false })
		}, "NotCapable []", ""},
		{"IPv6", func(s *State) { s.Services[0].VIPs[0] = vip6 }, "Spread [{node1 82} {node2 88} {node3 86}]", ""},
		{"one node has no IPv6 on the link", func(s *State) {
			s.Services[0].VIPs[0] = vip6
			s.change("node1", func(m *Member) { m.Segments[0].IPv6 = netip.Prefix{} })
		}, "Spread [{node2 128} {node3 128}]", "node1"},
		{"no node has IPv6 on the link", func(s *State) {
			s.Services[0].VIPs[0] = vip6
			for _, n := range s.Nodes {
				s.change(n.Name, func(m *Member) { m.Segments[0].IPv6 = netip.Prefix{} })
			}
		}, "NotCapable []", ""},
		{"an address without a network", func(s *State) {
			s.change("node1", func(m *Member) { m.Segments[0].IPv4 = netip.MustParsePrefix("192.0.2.101/32") })
		}, "Spread [{node2 128} {node3 128}]", "node1"},
		{"policies Local and Cluster", func(s *State) {
			s.Services = append(s.Services, Service{Name: "a/a", VIPs: s.Services[0].VIPs, Local: true, EndpointNodes: []string{"node1"}})
		}, "MixedPolicies []", ""},
		{"BGP alone", func(s *State) { s.Services[0].VIPs[0] = addr("198.51.100.7") }, "NotLayer2 []", ""},
		{"no pool has the address", func(s *State) { s.Services[0].VIPs[0] = addr("10.9.9.9") }, " []", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := spreadState(t, tt.change)
			for _, n := range s.Nodes { // all nodes say the same
				s.Node = n.Name
				p := Make(s, Plan{})
				d := p.Decisions[0]
				if got := fmt.Sprint(d.Spread, " ", d.Carriers); got != tt.want {
					t.Errorf("%s says %s, want %s", n.Name, got, tt.want)
				}
				wants := (d.Spread == Spreading || d.Spread == OneCandidate) && n.Name != tt.without
				if (len(p.Spread) > 0) != wants {
					t.Errorf("%s: %+v", n.Name, p.Spread)
				}
			}
		})
	}
}

func TestEachLinkHasItsOwnAddresses(t *testing.T) {
	s := spreadState(t, func(s *State) {
		s.Config.Pools[0].Interfaces = []string{"eth0", "eth1"}
		s.Services[0].VIPs[0] = addr("2001:db8::7")
		for i, n := range s.Nodes {
			s.change(n.Name, func(m *Member) {
				m.Segments[0].Networks = nil
				m.Segments = append(m.Segments, Segment{Link: "eth1", IPv6: netip.MustParsePrefix(fmt.Sprintf("2001:db8:1::%d/64", i+1))})
			})
		}
	})
	p := Make(s, Plan{})
	if len(p.Spread) != 2 || p.Spread[0].Link != "eth0" || p.Spread[1].Link != "eth1" {
		t.Fatalf("%+v", p.Spread)
	}
	for i, network := range nets("2001:db8::/64", "2001:db8:1::/64") {
		for slot, to := range p.Spread[i].Slots.Carriers {
			if to.IsValid() && !network.Contains(to) || to.IsValid() != p.Spread[1-i].Slots.Carriers[slot].IsValid() {
				t.Errorf("%s: slot %d goes to %s", p.Spread[i].Link, slot, to)
			}
		}
	}
}

func TestSpreadVIPsOfOneKindHaveOneTable(t *testing.T) {
	s := spreadState(t, func(s *State) {
		endpoints := []map[string]int{{"node1": 2, "node2": 1}, {"node1": 2, "node2": 1}, {"node1": 2, "node2": 2}}
		for i, counts := range endpoints {
			s.Services = append(s.Services,
				Service{Name: fmt.Sprint("cluster/", i), VIPs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(20 + i)})}},
				Service{Name: fmt.Sprint("local/", i), VIPs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(30 + i)})}, Local: true, Endpoints: counts, EndpointNodes: []string{"node1", "node2"}, Sticky: i == 1})
		}
	})
	p := Make(s, Plan{})
	table := map[string]*SlotTable{}
	for _, entry := range p.Spread {
		table[entry.VIP.String()] = entry.Slots
		if entry.ByAddress != (entry.VIP == addr("192.0.2.31")) {
			t.Errorf("%s: by address: %v", entry.VIP, entry.ByAddress)
		}
	}
	if len(p.Spread) != 7 || table["192.0.2.7"] != table["192.0.2.22"] || table["192.0.2.30"] != table["192.0.2.31"] || table["192.0.2.30"] == table["192.0.2.32"] || table["192.0.2.30"] == table["192.0.2.7"] {
		t.Errorf("%v", table)
	}
	s.Config = spreadState(t, func(*State) {}).Config // the operator has edited another part
	for _, entry := range Make(s, p).Spread {
		if entry.Slots != table[entry.VIP.String()] {
			t.Errorf("the table of %s was made anew", entry.VIP)
		}
	}
}

func TestFlowsStayAsTheyAreWhileANodeKnowsTooLittle(t *testing.T) {
	for name, change := range map[string]func(*State){
		"fenced":           func(s *State) { s.Fenced = "it hears no member" },
		"no Node":          func(s *State) { s.Nodes = s.Nodes[1:] },
		"no configuration": func(s *State) { s.Config = nil },
	} {
		if p := Make(spreadState(t, change), Plan{}); !p.KeepSpread || p.Spread != nil {
			t.Errorf("%s: keep %v, %+v", name, p.KeepSpread, p.Spread)
		}
	}
	p := Make(spreadState(t, func(s *State) { s.CannotSpread = "the kernel has no nftables" }), Plan{})
	if p.KeepSpread || p.Spread != nil || !strings.Contains(p.Describe(), "cannot spread: the kernel has no nftables\n") {
		t.Errorf("a node that cannot spread: keep %v, %+v", p.KeepSpread, p.Spread)
	}
	p = Make(spreadState(t, func(*State) {}), Plan{})
	if p.KeepSpread || len(p.Spread) != 1 || !strings.Contains(p.Describe(), " spread=node1:82,node2:88,node3:86\n") {
		t.Errorf("keep %v, %s", p.KeepSpread, p.Describe())
	}
}

func TestOwnerCanSpreadIfAnyCandidateCan(t *testing.T) {
	for name, change := range map[string]func(*State){
		"the weight is for another node": func(*State) {},
		"the Service prefers another":    func(s *State) { s.Services[0].Preferred = "node3" },
		"the pool prefers another": func(s *State) {
			s.Config.Pools[0].PreferredNodes, s.Nodes[2].Labels = s.Config.Pools[1].NodeSelectors, map[string]string{"edge": ""}
		},
		"Local": func(s *State) { s.local(map[string]int{"node1": 1, "node2": 1, "node3": 1}) },
	} {
		s := spreadState(t, change)
		if d := Make(s, Plan{}).Decisions[0]; d.Owner != "node3" {
			t.Fatalf("%s: %s is the owner", name, d.Owner)
		}
		s.change("node3", func(m *Member) { m.Spreads = false })
		if d := Make(s, Plan{}).Decisions[0]; d.Owner == "node3" || d.Spread != Spreading || slices.Contains(d.Candidates, "node3") {
			t.Errorf("%s: %+v", name, d)
		}
	}
}
