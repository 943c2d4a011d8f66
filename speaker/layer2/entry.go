package layer2

import (
	"net/netip"
	"slices"
	"time"
)

// phase is the state of an address on one link.
type phase uint8

const (
	// probing: this node asks whether a foreign host has the address.
	probing phase = iota + 1
	// announcing: this node answers for the address.
	announcing
	// conflicting: a foreign host on the link has the address. This node does not answer and
	// probes again later.
	conflicting
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
)

// entry is an address on one of the links on which it is assigned to this node. A foreign
// host on one link does not concern the other links.
type entry struct {
	link             string
	despiteConflicts bool // see Assignment
	phase            phase
	sent             int       // probes or announcements in this phase
	next             time.Time // when the next one is due, or the phase ends
	found            conflict
	// moved is when another speaker last announced the address while this node
	// announced it, too.
	moved time.Time
}

// answers reports whether this node answers for the address in this phase.
func (e *entry) answers() bool { return e.phase == announcing || e.phase == lingering }

// blocked reports whether this node does not answer because of a foreign host. While it probes
// again, that host has not gone yet.
func (e *entry) blocked() bool {
	return e.phase == conflicting || e.phase == probing && e.found.MAC != [6]byte{}
}

// own applies an assignment to an Owner.
func (a *Announcer) own(as Assignment) {
	now, known := a.now(), len(a.entries[as.Addr]) > 0
	a.entries[as.Addr] = slices.DeleteFunc(a.entries[as.Addr], func(e *entry) bool { return !slices.Contains(as.Links, e.link) })
	for _, link := range as.Links {
		e := a.entry(as.Addr, link)
		switch {
		case e == nil && as.Fresh && !known:
			a.add(as, &entry{link: link, phase: probing, next: now})
		case e == nil:
			a.start(as.Addr, a.add(as, &entry{link: link}))
		case e.phase == lingering, e.phase == conflicting && (as.DespiteConflicts || a.isMember(e.found.MAC)):
			e.despiteConflicts = as.DespiteConflicts
			a.start(as.Addr, e) // a foreign host that is a member: its profile came late
		default:
			e.despiteConflicts = as.DespiteConflicts
		}
	}
}

// standBy makes this node a Standby for an address.
func (a *Announcer) standBy(addr netip.Addr) {
	now := a.now()
	left := a.entries[addr][:0]
	for _, e := range a.entries[addr] {
		switch {
		case e.phase == announcing && now.Sub(e.moved) < linger:
			a.log.Info("address handed over", "vip", addr, "link", e.link) // the new owner was faster than our plan
		case e.phase == announcing:
			e.phase, e.next = lingering, now.Add(linger)
			left = append(left, e)
		case e.phase == lingering:
			left = append(left, e)
		}
	}
	a.entries[addr] = left
	if len(left) == 0 {
		delete(a.entries, addr)
	}
}

// entry returns the entry of an address on a link, or nil.
func (a *Announcer) entry(addr netip.Addr, link string) *entry {
	for _, e := range a.entries[addr] {
		if e.link == link {
			return e
		}
	}
	return nil
}

func (a *Announcer) add(as Assignment, e *entry) *entry {
	e.despiteConflicts = as.DespiteConflicts
	a.entries[as.Addr] = append(a.entries[as.Addr], e)
	return e
}

// remove removes an entry of an address.
func (a *Announcer) remove(addr netip.Addr, e *entry) {
	if a.entries[addr] = slices.DeleteFunc(a.entries[addr], func(other *entry) bool { return other == e }); len(a.entries[addr]) == 0 {
		delete(a.entries, addr)
	}
}

// start begins to announce on the link of an entry.
func (a *Announcer) start(addr netip.Addr, e *entry) {
	if !a.announces(addr) {
		a.metrics.takeovers.Inc()
	}
	if e.blocked() {
		a.options.Changed() // the conflict is over
	}
	e.phase, e.sent, e.next, e.found = announcing, 0, a.now(), conflict{}
	e.moved = time.Time{}
}

// announces reports whether this node announces an address on any link.
func (a *Announcer) announces(addr netip.Addr) bool {
	return slices.ContainsFunc(a.entries[addr], func(e *entry) bool { return e.phase == announcing })
}

func (a *Announcer) isMember(mac [6]byte) bool {
	_, ok := a.members[mac]
	return ok
}
