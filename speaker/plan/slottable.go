package plan

import (
	"net/netip"

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
}

// maxChain is how many nodes are asked for a connection: the carrier, and three more. Each
// hand-over costs a packet on the network. A segment of a connection that no node knows,
// which a port scan can send, is handed over as often.
const maxChain = 4

// division is how the flows of VIPs are divided among the holders of a subnet.
type division struct {
	table    *SlotTable
	carriers []Carrier
}

// divisionKey is everything that a division depends on: the link of this node, the holders
// with their addresses, and their roles.
type divisionKey struct{ link, holders, roles string }

// role is what a holder does for a VIP: its weight, whether it carries flows, and its place
// in the chains.
type role byte

// place says how soon a holder is asked for connections. There are four places in a chain,
// and there may be hundreds of holders.
type place byte

const (
	// near are the nodes that carry flows, and those that would if they were not excluded,
	// suppressed or gone for a moment.
	near place = iota
	// far are the nodes that the pool's node-selectors leave out, and those that have no
	// endpoints with the policy Local. It is unlikely that they have connections.
	far
	// last are the nodes that cannot hand on. So no node can be behind them.
	last
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

// newDivision computes a division. Without a carrier it is empty.
func (b *builder) newDivision(s *subnet, roles string) *division {
	v := &division{table: &SlotTable{}}
	scores := make([]*[election.Slots]uint64, len(roles))
	carries := false
	for i, h := range s.holders {
		scores[i] = b.scoresOf(election.Share{Name: h.name, Weight: role(roles[i]).weight()})
		carries = carries || role(roles[i]).carries()
	}
	if !carries {
		return v
	}
	counts := make([]int, len(roles))
	for slot := range election.Slots {
		chain, length := chainOf(slot, roles, scores)
		counts[chain[0]]++
		if chain[0] != s.self {
			v.table.Carriers[slot] = s.holders[chain[0]].addr
		}
		for i := range length - 1 {
			if chain[i] == s.self {
				v.table.Next[slot] = s.holders[chain[i+1]].addr
			}
		}
	}
	for i, n := range counts {
		if n > 0 {
			v.carriers = append(v.carriers, Carrier{s.holders[i].name, n})
		}
	}
	return v
}

// chainOf returns the chain of a slot, as places in the list of holders: the carrier, then the
// other holders, the near ones first, in the order of their scores. If scores are equal, the
// name decides, because the holders are sorted by name.
func chainOf(slot int, roles string, scores []*[election.Slots]uint64) (chain [maxChain]int, length int) {
	type scored struct {
		place  place
		score  uint64
		holder int
	}
	carrier := scored{holder: -1}
	var first [maxChain]scored // of all holders
	found := 0
	for i := range scores {
		r := role(roles[i])
		h := scored{r.place(), scores[i][slot], i}
		if r.carries() && (carrier.holder < 0 || h.score > carrier.score) {
			carrier = h
		}
		at := found
		for at > 0 && (h.place < first[at-1].place || h.place == first[at-1].place && h.score > first[at-1].score) {
			at--
		}
		if at == maxChain {
			continue
		}
		found = min(found+1, maxChain)
		for j := found - 1; j > at; j-- {
			first[j] = first[j-1]
		}
		first[at] = h
	}
	chain[0], length = carrier.holder, 1
	for _, h := range first[:found] {
		if h.holder != carrier.holder && length < maxChain {
			chain[length] = h.holder
			length++
		}
	}
	return chain, length
}
