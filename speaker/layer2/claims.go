package layer2

import (
	"cmp"
	"context"
	"log/slog"
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
	// claimLogs is how many lines of each kind about claims are logged in a minute. Every
	// neighbour can cause such a line.
	claimLogs = 10
	// maxClaims is how many claims can wait. When another node takes over hundreds of addresses, its
	// announcements come within milliseconds.
	maxClaims = 1024
)

// claim is the frame of a host that says that it has an address.
type claim struct {
	addr netip.Addr
	// source is the source address of the frame. sender is the address that the hosts on the
	// link learn from it: the sender hardware address of ARP, or the target link-layer address
	// of a neighbor advertisement.
	source, sender [6]byte
	link           string
}

// conflict is a foreign host that has an address.
type conflict struct {
	MAC [6]byte
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
	// announce it on this link then. It is true if the foreign host came later. This node goes
	// on announcing the address and defends it.
	Announced bool
	// Nowhere is set if this node announces the address on no link, because of such conflicts.
	Nowhere bool
}

// Conflicts returns the present conflicts, in the order of their addresses.
func (a *Announcer) Conflicts() []Conflict {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []Conflict
	for addr, entries := range a.entries {
		nowhere := !slices.ContainsFunc(entries, func(e *entry) bool { return !e.blocked() })
		for _, e := range entries {
			if e.blocked() || e.phase == announcing && a.now().Sub(e.found.at) < contestedFor {
				all = append(all, Conflict{addr, net.HardwareAddr(e.found.MAC[:]).String(), e.link, e.phase == announcing, nowhere})
			}
		}
	}
	slices.SortFunc(all, func(a, b Conflict) int { return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Link, b.Link)) })
	return all
}

// handleClaims handles a claim by another host, and those that have come meanwhile. It reports whether
// anything is due.
func (a *Announcer) handleClaims(c claim) (isDue bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for handled := 1; ; handled++ {
		isDue = a.handleClaim(c) || isDue
		if handled == maxClaims || len(a.claims) == 0 {
			break
		}
		c = <-a.claims // no other goroutine receives
	}
	if a.unpublished {
		a.publish()
	}
	return isDue
}

// handleClaim handles a claim by another host. It reports whether anything is due. The caller must hold
// a.mu, and publish afterwards if a.unpublished is set.
//
// Nothing in a frame proves who has sent it. So a claim can make this node announce, but
// never stop: a forged frame must not take an address away. Only while this node probes an
// address that nobody has announced yet, it believes that a foreign host has it.
func (a *Announcer) handleClaim(c claim) (changed bool) {
	source, sender := a.members[c.source], a.members[c.sender]
	e := a.entry(c.addr, c.link)
	switch {
	case sender.Self:
		return false // this node has announced the address on another link of the same segment
	case e == nil:
		return false // the address has gone since the frame came
	case source.Self:
		a.metrics.forged.WithLabelValues(c.link).Inc()
		a.logClaim(slog.LevelError, "a frame with this node's source address gives a VIP to another host: a host forges frames, or a switch returns them", c)
		return false
	case sender.Name != "" && sender.Name == source.Name:
		return a.handleMemberClaim(e, c, sender)
	}
	return a.handleForeignClaim(e, c)
}

// handleMemberClaim handles the claim of another speaker. While both speakers know of
// each other, their plans agree on the owner within a moment, and nothing has to be
// done here. A lost member may have another plan. It is looked for, and its heartbeats show
// whether it lives. Until then this node defends its address: the frame may be forged.
func (a *Announcer) handleMemberClaim(e *entry, c claim, member Member) (changed bool) {
	switch {
	case e.phase == lingering && member.Lost:
		return false // it cannot be the new owner
	case e.phase == lingering:
		a.log.Info("address handed over", "vip", c.addr, "to", member.Name, "link", c.link)
		a.remove(c.addr, e)
		a.unpublished = true
		return true
	case e.phase == probing || e.phase == conflicting:
		a.start(c.addr, e) // no foreign host has what a speaker announces
		a.unpublished = true
		return true
	case !member.Lost:
		if a.options.Rival != nil {
			a.options.Rival(member.Name) // one of the two does not know the other's newest state
		}
		e.moved = a.now()
		if e.next.After(e.moved.Add(linger)) {
			// If this node is still the owner then, it corrects the hosts that have heard
			// the other speaker.
			e.next = e.moved.Add(linger)
			return true
		}
		return false
	}
	a.lostHeard.Add(1)
	if a.options.Lost != nil {
		a.options.Lost(member.Name)
	}
	a.options.Changed()
	a.defend(c.addr, e, correctInterval)
	return false
}

// handleForeignClaim handles the claim of a host that is no speaker.
func (a *Announcer) handleForeignClaim(e *entry, c claim) (changed bool) {
	switch {
	case e.phase == probing && e.despiteConflicts:
		a.metrics.conflicts.WithLabelValues(c.link).Inc()
		a.logClaim(slog.LevelError, "a foreign host has the VIP, it is announced all the same", c)
		a.start(c.addr, e)
		e.found = conflict{MAC: c.sender, at: a.now()}
		a.unpublished = true
		a.options.Changed()
		return true
	case e.phase == probing:
		a.metrics.conflicts.WithLabelValues(c.link).Inc()
		a.logClaim(slog.LevelError, "a foreign host has the VIP, the VIP is not announced on this link", c)
		e.phase, e.sent, e.next = conflicting, 0, a.now().Add(probeAgain)
		e.found = conflict{MAC: c.sender, at: a.now()}
		a.options.Changed()
	case e.phase == announcing:
		fresh := a.now().Sub(e.found.at) >= contestedFor
		e.found.at = a.now()
		if fresh {
			e.found.MAC = c.sender
			a.metrics.conflicts.WithLabelValues(c.link).Inc()
			a.logClaim(slog.LevelError, "a foreign host claims the VIP, this node defends it", c)
			a.options.Changed()
		}
		a.defend(c.addr, e, defendInterval)
	}
	return false
}

// logClaim logs a line about a claim, unless there were many of them.
func (a *Announcer) logClaim(level slog.Level, text string, c claim) {
	if more, ok := a.claimLog.Allow(text); ok {
		a.log.Log(context.Background(), level, text, "hint", "find that host and remove the address from it", "vip", c.addr, "mac", net.HardwareAddr(c.sender[:]).String(), "source", net.HardwareAddr(c.source[:]).String(), "link", c.link, "more", more)
	}
}

// defend announces an address on the link of an entry at once, at most once in an interval.
func (a *Announcer) defend(addr netip.Addr, e *entry, interval time.Duration) {
	if now := a.now(); now.Sub(e.found.answered) >= interval && a.options.MayAnswer() {
		e.found.answered = now
		a.announce(addr, e)
	}
}
