package members

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

const (
	// minSearch and maxSearch are how many missing members a search contacts, at least and at most.
	// All of a search are contacted at the same time.
	minSearch, maxSearch = 4, maxDials
	// maxRejoin is how many members a rejoin contacts at most, until enough have answered.
	maxRejoin = 64
)

// contact is a node and the address at which its speaker should be found.
type contact struct {
	node string
	addr netip.Addr
}

// turns says which members to contact next: first those that are wanted, then those that were here,
// then those whose last turn is the longest ago. So each one has its turn.
type turns struct {
	wanted map[string]bool
	last   map[string]time.Time
}

// next returns the members at the addresses in their turn, and how many of them are wanted.
func (t turns) next(addrs map[string]netip.Addr, wasHere func(contact) bool) (contacts []contact, wanted int) {
	rank := func(c contact) int {
		switch {
		case t.wanted[c.node]:
			return 0
		case wasHere(c):
			return 1
		}
		return 2
	}
	for node, addr := range addrs {
		contacts = append(contacts, contact{node, addr})
	}
	rand.Shuffle(len(contacts), func(i, j int) { contacts[i], contacts[j] = contacts[j], contacts[i] })
	slices.SortStableFunc(contacts, func(a, b contact) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), t.last[a.node].Compare(t.last[b.node]))
	})
	for _, c := range contacts {
		if t.wanted[c.node] {
			wanted++
		}
	}
	return contacts, wanted
}

// searched returns how many of the missing members a search contacts, of which some are wanted. The
// living members share the search: on average they contact each missing one once, up to maxSearch each.
func searched(missing, wanted, alive int) int {
	share := (missing + alive - 1) / max(1, alive)
	return min(missing, maxSearch, max(wanted, minSearch, share))
}

// LookFor makes the next searches contact these members before all others, once. A search begins every
// searchInterval.
func (m *Members) LookFor(names ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range names {
		m.turns.wanted[name] = true
	}
}

// inTurn returns the members in the order in which to contact them, and how many of them are wanted.
// Lost members come early if withLost is set. Otherwise they have their turn like all who are missing,
// because they are dead more often than not.
func (m *Members) inTurn(read func() map[string]netip.Addr, withLost bool) (contacts []contact, wanted int) {
	m.mu.Lock()
	before := maps.Clone(m.turns.wanted)
	m.mu.Unlock()
	addrs := read()
	m.mu.Lock()
	defer m.mu.Unlock()
	for node := range before {
		if _, ok := addrs[node]; !ok {
			delete(m.turns.wanted, node)
		}
	}
	maps.DeleteFunc(m.turns.last, func(node string, _ time.Time) bool { _, ok := addrs[node]; return !ok })
	return m.turns.next(addrs, func(c contact) bool {
		other, ok := m.others[c.node]
		return ok && (!other.Lost || withLost || other.Addr != c.addr)
	})
}

// hadTurn notes that a member is contacted.
func (m *Members) hadTurn(node string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turns.last[node] = time.Now()
	delete(m.turns.wanted, node)
}
