package plan

import (
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
)

// SlotTable is to which nodes this node hands flows on a link.
type SlotTable struct {
	// Carriers has for each slot the address of the node that carries it, on the link; the zero
	// Addr for this node.
	Carriers [election.Slots]netip.Addr
	// Next has for each slot the address of the node to which this node hands segments of
	// connections that it does not know; the zero Addr for none.
	Next [election.Slots]netip.Addr
	// Last has for each slot the address of a node that cannot hand on. This node asks it for connections
	// that no node of the ring knows; the zero Addr for none.
	Last [election.Slots]netip.Addr
	// Ring is the number of nodes among which segments are handed on.
	Ring int
}

// maxRing is how many nodes are asked for a connection. Each hand-over costs a packet on the network. A
// segment of a connection that no node knows, which a port scan can send, is handed over as often
// as the time to live allows: once to each of them, and once to a node that cannot hand on, see minHandedTTL
// of the package spread. In a cluster of so many nodes, no connection is lost while nodes come and go, in
// whatever order.
const maxRing = 8

// division is how the flows of VIPs are divided among the holders of a subnet.
type division struct {
	table    *SlotTable
	carriers []Carrier
}

// divisionKey is everything that a division depends on: the link of this node, the holders
// with their addresses, and their roles.
type divisionKey struct{ link, holders, roles string }

// role is what a holder does for a VIP: its weight, whether it carries flows, and its place
// in the rings.
type role byte

// place says whether a holder is among those that are asked for connections. A ring has eight of them,
// and there may be hundreds of holders.
type place byte

const (
	// near are the nodes that carry flows, and those that would if they were not excluded,
	// suppressed or gone for a moment.
	near place = iota
	// far are the nodes that the pool's node-selectors leave out, and those that have no
	// endpoints with the policy Local. It is unlikely that they have connections.
	far
	// last are the nodes that cannot hand on. A segment that reaches one goes no further, so they are in no
	// ring. They may have connections from the time before, so one of them is asked when a segment has come
	// around.
	last
	// absent are the nodes whose speakers had left, or were fenced, when the VIP became spread. They have no rules for
	// it, and it is unlikely that they have connections.
	absent
)

const (
	weightMask = 1<<5 - 1 // of the weight - 1
	carriesBit = 1 << 5
	placeShift = 6
)

func newRole(weight int, at place, carries bool) role {
	r := role(weight-1) | role(at)<<placeShift
	if carries {
		r |= carriesBit
	}
	return r
}

func (r role) weight() int   { return int(r&weightMask) + 1 }
func (r role) carries() bool { return r&carriesBit != 0 }
func (r role) place() place  { return place(r >> placeShift) }

// newDivision computes a division. Without a carrier this node keeps all flows that reach it, and hands
// on the connections that it does not know.
func (b *builder) newDivision(s *subnet, roles string) *division {
	v := &division{table: &SlotTable{}}
	scores := make([]*[election.Slots]uint64, len(roles))
	var lasts []int
	for i, h := range s.holders {
		if role(roles[i]).place() == last && i != s.self {
			lasts = append(lasts, i)
		}
		scores[i] = b.scoresOf(election.Share{Name: h.name, Weight: role(roles[i]).weight()})
	}
	counts := make([]int, len(roles))
	for slot := range election.Slots {
		if len(lasts) > 0 {
			v.table.Last[slot] = s.holders[firstOf(lasts, slot, scores)].addr
		}
		carrier, nodes, n := ringOf(slot, roles, scores)
		ring := nodes[:n]
		v.table.Ring = n
		if carrier >= 0 {
			counts[carrier]++
			if carrier != s.self {
				v.table.Carriers[slot] = s.holders[carrier].addr
			}
		}
		if next := after(s.self, ring); s.self >= 0 && next >= 0 && next != s.self {
			v.table.Next[slot] = s.holders[next].addr
		}
	}
	for i, n := range counts {
		if n > 0 {
			v.carriers = append(v.carriers, Carrier{s.holders[i].name, n})
		}
	}
	return v
}

// after returns the node to which a node hands on: the next one of the ring. A node that is not in the ring
// hands on to the first one: while speakers have different states, a segment can reach such a node. It is -1 if no
// node is in the ring.
func after(node int, ring []int) int {
	if len(ring) == 0 {
		return -1
	}
	return ring[(slices.Index(ring, node)+1)%len(ring)]
}

// firstOf returns the node that is the first of them in the order of a slot: most likely it has carried the slot.
func firstOf(nodes []int, slot int, scores []*[election.Slots]uint64) int {
	first := nodes[0]
	for _, i := range nodes {
		if scores[i][slot] > scores[first][slot] {
			first = i
		}
	}
	return first
}

// ringOf returns the carrier of a slot, -1 if no holder carries flows, and the nodes that are asked for a connection, as places in
// the list of holders: the first maxRing holders that can hand on, the near ones first, in the order of their scores. If scores are
// equal, the name decides, because the holders are sorted by name.
//
// The order does not depend on who carries the slot. So the nodes agree on it while they have different
// states, and a segment comes around.
func ringOf(slot int, roles string, scores []*[election.Slots]uint64) (carrier int, ring [maxRing]int, n int) {
	type scored struct {
		place  place
		score  uint64
		holder int
	}
	best := scored{holder: -1}
	var first [maxRing]scored
	for i := range scores {
		r := role(roles[i])
		h := scored{r.place(), scores[i][slot], i}
		if r.carries() && (best.holder < 0 || h.score > best.score) {
			best = h
		}
		if h.place >= last {
			continue
		}
		at := n
		for at > 0 && (h.place < first[at-1].place || h.place == first[at-1].place && h.score > first[at-1].score) {
			at--
		}
		if at == maxRing {
			continue
		}
		n = min(n+1, maxRing)
		copy(first[at+1:n], first[at:n-1])
		first[at] = h
	}
	hasCarrier := best.holder < 0
	for i, h := range first[:n] {
		ring[i] = h.holder
		hasCarrier = hasCarrier || h.holder == best.holder
	}
	if !hasCarrier {
		ring[n-1] = best.holder
	}
	return best.holder, ring, n
}
