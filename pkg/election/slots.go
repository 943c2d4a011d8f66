package election

import (
	"cmp"
	"slices"
)

// Slots is into how many slots the flows of a VIP are divided if several nodes carry them.
// Each node carries some of the slots.
const Slots = 256

// Share says how large a node's part of the slots should be.
type Share struct {
	Name string
	// Weight is the number of the node's tickets. A node with twice the Weight of another gets
	// about twice as many slots. A Weight below 1 counts as 1.
	Weight int
}

// SlotOrder returns the names of the nodes in the order in which they should carry the slot,
// by weighted rendezvous hashing. The order of the shares does not matter. If a node leaves,
// the order of the other nodes stays the same. If a node gets one more ticket, it can only
// come earlier in the order.
func SlotOrder(slot int, shares []Share) []string {
	type scored struct {
		name  string
		score uint64
	}
	order := make([]scored, len(shares))
	for i, s := range shares {
		order[i] = scored{s.Name, s.score(slot, hashOf(s.Name))}
	}
	slices.SortFunc(order, func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.name, b.name))
	})
	names := make([]string, len(order))
	for i, o := range order {
		names[i] = o.name
	}
	return names
}

// Scores returns the scores of a node for all slots. SlotOrder sorts by them, the highest
// first. They depend on no other node, so a caller with many shares computes them once.
func (s Share) Scores() *[Slots]uint64 {
	var scores [Slots]uint64
	hash := hashOf(s.Name)
	for slot := range scores {
		scores[slot] = s.score(slot, hash)
	}
	return &scores
}

// score returns the highest hash of the tickets. The highest of all tickets of all nodes is
// equally likely to be any of them, so a node wins in proportion to its tickets. The numbers
// are integers, because the results of floating-point functions differ between machines.
func (s Share) score(slot int, hash uint64) (highest uint64) {
	hash = (hash ^ uint64(slot)) * prime
	for ticket := range max(1, s.Weight) {
		highest = max(highest, mix((hash^uint64(ticket))*prime))
	}
	return highest
}

// hashOf is FNV-1a over a prefix and a name. The prefix makes the slots independent of the
// owners. Of some words this one gives the most equal parts to few nodes with names like
// node1, node-1 and worker-1. Like weight, hashOf must never change: speakers of two versions
// would send the flows of a slot to each other.
func hashOf(name string) uint64 {
	const prefix = "slot/"
	h := uint64(offset)
	for i := range len(prefix) {
		h = (h ^ uint64(prefix[i])) * prime
	}
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * prime
	}
	return h
}
