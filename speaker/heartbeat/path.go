package heartbeat

import (
	"net/netip"
	"slices"
	"time"
)

// Path is how heartbeats go between this speaker and a member: over one link that
// both share, or if they share none, over any route.
type Path struct {
	// Link is the name of this node's interface; "" if the two share no link.
	Link string
	// Local and Remote are the addresses of this node and of the member.
	Local, Remote netip.Addr
}

// Member is another speaker.
type Member struct {
	Name string
	// Lost is set for a member that was declared dead and has not come back to the
	// member list. This speaker only listens for its return.
	Lost  bool
	Paths []Path
}

// path is what the engine knows about a Path.
type path struct {
	Path
	member *member
	// watched is set for the neighbours on the ring.
	watched bool
	// established is set when a message has come that repeats our epoch, at
	// establishedAt. Before that a missing message proves nothing: a firewall may drop all.
	established   bool
	establishedAt time.Time
	// bidirectional is set once both ends have heard each other.
	bidirectional bool
	// mutualSince is the time since which both ends hear each other. proven is set when
	// that has lasted for sameLoss. It is reset when this speaker is fenced.
	mutualSince time.Time
	proven      bool
	// deadline is when the path expires, unless a message comes before.
	deadline time.Time
	// probeAt is when to send the next probe, because a heartbeat is late.
	probeAt time.Time
	// closed is set when the member's kernel has closed the process's connection.
	closed bool
	// flags are those of the last message.
	flags flags
	// challenged is when a message that does not prove to be recent was last answered.
	challenged time.Time
}

// member is what the engine knows about a Member.
type member struct {
	name  string
	id    uint64
	lost  bool
	paths []*path
	identity
	// gone is set when the member is dead or lost, until it is heard again. restarted is when
	// such a member was heard in a new epoch; the zero value if it was not.
	gone      bool
	restarted time.Time
	// suspicions are what the member said at suspectedAt: the members that it cannot hear.
	suspicions  map[suspicion]bool
	suspectedAt time.Time
	// dead are the addresses at which the member is dead.
	dead []netip.Addr
	// losses are the times of its last deaths.
	losses []time.Time
}

// identity is what makes messages of a member recent. The engine keeps it when the member
// goes: otherwise old messages would count when it returns.
type identity struct {
	// epoch is the last epoch that the member has proven to be recent; 0 for none.
	epoch uint64
	// seqs are the last sequence numbers that were accepted in this epoch, by the addresses of
	// the paths.
	seqs map[[2]netip.Addr]uint64
}

// accept notes a message that repeats this speaker's epoch, and reports whether it is new.
func (i *identity) accept(msg message) bool {
	on := [2]netip.Addr{msg.to, msg.from}
	switch {
	case msg.epoch > i.epoch || i.seqs == nil:
		i.epoch, i.seqs = msg.epoch, map[[2]netip.Addr]uint64{}
	case msg.epoch < i.epoch, msg.seq <= i.seqs[on]:
		return false
	}
	i.seqs[on] = msg.seq
	return true
}

// expired reports whether no message has come in time.
func (p *path) expired(now time.Time) bool { return p.established && !now.Before(p.deadline) }

// refresh is called for each message: the path expires later.
func (p *path) refresh(now time.Time, t Timing) {
	p.deadline, p.probeAt = now.Add(t.Detection()), now.Add(t.late())
}

// hadTime reports whether a missing message on the path proves something: both ends
// have heard each other once, or have had the time for it.
func (p *path) hadTime(now time.Time, t Timing) bool {
	return p.bidirectional || p.established && now.Sub(p.establishedAt) >= t.Detection()
}

// mutual reports whether both ends hear each other now.
func (p *path) mutual(now time.Time) bool {
	return p.established && !p.expired(now) && p.flags&flagHearing != 0
}

// prove notes whether both ends have heard each other for a while.
func (p *path) prove(now time.Time, fenced bool) {
	switch {
	case fenced:
		p.mutualSince, p.proven = time.Time{}, false
	case !p.mutual(now):
		p.mutualSince = time.Time{}
	case p.mutualSince.IsZero():
		p.mutualSince = now
	case now.Sub(p.mutualSince) >= sameLoss:
		p.proven = true
	}
}

// find returns the path between two addresses, or nil.
func (m *member) find(local, remote netip.Addr) *path {
	for _, path := range m.paths {
		if path.Local == local && path.Remote == remote {
			return path
		}
	}
	return nil
}

// canVote reports whether the member could suspect another one: it is heard, or
// may still be heard, and it is not fenced.
func (m *member) canVote(now time.Time) bool {
	for _, path := range m.paths {
		if !path.expired(now) && path.flags&flagFenced == 0 {
			return true
		}
	}
	return false
}

// proven reports whether the member and this speaker have heard each other for a
// while, and this speaker was not fenced since.
func (m *member) proven() bool {
	return slices.ContainsFunc(m.paths, func(p *path) bool { return p.proven })
}

// looksWrong reports whether this speaker itself sees that something is wrong with
// the member.
func (m *member) looksWrong(now time.Time) bool {
	for _, path := range m.paths {
		if path.expired(now) || path.established && path.flags&(flagFenced|flagHearing) != flagHearing {
			return true
		}
	}
	return false
}
