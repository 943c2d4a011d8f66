package plan

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
)

// chains returns the chains of a VIP as all nodes together build them, by the names of the
// nodes, each with spaces between them.
func chains(t *testing.T, s State, vip netip.Addr) (all [election.Slots]string) {
	t.Helper()
	tables, names := map[string]*SlotTable{}, map[netip.Addr]string{}
	var d Decision
	for _, m := range s.Holders {
		for _, seg := range m.Segments {
			names[seg.IPv4.Addr()], names[seg.IPv6.Addr()] = m.Name, m.Name
		}
		s.Node, s.CannotSpread = m.Name, ""
		if !m.Spreads {
			s.CannotSpread = "no"
		}
		p := Make(s, Plan{})
		for _, entry := range p.Spread {
			if entry.VIP == vip {
				tables[m.Name] = entry.Slots
			}
		}
		if m.Name == s.Holders[0].Name {
			d = *p.decision(vip)
		} else if other := p.decision(vip); !reflect.DeepEqual(other.Carriers, d.Carriers) || other.Owner != d.Owner {
			t.Fatalf("%s: %+v, but %s: %+v", s.Holders[0].Name, d, m.Name, other)
		}
	}
	for slot := range all {
		carrier := ""
		for name, table := range tables {
			says := name
			if to := table.Carriers[slot]; to.IsValid() {
				says = names[to]
			}
			if carrier != "" && carrier != says {
				t.Fatalf("slot %d: %s says %s, and another node %s", slot, name, says, carrier)
			}
			carrier = says
		}
		chain := []string{carrier}
		for table := tables[carrier]; table != nil && table.Next[slot].IsValid(); table = tables[chain[len(chain)-1]] {
			next := names[table.Next[slot]]
			if next == carrier {
				break // the segment has come around
			}
			if slices.Contains(chain, next) || len(chain) == maxRing {
				t.Fatalf("slot %d: after %v comes %s", slot, chain, next)
			}
			chain = append(chain, next)
		}
		if table := tables[carrier]; table != nil && table.Last[slot].IsValid() { // the last step, from where the way began
			chain = append(chain, names[table.Last[slot]])
		}
		all[slot] = strings.Join(chain, " ")
	}
	return all
}

func (p Plan) decision(vip netip.Addr) *Decision {
	for i := range p.Decisions {
		if p.Decisions[i].VIP == vip {
			return &p.Decisions[i]
		}
	}
	return nil
}

func TestChainBeginsWithTheCarrierOfBefore(t *testing.T) {
	ten := func(change func(*State)) func(*State) {
		return func(s *State) { addNodes(s, 10); change(s) }
	}
	// One node of the network cannot hand on, for example because its speaker runs with --spread=off.
	mixed := func(nodes int, change func(*State)) func(*State) {
		return func(s *State) {
			addNodes(s, nodes+1)
			s.change(fmt.Sprint("node", nodes+1), func(m *Member) { m.Spreads = false })
			change(s)
		}
	}
	exclude := func(s *State) { s.Nodes[1].Excluded = "x" }
	edge := func(s *State) {
		addNodes(s, 10)
		s.Services[0].VIPs = []netip.Addr{addr("203.0.113.7")}
		for i := range 3 {
			s.Nodes[i].Labels = map[string]string{"edge": ""}
		}
	}
	for _, tt := range []struct {
		name   string
		before func(*State)
		after  func(*State)
		mover  string // the node that loses slots, or gets them
		gone   bool   // it is in no chain after that
	}{
		{"a node is excluded", ten(func(*State) {}), func(s *State) { s.Nodes[4].Excluded = "x" }, "node5", false},
		{"a node is not excluded any more", ten(func(s *State) { s.Nodes[4].Excluded = "x" }), func(s *State) { s.Nodes[4].Excluded = "" }, "node5", false},
		{"a node is suppressed", ten(func(*State) {}), func(s *State) { s.change("node5", func(m *Member) { m.Suppressed = true }) }, "node5", false},
		{"a speaker leaves", ten(func(*State) {}), func(s *State) { s.leaves("node5") }, "node5", false},
		{"a speaker has just started", ten(func(*State) {}), func(s *State) { s.change("node5", func(m *Member) { m.Spreads, m.HandsOn = false, true }) }, "node5", false},
		{"a node of 3 is excluded beside one that cannot hand on", mixed(3, func(*State) {}), exclude, "node2", false},
		{"a node of 5 is excluded beside one that cannot hand on", mixed(5, func(*State) {}), exclude, "node2", false},
		{"a node of 7 is excluded beside one that cannot hand on", mixed(7, func(*State) {}), exclude, "node2", false},
		{"a node joins beside one that cannot hand on", mixed(3, func(*State) {}), func(s *State) { addNodes(s, 5) }, "node5", false},
		{"a node cannot hand on any more", ten(func(*State) {}), func(s *State) { s.change("node5", func(m *Member) { m.Spreads = false }) }, "node5", false},
		{"a node of two cannot hand on any more", func(s *State) { s.dies("node3") }, func(s *State) { s.change("node2", func(m *Member) { m.Spreads = false }) }, "node2", false},
		{"a kernel dies", ten(func(*State) {}), func(s *State) { s.dies("node5") }, "node5", true},
		{"a node joins", ten(func(*State) {}), func(s *State) { addNodes(s, 11) }, "node11", false},
		{"a node of a pool with selectors is excluded", edge, func(s *State) { s.Nodes[1].Excluded = "x" }, "node2", false},
		{"a node of a pool with selectors is back", func(s *State) { edge(s); s.Nodes[1].Excluded = "x" }, func(s *State) { s.Nodes[1].Excluded = "" }, "node2", false},
		{"Local, a node is excluded", ten(func(s *State) { s.local(map[string]int{"node1": 5, "node2": 7, "node3": 1}) }),
			func(s *State) { s.Nodes[1].Excluded = "x" }, "node2", false},
		{"Local, a node gets its first endpoint", ten(func(s *State) { s.local(map[string]int{"node1": 5, "node2": 7}) }),
			func(s *State) { s.local(map[string]int{"node1": 5, "node2": 7, "node3": 2}) }, "node3", false},
		{"Local, all endpoints of a node terminate", ten(func(s *State) { s.local(map[string]int{"node1": 5, "node2": 7, "node3": 1}) }),
			func(s *State) { s.Services[0].EndpointNodes = []string{"node1", "node3"} }, "node2", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := spreadState(t, tt.before)
			vip := s.Services[0].VIPs[0]
			before := chains(t, s, vip)
			tt.after(&s)
			moved := 0
			for slot, chain := range chains(t, s, vip) {
				was, _, _ := strings.Cut(before[slot], " ")
				is, _, _ := strings.Cut(chain, " ")
				if was != is {
					moved++
					if was != tt.mover && is != tt.mover {
						t.Errorf("slot %d moves from %s to %s", slot, was, is)
					}
				}
				if has := slices.Contains(strings.Fields(chain), was); has == (tt.gone && was == tt.mover) {
					t.Errorf("slot %d was at %s, and its chain is %s", slot, was, chain)
				}
			}
			if moved == 0 {
				t.Error("no slot moves")
			}
		})
	}
}

// The second change comes while the excluded node still has its connections.
func TestChainReachesAnExcludedNodeWhileAnotherJoins(t *testing.T) {
	for _, nodes := range []int{3, 5, 6} {
		s := spreadState(t, func(s *State) { addNodes(s, nodes) })
		vip := s.Services[0].VIPs[0]
		before := chains(t, s, vip)
		s.Nodes[1].Excluded = "x"
		reached := func(what string) {
			for slot, chain := range chains(t, s, vip) {
				if strings.HasPrefix(before[slot], "node2 ") && !slices.Contains(strings.Fields(chain), "node2") {
					t.Errorf("%d nodes, %s: slot %d was at node2, and its chain is %s", nodes, what, slot, chain)
				}
			}
		}
		addNodes(&s, nodes+1)
		name := s.Nodes[nodes].Name
		s.change(name, func(m *Member) { m.Spreads = false })
		reached("the kernel of " + name + " has no rules yet")
		s.change(name, func(m *Member) { m.Spreads = true })
		reached(name + " carries slots")
	}
}

// A node without rules for the VIP would end the way of each segment.
func TestChainLeavesOutANodeWhoseSpeakerLeftBeforeTheVIPWasSpread(t *testing.T) {
	old, young := addr("192.0.2.7"), addr("192.0.2.22")
	s := spreadState(t, func(s *State) {
		addNodes(s, 5)
		s.Services = append(s.Services, Service{Name: "default/young", VIPs: []netip.Addr{young}})
		s.leaves("node2")
		for i, m := range s.Holders {
			if m.Name == "node2" {
				s.Holders[i].HasRules = map[netip.Addr]bool{old: true}
			}
		}
	})
	for vip, members := range map[netip.Addr]string{old: "node1 node2 node3 node4 node5", young: "node1 node3 node4 node5"} {
		for slot, chain := range chains(t, s, vip) {
			names := slices.Sorted(slices.Values(strings.Fields(chain)))
			if got := strings.Join(names, " "); got != members {
				t.Errorf("%s, slot %d: the chain has %s, want %s", vip, slot, got, members)
			}
		}
	}
}

func TestChainEndsWithNodesThatCannotHandOn(t *testing.T) {
	s := spreadState(t, func(s *State) {
		addNodes(s, 5)
		for _, name := range []string{"node1", "node4"} {
			s.change(name, func(m *Member) { m.Spreads = false })
		}
	})
	ends := map[string]int{}
	for slot, chain := range chains(t, s, addr("192.0.2.7")) {
		names := slices.Sorted(slices.Values(strings.Fields(chain)[:3]))
		if !slices.Equal(names, []string{"node2", "node3", "node5"}) || strings.Count(chain, " ") != 3 {
			t.Errorf("slot %d: %s", slot, chain)
		}
		ends[chain[strings.LastIndex(chain, " ")+1:]]++
	}
	if len(ends) != 2 || ends["node1"] == 0 || ends["node4"] == 0 {
		t.Errorf("the chains end with %v", ends)
	}
}

func TestPlansOfAllNodesBuildChainsWithoutLoops(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	configs := histories(t)
	seen := map[int]int{}
	for range 150 {
		s := randomState(rng, configs[1])
		s.Orphans, s.NodeAddrs, s.Fenced = nil, nil, ""
		for i := range s.Holders { // two links in one network would give two tables
			s.Holders[i].Segments = s.Holders[i].Segments[:1]
			if j := slices.IndexFunc(s.Members, func(m Member) bool { return m.Name == s.Holders[i].Name }); j >= 0 {
				s.Members[j] = s.Holders[i]
			}
		}
		for _, d := range Make(s, Plan{}).Decisions {
			if d.Spread != Spreading || rng.IntN(8) > 0 {
				continue
			}
			for _, chain := range chains(t, inSubnetOf(s, d.Owner), d.VIP) {
				seen[strings.Count(chain, " ")+1]++
			}
		}
	}
	for length := 2; length <= 4; length++ { // the random states have no more nodes in a network
		if seen[length] == 0 {
			t.Errorf("no chain has the length %d: %v", length, seen)
		}
	}
}

// inSubnetOf returns the state with those holders alone that are in the network of a node.
func inSubnetOf(s State, owner string) State {
	i := slices.IndexFunc(s.Holders, func(m Member) bool { return m.Name == owner })
	network := s.Holders[i].Segments[0].IPv4.Masked()
	is := func(m Member) bool { return m.Segments[0].IPv4.IsValid() && m.Segments[0].IPv4.Masked() == network }
	s.Holders = slices.DeleteFunc(slices.Clone(s.Holders), func(m Member) bool {
		return !is(m) || !slices.ContainsFunc(s.Nodes, func(n Node) bool { return n.Name == m.Name })
	})
	return s
}

func TestTableFollowsTheSlotOrder(t *testing.T) {
	s := spreadState(t, func(s *State) {
		addNodes(s, 10)
		s.local(map[string]int{"node1": 1, "node2": 2, "node3": 3, "node4": 4, "node5": 5, "node6": 6, "node7": 7, "node8": 8, "node9": 9, "node10": 10})
		s.Nodes[5].Excluded = "x"
	})
	var shares []election.Share
	for name, n := range s.Services[0].Endpoints {
		shares = append(shares, election.Share{Name: name, Weight: n})
	}
	for slot, chain := range chains(t, s, addr("192.0.2.7")) {
		order := election.SlotOrder(slot, shares)
		ring := order[:maxRing]
		if ring[0] == "node6" { // it carries nothing
			ring = append(slices.Clone(ring[1:]), ring[0])
		}
		if want := strings.Join(ring, " "); chain != want {
			t.Errorf("slot %d: %s, want %s", slot, chain, want)
		}
	}
}

// manySpread returns a cluster of ten nodes with that many Services whose VIPs are spread.
func manySpread(b *testing.B, services int, local bool) State {
	s := spreadState(b, func(s *State) { addNodes(s, 10) })
	s.Config, s.Services, s.Orphans = &config.Config{}, nil, map[netip.Addr]*config.Pool{}
	pool := &config.Pool{Protocol: config.Layer2, Spread: true}
	rng := rand.New(rand.NewPCG(7, 8))
	for i := range services {
		vip := netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})
		s.Orphans[vip] = pool
		svc := Service{Name: fmt.Sprint("default/s", i), VIPs: []netip.Addr{vip}}
		if local {
			svc.Local, svc.Endpoints = true, map[string]int{}
			for range 3 {
				svc.Endpoints[fmt.Sprint("node", 1+rng.IntN(10))] = 1 + rng.IntN(4)
			}
			svc.EndpointNodes = slices.Sorted(maps.Keys(svc.Endpoints))
		}
		s.Services = append(s.Services, svc)
	}
	return s
}

func BenchmarkPlan1000SpreadServices10Nodes(b *testing.B) {
	for _, local := range []bool{false, true} {
		s := manySpread(b, 1000, local)
		name := map[bool]string{false: "cluster", true: "local"}[local]
		b.Run(name+"/without previous", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Make(s, Plan{})
			}
		})
		b.Run(name+"/with previous", func(b *testing.B) {
			previous := Make(s, Plan{})
			b.ReportAllocs()
			for b.Loop() {
				previous = Make(s, previous)
			}
		})
		b.Run(name+"/a node dies", func(b *testing.B) {
			previous := Make(s, Plan{})
			dead := s
			dead.dies("node4")
			b.ReportAllocs()
			for b.Loop() {
				Make(dead, previous)
			}
		})
	}
}
