package heartbeat

import (
	"net/netip"
	"slices"
	"time"
)

// Path is how heartbeats go between this speaker and another: over one link that
// they share, or, when they share none, over whatever leads there.
type Path struct {
	// Link is the name of this node's interface; "" when they share none.
	Link string
	// Local and Remote are this node's address and the other's.
	Local, Remote netip.Addr
}

// Peer is another speaker.
type Peer struct {
	Name string
	// Member is false for one that was taken for dead and has not come back: only
	// its return is listened for.
	Member bool
	Paths  []Path
}

// path is what is known of a Path.
type path struct {
	Path
	peer *peer
	// watched is set for the neighbours on the ring.
	watched bool
	// established is set once a message has come that knows our epoch. Before that
	// nothing follows from silence: a firewall may be in the way.
	established bool
	// since is when that was, and met is set once the two have heard each other.
	since time.Time
	met   bool
	// together is since when they hear each other, and proven is set once that has
	// lasted, until this speaker is cut off.
	together time.Time
	proven   bool
	// deadline is when the path is silent, unless something comes before.
	deadline time.Time
	// probeAt is when to ask next, because a heartbeat is late.
	probeAt time.Time
	// closed is set when the peer's kernel has closed its process's connection.
	closed bool
	// their is the flags of the last message.
	their flags
	// heard is the last sequence number that was taken.
	heard uint64
}

type peer struct {
	name   string
	id     uint64
	member bool
	paths  []*path
	epoch  uint64
	// accuses is whom the peer could not hear at accusedAt.
	accuses   map[accusation]bool
	accusedAt time.Time
	// losses are when it has died lately.
	losses []time.Time
	dead   bool
}

func (p *path) silent(now time.Time) bool { return p.established && !now.Before(p.deadline) }

// counts reports whether something follows from what is not heard: the two have
// heard each other once, or have had the time to.
func (p *path) counts(now time.Time, t Timing) bool {
	return p.met || p.established && now.Sub(p.since) >= t.Detection()
}

// mutual reports whether the two hear each other.
func (p *path) mutual(now time.Time) bool {
	return p.established && !p.silent(now) && p.their&hearing != 0
}

// prove takes note of whether the two hear each other.
func (p *path) prove(now time.Time, cutOff bool) {
	switch {
	case cutOff:
		p.together, p.proven = time.Time{}, false
	case !p.mutual(now):
		p.together = time.Time{}
	case p.together.IsZero():
		p.together = now
	case now.Sub(p.together) >= oneLoss:
		p.proven = true
	}
}

// find returns the path between two addresses, or nil.
func (p *peer) find(local, remote netip.Addr) *path {
	for _, path := range p.paths {
		if path.Local == local && path.Remote == remote {
			return path
		}
	}
	return nil
}

// votes reports whether the peer could say of another that it is dead: it is
// heard, or might be, and is not cut off itself.
func (p *peer) votes(now time.Time) bool {
	for _, path := range p.paths {
		if !path.silent(now) && path.their&fenced == 0 {
			return true
		}
	}
	return false
}

// proven reports whether the peer and this speaker have heard each other for a while,
// and this one was not cut off since.
func (p *peer) proven() bool {
	return slices.ContainsFunc(p.paths, func(p *path) bool { return p.proven })
}

// missed reports whether something is wrong with the peer as far as is seen from here.
func (p *peer) missed(now time.Time) bool {
	for _, path := range p.paths {
		if path.silent(now) || path.established && path.their&(fenced|hearing) != hearing {
			return true
		}
	}
	return false
}
