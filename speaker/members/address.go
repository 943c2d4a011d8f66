package members

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/loglimit"
)

// A node can return with another address, and an address can change while its speaker
// runs. memberlist keeps the old address of a name until that member is dead. The Nodes
// say which of two addresses is right.

const (
	// ownAddrInterval is how often a member looks for its own address. The address counts
	// as changed when it was the same new one twice.
	ownAddrInterval = time.Second
	// displacedFor is how long a member is ignored after a newcomer of its name has come.
	// It is dead earlier.
	displacedFor = 10 * time.Second
	// unheardPatience is how long other members have to answer at the new address before
	// they are lost.
	unheardPatience = 5 * time.Second
)

// displacement is a member that is ignored at an address for some time.
type displacement struct {
	addr  netip.Addr
	until time.Time
}

// newcomers decides about members that say that they have another address.
type newcomers struct{ m *Members }

// NotifyConflict is called, with a lock held, when a newcomer has the name of a member that
// is not dead. If the newcomer comes from its Node's address and the member does not,
// the member is ignored. So it is dead after a second or two, even if a process still
// answers there, and then the newcomer takes its place.
func (n newcomers) NotifyConflict(present, newcomer *memberlist.Node) {
	if present.Name == n.m.options.Name {
		return
	}
	old, addr := toAddr(present.Addr), toAddr(newcomer.Addr)
	nodes := n.m.options.NodeAddrs()
	if nodes[addr] != present.Name || nodes[old] == present.Name {
		return
	}
	n.m.mu.Lock()
	again := n.m.isDisplaced(present.Name, old)
	n.m.displaced[present.Name] = displacement{old, time.Now().Add(displacedFor)}
	n.m.mu.Unlock()
	if !again {
		n.m.guard.outdate()
		n.m.options.Log.Info("a speaker has another address, its old one is ignored", "node", present.Name, "old", old, "address", addr)
	}
}

// NotifyAlive refuses messages of third members which say that a displaced member is
// alive at its old address.
func (n newcomers) NotifyAlive(peer *memberlist.Node) error {
	n.m.mu.Lock()
	defer n.m.mu.Unlock()
	if addr := toAddr(peer.Addr); n.m.isDisplaced(peer.Name, addr) {
		return fmt.Errorf("its Node does not have the address %s any more", addr)
	}
	return nil
}

// isDisplaced reports whether a member is ignored at an address. The caller holds mu.
func (m *Members) isDisplaced(name string, addr netip.Addr) bool {
	d, ok := m.displaced[name]
	return ok && d.addr == addr && time.Now().Before(d.until)
}

// knownAddrs returns the addresses that may send to this member: those of nodes and of
// members, each with the name. The address of a lost member counts only while its Node
// is not known.
func (m *Members) knownAddrs() map[netip.Addr]string {
	addrs := m.options.NodeAddrs()
	hasNode := map[string]bool{}
	for _, name := range addrs {
		hasNode[name] = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range m.others {
		if _, ok := addrs[o.Addr]; !ok && !m.isDisplaced(o.Name, o.Addr) && !(o.Lost && hasNode[o.Name]) {
			addrs[o.Addr] = o.Name
		}
	}
	return addrs
}

// Addr returns this node's address in the member list.
func (m *Members) Addr() netip.Addr {
	if l := m.list.Load(); l != nil {
		return l.addr.Addr()
	}
	return m.options.Addr.Addr()
}

// followOwnAddr moves this member when this node has another address, until ctx ends.
func (m *Members) followOwnAddr(ctx context.Context) {
	tick := time.NewTicker(ownAddrInterval)
	defer tick.Stop()
	often := loglimit.New(1, time.Minute)
	var seen netip.Addr
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		before := seen
		seen = m.otherOwnAddr()
		if !seen.IsValid() || seen != before {
			continue
		}
		if err := m.moveTo(ctx, seen); err != nil {
			if more, ok := often.Allow(""); ok {
				m.options.Log.Error("this node has another address, but the member list cannot use it, trying again", "address", seen, "error", err, "more", more)
			}
		}
	}
}

// otherOwnAddr returns this node's address, if the Node does not have the member's present
// address any more. Otherwise it returns no valid address.
func (m *Members) otherOwnAddr() netip.Addr {
	if m.options.NodeAddrs()[m.Addr()] == m.options.Name {
		return netip.Addr{}
	}
	return m.options.Addresses()[m.options.Name]
}

// moveTo replaces the memberlist by one on another address of this node. What is known
// about the other members stays.
func (m *Members) moveTo(ctx context.Context, addr netip.Addr) error {
	m.replaced.Lock()
	defer m.replaced.Unlock()
	old := m.list.Load()
	if m.leaving.Load() || ctx.Err() != nil {
		return nil
	}
	next, err := m.open(netip.AddrPortFrom(addr, m.options.Addr.Port()))
	if err != nil {
		return fmt.Errorf("listening on %s: %w", addr, err)
	}
	m.list.Store(next)
	m.mu.Lock()
	m.unheardAt = time.Now().Add(unheardPatience)
	m.mu.Unlock()
	m.options.Log.Info("this node has another address, the member list goes on with it", "old", old.addr.Addr(), "address", addr)
	m.search.Set()
	m.profileChanged.Set() // the latest change may have gone to the old list
	m.options.Changed()
	if err := old.close(); err != nil {
		return fmt.Errorf("closing the member list on %s: %w", old.addr.Addr(), err)
	}
	return nil
}

// loseUnheard declares members lost that have not answered since this member has another
// address. The new memberlist has never known them, so it does not detect their death.
func (m *Members) loseUnheard() {
	m.mu.Lock()
	due := !m.unheardAt.IsZero() && time.Now().After(m.unheardAt)
	if due {
		m.unheardAt = time.Time{}
	}
	others := maps.Clone(m.others)
	m.mu.Unlock()
	if !due {
		return
	}
	for _, name := range m.alive() {
		delete(others, name)
	}
	for name, o := range others {
		if !o.Lost {
			m.died(name)
		}
	}
}
