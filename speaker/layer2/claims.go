package layer2

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"time"
)

const (
	// defendAgain is how long an address is not defended again (RFC 5227 2.4,
	// DEFEND_INTERVAL).
	defendAgain = 10 * time.Second
	// correctAgain is how long a lost speaker is not corrected again.
	correctAgain = time.Second
	// contestedFor is how long a claim is reported that is not repeated.
	contestedFor = time.Minute
)

// claim is somebody who says that it has an address.
type claim struct {
	addr netip.Addr
	mac  [6]byte
	link string
}

// conflict is a foreign host that has an address.
type conflict struct {
	MAC  [6]byte
	link string
	// at is when it was last heard, answered when this node last spoke against it.
	at, answered time.Time
}

// Conflict is a foreign host that has an address of this node's.
type Conflict struct {
	Addr netip.Addr
	MAC  string
	Link string
	// Announced is false if it was there first: the address is not announced then. It
	// is true if it came later: the address is defended.
	Announced bool
}

// Conflicts returns the present ones, in the order of addresses.
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

// heard handles a claim by another host. It reports whether anything is due.
func (a *Announcer) heard(c claim) (changed bool) {
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
	if peer, ok := a.peers[c.mac]; ok {
		return a.heardPeer(e, c, peer)
	}
	return a.heardForeign(e, c)
}

// heardPeer handles the claim of another speaker. As long as both know of each
// other the plan decides who is right, and does so in a moment; only of one that
// was taken for dead is it not known what it knows.
func (a *Announcer) heardPeer(e *entry, c claim, peer Peer) (changed bool) {
	switch {
	case e.phase == lingering:
		a.log.Info("handed over", "vip", c.addr, "to", peer.Name, "link", c.link)
		delete(a.entries, c.addr)
		a.publish()
		return true
	case e.phase == probing || e.phase == conflicting:
		a.start(c.addr, e) // no need to probe what one of us has
		a.publish()
		return true
	case !peer.Lost || e.phase != announcing:
		e.moved = a.now()
		if e.phase == announcing && e.next.After(e.moved.Add(Linger)) {
			// If this node is still the owner then, who was told otherwise is told so.
			e.next = e.moved.Add(Linger)
			return true
		}
		return false
	}
	a.options.Met(peer.Name)
	if slices.Contains(e.row.Rivals, peer.Name) {
		a.log.Warn("gives way to a speaker that was taken for dead and comes first", "vip", c.addr, "to", peer.Name, "link", c.link)
		e.phase, e.next = yielding, a.now().Add(yieldFor)
		a.publish()
		return true
	}
	a.answer(c.addr, e, correctAgain)
	return false
}

// heardForeign handles the claim of a host that is no speaker.
func (a *Announcer) heardForeign(e *entry, c claim) (changed bool) {
	switch e.phase {
	case probing:
		a.metrics.conflicts.WithLabelValues(c.link).Inc()
		a.log.Error("another host has an address of ours, which is not announced as long as that is so", "vip", c.addr, "mac", net.HardwareAddr(c.mac[:]).String(), "link", c.link)
		e.phase, e.sent, e.next = conflicting, 0, a.now().Add(probeAgain)
		e.found = conflict{MAC: c.mac, link: c.link, at: a.now()}
		a.options.Changed()
	case announcing:
		if fresh := e.found.MAC != c.mac || a.now().Sub(e.found.at) >= contestedFor; fresh {
			a.metrics.conflicts.WithLabelValues(c.link).Inc()
			a.log.Error("another host claims an address of ours, which is defended; look for that host", "vip", c.addr, "mac", net.HardwareAddr(c.mac[:]).String(), "link", c.link)
			e.found.MAC, e.found.link = c.mac, c.link
			a.options.Changed()
		}
		e.found.at = a.now()
		a.answer(c.addr, e, defendAgain)
	}
	return false
}

// answer announces an address at once against a claim, but not again too soon.
func (a *Announcer) answer(addr netip.Addr, e *entry, again time.Duration) {
	if now := a.now(); now.Sub(e.found.answered) >= again && a.options.MayAnswer() {
		e.found.answered = now
		a.announce(addr, e)
	}
}
