package layer2

import (
	"net/netip"
	"slices"
	"time"
)

// phase is the state of an address on this node.
type phase uint8

const (
	// probing: this node asks whether a foreign host has the address.
	probing phase = iota + 1
	// announcing: this node answers for the address.
	announcing
	// conflicting: a foreign host has the address. This node does not answer and probes
	// again later.
	conflicting
	// yielding: a lost member that outranks this node was heard. This node does not
	// answer.
	yielding
	// lingering: this node answers until it hears the new owner.
	lingering
)

const (
	// Three probes in 300 ms are enough on the networks of today. RFC 5227 asks for up
	// to 9 s; it was written for slow hubs. Solaris takes about as long as this.
	probes     = 3
	probePause = 100 * time.Millisecond
	// probeAgain is the time between two attempts while a foreign host has an address.
	probeAgain = 10 * time.Second
	// yieldFor is how long a lost member gets to come back to the member list.
	yieldFor = 2 * time.Second
)

// entry is an address that is assigned to this node.
type entry struct {
	assignment Assignment
	phase      phase
	sent       int       // probes or announcements in this phase
	next       time.Time // when the next one is due, or the phase ends
	found      conflict
	// moved is when another speaker last announced the address while this node
	// announced it, too.
	moved time.Time
}

// answers reports whether this node answers for the address in this phase.
func (e *entry) answers() bool { return e.phase == announcing || e.phase == lingering }

// step applies an assignment to an address. e is nil for a new address.
func (a *Announcer) step(addr netip.Addr, e *entry, as Assignment) {
	now := a.now()
	if as.Role == Standby {
		switch {
		case e == nil:
		case e.phase == announcing && now.Sub(e.moved) < linger:
			a.log.Info("address handed over", "vip", addr) // the new owner was faster than our plan
			delete(a.entries, addr)
		case e.phase == announcing:
			e.phase, e.next = lingering, now.Add(linger) // on the links as they were assigned before
		case e.phase != lingering:
			delete(a.entries, addr)
		}
		return
	}
	switch {
	case e == nil && as.Fresh:
		a.entries[addr] = &entry{assignment: as, phase: probing, next: now}
	case e == nil:
		a.start(addr, &entry{assignment: as})
	case e.phase == lingering:
		e.assignment = as
		a.start(addr, e)
	case e.phase == conflicting && a.isMember(e.found.MAC):
		e.assignment = as // the foreign host is a member whose profile came late
		a.start(addr, e)
	default:
		more := slices.ContainsFunc(as.Links, func(l string) bool { return !slices.Contains(e.assignment.Links, l) })
		e.assignment = as
		if more && e.phase == announcing {
			e.sent, e.next = 0, now
		}
	}
}

// start begins to announce.
func (a *Announcer) start(addr netip.Addr, e *entry) {
	e.phase, e.sent, e.next, e.found = announcing, 0, a.now(), conflict{}
	e.moved = time.Time{}
	a.entries[addr] = e
	a.metrics.takeovers.Inc()
}

func (a *Announcer) isMember(mac [6]byte) bool {
	_, ok := a.members[mac]
	return ok
}
