package layer2

import (
	"net/netip"
	"slices"
	"time"
)

// phase is where an address is on its way.
type phase uint8

const (
	// probing asks whether another host has the address, before anything is said.
	probing phase = iota + 1
	// announcing answers for the address.
	announcing
	// conflicting is silent, because another host has it, and asks again later.
	conflicting
	// yielding is silent, because a speaker has been heard that comes first.
	yielding
	// lingering answers until the new owner is heard.
	lingering
)

const (
	// Three probes in 300 ms are enough on networks of today; RFC 5227 asks for up
	// to 9 s, which is from the time of slow hubs. Solaris waits about as long.
	probes     = 3
	probePause = 100 * time.Millisecond
	// probeAgain is how long a host that has an address is left alone.
	probeAgain = 10 * time.Second
	// yieldFor is how long another speaker is given to become known.
	yieldFor = 2 * time.Second
)

// entry is an address that this node has something to do with.
type entry struct {
	row   Row
	phase phase
	sent  int       // probes or announcements in this phase
	next  time.Time // when the next is due, or the phase ends
	found conflict
	// moved is when another speaker has last announced the address while this one
	// did.
	moved time.Time
}

// answers reports whether the address is answered for in this phase.
func (e *entry) answers() bool { return e.phase == announcing || e.phase == lingering }

// step gives an address a row. e is nil for one that had none.
func (a *Announcer) step(addr netip.Addr, e *entry, r Row) {
	now := a.now()
	if r.Role == Standby {
		switch {
		case e == nil:
		case e.phase == announcing && now.Sub(e.moved) < Linger:
			a.log.Info("handed over", "vip", addr) // the new owner was quicker than our plan
			delete(a.entries, addr)
		case e.phase == announcing:
			e.phase, e.next = lingering, now.Add(Linger) // on the links of before
		case e.phase != lingering:
			delete(a.entries, addr)
		}
		return
	}
	switch {
	case e == nil && r.Fresh:
		a.entries[addr] = &entry{row: r, phase: probing, next: now}
	case e == nil:
		a.start(addr, &entry{row: r})
	case e.phase == lingering:
		e.row = r
		a.start(addr, e)
	case e.phase == conflicting && a.knows(e.found.MAC):
		e.row = r // it is one of us: what it says of itself came late
		a.start(addr, e)
	default:
		more := slices.ContainsFunc(r.Links, func(l string) bool { return !slices.Contains(e.row.Links, l) })
		e.row = r
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

func (a *Announcer) knows(mac [6]byte) bool {
	_, ok := a.peers[mac]
	return ok
}
