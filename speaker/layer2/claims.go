package layer2

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"time"
)

const (
	// defendInterval is the shortest time between two defences of an address (RFC 5227
	// section 2.4, DEFEND_INTERVAL).
	defendInterval = 10 * time.Second
	// correctInterval is the shortest time between two answers to a lost member.
	correctInterval = time.Second
	// contestedFor is how long a claim is reported if the host does not repeat it.
	contestedFor = time.Minute
)

// claim is the frame of a host that says that it has an address.
type claim struct {
	addr netip.Addr
	mac  [6]byte
	link string
}

// conflict is a foreign host that has an address.
type conflict struct {
	MAC  [6]byte
	link string
	// at is when the host was last heard. answered is when this node last defended the
	// address.
	at, answered time.Time
}

// Conflict is a foreign host that has an address of this node. A foreign host is a
// host that is no speaker.
type Conflict struct {
	Addr netip.Addr
	MAC  string
	Link string
	// Announced is false if the foreign host had the address first. This node does not
	// announce it then. It is true if the foreign host came later. This node goes on
	// announcing the address and defends it.
	Announced bool
}

// Conflicts returns the present conflicts, in the order of their addresses.
func (a *Announcer) Conflicts() []Conflict {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []Conflict
	for addr, e := range a.entries {
		if e.phase == conflicting || e.phase == announcing && a.now().Sub(e.found.at) < contestedFor {
			all = append(all, Conflict{addr, net.HardwareAddr(e.found.MAC[:]).String(), e.found.link, e.phase == announcing})
		}
	}
	slices.SortFunc(all, func(a, b Conflict) int { return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.MAC, b.MAC)) })
	return all
}

// handleClaim handles a claim by another host. It reports whether anything is due.
func (a *Announcer) handleClaim(c claim) (changed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.ports {
		if p.link.MAC == c.mac {
			return false // this node, on another link of the same segment
		}
	}
	e := a.entries[c.addr]
	if e == nil {
		return false
	}
	if member, ok := a.members[c.mac]; ok {
		return a.handleMemberClaim(e, c, member)
	}
	return a.handleForeignClaim(e, c)
}

// handleMemberClaim handles the claim of another speaker. While both speakers know of
// each other, their plans agree on the owner within a moment, and nothing has to be
// done here. A lost member may have another plan.
func (a *Announcer) handleMemberClaim(e *entry, c claim, member Member) (changed bool) {
	switch {
	case e.phase == lingering:
		a.log.Info("address handed over", "vip", c.addr, "to", member.Name, "link", c.link)
		delete(a.entries, c.addr)
		a.publish()
		return true
	case e.phase == probing || e.phase == conflicting:
		a.start(c.addr, e) // no foreign host has what a speaker announces
		a.publish()
		return true
	case !member.Lost || e.phase != announcing:
		e.moved = a.now()
		if e.phase == announcing && e.next.After(e.moved.Add(linger)) {
			// If this node is still the owner then, it corrects the hosts that have heard
			// the other speaker.
			e.next = e.moved.Add(linger)
			return true
		}
		return false
	}
	a.lostHeard.Add(1)
	a.options.Changed()
	if slices.Contains(e.assignment.Rivals, member.Name) {
		a.log.Warn("giving way to a lost member that outranks this node", "vip", c.addr, "to", member.Name, "link", c.link)
		e.phase, e.next = yielding, a.now().Add(yieldFor)
		a.publish()
		return true
	}
	a.defend(c.addr, e, correctInterval)
	return false
}

// handleForeignClaim handles the claim of a host that is no speaker.
func (a *Announcer) handleForeignClaim(e *entry, c claim) (changed bool) {
	switch e.phase {
	case probing:
		a.metrics.conflicts.WithLabelValues(c.link).Inc()
		a.log.Error("a foreign host has the VIP, the VIP is not announced", "vip", c.addr, "mac", net.HardwareAddr(c.mac[:]).String(), "link", c.link)
		e.phase, e.sent, e.next = conflicting, 0, a.now().Add(probeAgain)
		e.found = conflict{MAC: c.mac, link: c.link, at: a.now()}
		a.options.Changed()
	case announcing:
		if fresh := e.found.MAC != c.mac || a.now().Sub(e.found.at) >= contestedFor; fresh {
			a.metrics.conflicts.WithLabelValues(c.link).Inc()
			a.log.Error("a foreign host claims the VIP, this node defends it", "hint", "find that host and remove the address from it", "vip", c.addr, "mac", net.HardwareAddr(c.mac[:]).String(), "link", c.link)
			e.found.MAC, e.found.link = c.mac, c.link
			a.options.Changed()
		}
		e.found.at = a.now()
		a.defend(c.addr, e, defendInterval)
	}
	return false
}

// defend announces an address at once, at most once in an interval.
func (a *Announcer) defend(addr netip.Addr, e *entry, interval time.Duration) {
	if now := a.now(); now.Sub(e.found.answered) >= interval && a.options.MayAnswer() {
		e.found.answered = now
		a.announce(addr, e)
	}
}
