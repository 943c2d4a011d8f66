package plan

import (
	"cmp"
	"net/netip"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
)

// tablesOf returns the tables of all nodes for a VIP.
func tablesOf(s State, vip netip.Addr) map[string]*SlotTable {
	tables := map[string]*SlotTable{}
	for _, m := range s.Holders {
		s.Node = m.Name
		for _, entry := range Make(s, Plan{}).Spread {
			if entry.VIP == vip {
				tables[m.Name] = entry.Slots
			}
		}
	}
	return tables
}

// While a change spreads, each speaker may have the old state or the new one. A connection is at the
// carrier of one of them.
func TestSegmentFindsItsConnectionWhileStatesDiffer(t *testing.T) {
	for _, size := range []int{3, 4, 6} {
		for name, change := range map[string]func(*State){
			"a node is excluded":   func(s *State) { s.Nodes[1].Excluded = "x" },
			"a node is suppressed": func(s *State) { s.change("node2", func(m *Member) { m.Suppressed = true }) },
			"a speaker leaves":     func(s *State) { s.leaves("node2") },
		} {
			s := spreadState(t, func(s *State) { addNodes(s, size) })
			vip := s.Services[0].VIPs[0]
			names := map[netip.Addr]string{}
			for _, m := range s.Holders {
				names[m.Segments[0].IPv4.Addr()] = m.Name
			}
			before := tablesOf(s, vip)
			change(&s)
			after := tablesOf(s, vip)
			for slot := range election.Slots {
				for mix := range 1 << (size + 1) {
					tables, connection := map[string]*SlotTable{}, carrierOf(before, slot, names)
					for i, m := range s.Holders {
						if tables[m.Name] = before[m.Name]; mix>>i&1 == 1 && after[m.Name] != nil {
							tables[m.Name] = after[m.Name]
						}
					}
					if mix>>size&1 == 1 {
						connection = carrierOf(after, slot, names)
					}
					for announcer := range tables {
						at := cmp.Or(names[tables[announcer].Carriers[slot]], announcer)
						for hops := 1; at != connection && hops < maxRing; hops++ {
							at = names[tables[at].Next[slot]]
						}
						if at != connection {
							t.Fatalf("%d nodes, %s: slot %d, states %b: a segment that %s receives ends at %s, its connection is at %s", size, name, slot, mix, announcer, at, connection)
						}
					}
				}
			}
		}
	}
}

func carrierOf(tables map[string]*SlotTable, slot int, names map[netip.Addr]string) string {
	for name, table := range tables {
		return cmp.Or(names[table.Carriers[slot]], name)
	}
	return ""
}
