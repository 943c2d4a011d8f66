package ipam

import (
	"cmp"
	"net/netip"
	"slices"
)

// Two Services can each hold what the other asks for. Neither can be served alone, but
// both can be served together. The same is true for longer rings, and for a chain that
// ends at a free address. A rearrangement looks for such a ring: it lets waiting Services
// give up what they want to leave, one after the other, until all of them are served. It
// takes nothing from a Service that is not served in return.

// maxSteps limits the work of one rearrangement. A ring has one step for each Service.
const maxSteps = 50

// rearrangement is a change that can be undone until it is complete.
type rearrangement struct {
	*Allocator
	had   map[string][]netip.Addr // by UID of a Service that takes part: what it had before
	undo  []func()
	steps int
}

// rearrange serves r together with waiting Services that hold what r asks for. ok is false
// if that is not possible; nothing has changed then.
func (a *Allocator) rearrange(r Request) (want []netip.Addr, ok bool) {
	if len(a.leavers) == 0 {
		return nil, false
	}
	chances := a.chances
	m := &rearrangement{Allocator: a, had: map[string][]netip.Addr{}}
	a.handedOver = map[netip.Addr]bool{}
	defer func() { a.handedOver = nil }()
	if m.place(r) {
		return slices.Clone(a.claims[r.UID].addrs), true
	}
	m.rollBack(0)
	a.chances = chances
	return nil, false
}

// place serves r. If it cannot, it has changed something, and the caller must roll back.
func (m *rearrangement) place(r Request) bool {
	m.leave(r)
	if m.tryAlone(r) {
		return true
	}
	for _, group := range m.inTheWay(r) {
		if m.steps++; m.steps > maxSteps {
			return false
		}
		mark := len(m.undo)
		if m.placeAfter(r, group) {
			return true
		}
		m.rollBack(mark)
	}
	return false
}

// placeAfter lets the Services of the group leave their addresses, serves r, and then
// serves the group.
func (m *rearrangement) placeAfter(r Request, group []Request) bool {
	for _, w := range group {
		m.leave(w)
	}
	if !m.tryAlone(r) {
		return false
	}
	for _, w := range group {
		if !m.place(w) {
			return false
		}
	}
	return true
}

// tryAlone serves r if that needs no other Service to move.
func (m *rearrangement) tryAlone(r Request) bool {
	c := m.claimOf(r)
	want, err := m.choose(r, c)
	if err != nil || wouldLose(r, &claim{addrs: m.had[r.UID]}, want) {
		return false
	}
	held, from := slices.Clone(c.addrs), slices.Clone(c.from)
	leaver, leaves := m.leavers[r.UID]
	var before []addrState
	for _, addr := range want {
		if !slices.Contains(held, addr) {
			before = append(before, m.stateOf(addr, c.sharing.Key))
		}
	}
	m.give(c, want)
	m.undo = append(m.undo, func() {
		m.give(c, held)
		c.from = from
		for _, state := range before {
			m.restore(state)
		}
		if leaves {
			m.leavers[r.UID] = leaver
		}
	})
	return true
}

// leave frees the addresses that the Service does not want to keep. They have no cooldown
// for the Services that take part.
func (m *rearrangement) leave(r Request) {
	c := m.claimOf(r)
	if _, again := m.had[r.UID]; !again {
		before := c.addrs
		m.had[r.UID] = before
		m.undo = append(m.undo, func() {
			delete(m.had, r.UID)
			c.addrs = before // in their order
			m.forgetEmpty(c)
		})
	}
	for _, addr := range m.leaving(r, c) {
		from, before := c.from.of(addr), m.stateOf(addr, c.sharing.Key)
		m.free(c, addr)
		m.handedOver[addr] = true
		m.undo = append(m.undo, func() {
			m.take(c, addr)
			c.from.set(from)
			m.restore(before)
			delete(m.handedOver, addr)
		})
	}
}

// addrState is what the allocator knows about an address, apart from the claims.
type addrState struct {
	addr     netip.Addr
	users    users
	key      string       // a share key
	shared   []netip.Addr // the addresses that are shared under it, in their order
	cooldown *cooldown    // nil if it has none
}

func (m *rearrangement) stateOf(addr netip.Addr, key string) addrState {
	state := addrState{addr: addr, users: m.users[addr], key: key, shared: slices.Clone(m.shared[key])}
	if s := m.spaceOf(addr); s != nil {
		if d, ok := s.cooldowns[addr]; ok {
			state.cooldown = &d
		}
	}
	return state
}

// restore makes what the allocator knows about an address the same as before, after its
// claims have been undone. So a rearrangement that fails leaves no trace: neither another
// order of the Services that share an address, nor a new cooldown.
func (m *rearrangement) restore(state addrState) {
	if len(state.users) > 0 {
		m.users[state.addr] = state.users
	}
	if state.key != "" && len(state.shared) > 0 {
		m.shared[state.key] = state.shared
	}
	if s := m.spaceOf(state.addr); s != nil {
		s.restoreCooldown(state.addr, state.cooldown)
	}
}

// leaving returns the addresses of a Service that it gives up when it is served.
func (a *Allocator) leaving(r Request, c *claim) (leaving []netip.Addr) {
	for _, addr := range c.addrs {
		if len(r.Addrs) > 0 && !slices.Contains(r.Addrs, addr) {
			leaving = append(leaving, addr)
		} else if len(r.Addrs) == 0 {
			if kept, ok := a.kept(r, c, FamilyOf(addr)); !ok || kept != addr {
				leaving = append(leaving, addr)
			}
		}
	}
	return leaving
}

// inTheWay returns groups of waiting Services, in the order of their names. Each group
// holds what r could have if the whole group left.
func (m *rearrangement) inTheWay(r Request) (groups [][]Request) {
	if len(r.Addrs) > 0 {
		if group := m.holders(r.Addrs, r); group != nil {
			groups = append(groups, group)
		}
		return groups
	}
	for uid, w := range m.leavers {
		c := m.claims[uid]
		if _, moved := m.had[uid]; c == nil || moved {
			continue
		}
		for _, addr := range m.leaving(w, c) {
			if slices.Contains(r.Families, FamilyOf(addr)) && m.checkPool(addr, r) == nil {
				if group := m.holders([]netip.Addr{addr}, r); group != nil {
					groups = append(groups, group)
				}
			}
		}
	}
	slices.SortFunc(groups, func(x, y []Request) int {
		return cmp.Or(cmp.Compare(x[0].Namespace, y[0].Namespace), cmp.Compare(x[0].Name, y[0].Name))
	})
	return groups
}

// holders returns the requests of the Services that have one of the addresses and are in
// the way of r. It returns nil if one of them does not want to leave.
func (m *rearrangement) holders(addrs []netip.Addr, r Request) (group []Request) {
	for _, addr := range addrs {
		if m.users[addr].checkSharing(addr, r) == nil && (m.acrossNamespaces(addr) || m.users[addr].checkNamespace(addr, r) == nil) {
			continue
		}
		for _, c := range m.users[addr] {
			w, leaves := m.leavers[c.uid]
			if c.uid == r.UID || slices.ContainsFunc(group, func(g Request) bool { return g.UID == c.uid }) {
				continue
			}
			if _, moved := m.had[c.uid]; !leaves || moved || !slices.Contains(m.leaving(w, c), addr) {
				return nil
			}
			group = append(group, w)
		}
	}
	return group
}

// rollBack undoes everything after mark, in reverse order.
func (m *rearrangement) rollBack(mark int) {
	for i := len(m.undo) - 1; i >= mark; i-- {
		m.undo[i]()
	}
	m.undo = m.undo[:mark]
}
