package heartbeat

import (
	"net/netip"
	"time"
)

const (
	// maxLosses is the number of deaths within lossMemory after which a member is
	// suppressed. With the return in between, each of its VIPs has moved three times.
	// Networks that watch for duplicate hosts begin to block at five moves in 180 s
	// (RFC 7432, section 15.1).
	maxLosses  = 2
	lossMemory = 180 * time.Second
	// sameLoss is the time within which deaths on several links count as one.
	sameLoss = time.Second
	// suspicionLife is how long a suspicion counts that is not repeated.
	suspicionLife = 3 * time.Second
)

// suspicionsOfSelf counts the members that suspect this speaker at one of its own
// addresses. They have replaced it, even if another member hears it. A member that
// does hear this speaker only repeats what this speaker has said about itself.
func (e *engine) suspicionsOfSelf(now time.Time, local netip.Addr) (votes int) {
	self := suspicion{nodeID(e.name), local}
	for _, m := range e.order {
		if m.lost || !m.suspects(now, self) {
			continue
		}
		hears := false
		for _, p := range m.paths {
			hears = hears || p.Local == local && p.mutual(now)
		}
		if !hears {
			votes++
		}
	}
	return votes
}

// suspects reports whether the member has sent this suspicion a short time ago.
func (m *member) suspects(now time.Time, s suspicion) bool {
	return m.suspicions[s] && now.Sub(m.suspectedAt) < suspicionLife
}

// suspect returns what this speaker cannot hear, unless that is its own fault.
func (e *engine) suspect(now time.Time) map[suspicion]bool {
	suspicions := map[suspicion]bool{}
	for _, m := range e.order {
		for _, path := range m.paths {
			if path.watched && e.misses(now, path) {
				suspicions[suspicion{m.id, path.Remote}] = true
			}
		}
	}
	return suspicions
}

// misses reports whether this speaker misses the member on a path.
func (e *engine) misses(now time.Time, p *path) bool {
	ownFault := e.fencing.reason != "" || e.fencing.links[p.Link]
	// A member can be heard although it does not hear this speaker. It is missed, too, if
	// this speaker knows that its own network works.
	deaf := e.alone && p.established && p.flags&flagHearing == 0
	return (p.expired(now) || deaf) && !ownFault || p.established && !p.expired(now) && p.flags&flagFenced != 0
}

// suspected returns the members that another member suspects.
func (e *engine) suspected(now time.Time) map[uint64]bool {
	suspected := map[uint64]bool{}
	for _, m := range e.order {
		if now.Sub(m.suspectedAt) >= suspicionLife {
			continue
		}
		for s := range m.suspicions {
			suspected[s.node] = true
		}
	}
	return suspected
}

// deadAddrs returns the addresses at which a member is dead: the member itself says that
// it is fenced, or two speakers miss it. One speaker is enough if no other speaker could
// miss it.
func (e *engine) deadAddrs(now time.Time, m *member) []netip.Addr {
	var dead []netip.Addr
	for _, path := range m.paths {
		if path.watched && path.established && !path.expired(now) && path.flags&flagFenced != 0 {
			dead = append(dead, path.Remote)
			continue
		}
		missed := path.watched && e.misses(now, path)
		votes, needed := 0, 1
		if missed {
			votes = 1
		}
		for _, voter := range e.order {
			if voter == m || voter.lost {
				continue
			}
			if voter.suspects(now, suspicion{m.id, path.Remote}) {
				votes++
			}
			if !missed || e.ring.neighbours(voter.name, m.name) && voter.canVote(now) {
				needed = 2
			}
		}
		if votes >= needed {
			dead = append(dead, path.Remote)
		}
	}
	return dead
}

// countLoss remembers a death of a member, and forgets old ones. A death that a
// speaker detects while it is alone counts only if the speaker was not fenced
// before: after its own link has returned, a witness may answer before the members
// do.
func (e *engine) countLoss(now time.Time, m *member, dead bool) {
	if dead && len(m.dead) == 0 && (len(m.losses) == 0 || now.Sub(m.losses[len(m.losses)-1]) > sameLoss) {
		m.losses = append(m.losses, now)
	}
	for len(m.losses) > 0 && now.Sub(m.losses[0]) > lossMemory {
		m.losses = m.losses[1:]
	}
}
