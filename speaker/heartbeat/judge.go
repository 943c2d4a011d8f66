package heartbeat

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// maxLosses within memory make a speaker unreliable. With the return in between
	// they have moved each of its addresses three times; networks that watch for
	// duplicate hosts begin to block at five (RFC 7432, 15.1: 5 moves in 180 s).
	maxLosses = 2
	memory    = 180 * time.Second
	// oneLoss is how long a death on several links counts once.
	oneLoss = time.Second
)

// look makes the view of the present state.
func (e *engine) look(now time.Time) View {
	v := View{Ready: e.ready(now), Dead: map[string][]netip.Addr{}, Held: map[string]bool{}, Fenced: map[string]bool{}, Thaws: e.view.Thaws}
	e.fences(now, &v)
	if now.Before(e.heldUntil) {
		v.Held[e.name] = true
	}
	for _, p := range e.order {
		for _, path := range p.paths {
			path.prove(now, v.Silent != "")
		}
	}
	suspects := e.suspects(now)
	for _, p := range e.order {
		if p.member && (suspects[p.id] || p.missed(now)) {
			if dead := e.dead(now, p, v); len(dead) > 0 {
				v.Dead[p.name] = dead
			}
		}
		dead := len(v.Dead[p.name]) > 0
		e.count(now, p, dead && (!e.alone || p.proven()))
		p.dead = dead
		if len(p.losses) >= maxLosses {
			v.Held[p.name] = true
		}
		for _, path := range p.paths {
			if !p.member && path.mutual(now) && path.their&fenced == 0 {
				v.Returned = append(v.Returned, p.name)
				break
			}
		}
	}
	return v
}

// ready waits for all neighbours, but not for ever: heartbeats may be blocked.
func (e *engine) ready(now time.Time) bool {
	if e.readyBy.IsZero() {
		return false // nobody has said yet who there is
	}
	if e.view.Ready || !now.Before(e.readyBy) {
		return true
	}
	for _, p := range e.order {
		for _, path := range p.paths {
			if path.watched && !path.met {
				return false
			}
		}
	}
	return true
}

// fences decides on which links this speaker hears nobody that hears it: then
// it is the one who is cut off, whatever the others are.
func (e *engine) fences(now time.Time, v *View) {
	// expected counts the members that should be heard on a link; lost ones are there
	// as 0.
	expected, mutual, members := map[string]int{}, map[string]bool{}, 0
	late, closed := false, true
	for _, p := range e.order {
		if p.member {
			members++
		}
		for _, path := range p.paths {
			if !path.counts(now, e.timing) || !path.watched && p.member {
				continue
			}
			expected[path.Link] += 0
			if p.member {
				expected[path.Link]++
			}
			if path.mutual(now) && e.against(now, path.Local) < 2 {
				mutual[path.Link] = true
			}
			late = late || !path.mutual(now) || !now.Before(path.deadline.Add(e.timing.late()-e.timing.Detection()))
			closed = closed && path.closed
		}
	}
	switch {
	case len(mutual) > 0:
		e.thawed, e.alone = time.Time{}, false
	case len(expected) == 0:
		e.thawed = time.Time{} // there is nobody to be asked
	}
	if len(mutual) == 0 && members <= 1 && now.Sub(e.thawed) >= e.timing.Detection() {
		// Of two speakers each is the other's only one, and so is the last that is left:
		// somebody else has to say which of them is cut off. A kernel that says that
		// its process has ended will do.
		e.alone = e.alone || now.Before(e.witnessed) || closed && len(expected) > 0
	}
	if e.alone {
		e.thawed = time.Time{} // and so nobody has taken our place
	}
	if e.asking(now) {
		return
	}
	for link, n := range expected {
		// Where others are heard on another link, one that is missed on this may be dead.
		if !mutual[link] && !e.alone && (len(mutual) == 0 || n > 1) {
			v.Fenced[link] = true
		}
	}
	v.NeedWitness = members <= 1 && len(expected) > 0 && late && !e.alone
	switch {
	case len(v.Fenced) == 0 || len(v.Fenced) < len(expected):
	case !e.thawed.IsZero():
		v.Silent = "this process was frozen, and has not heard from other speakers since"
	default:
		v.Silent = "no other speaker is heard that hears this one"
	}
}

// against counts who says that this speaker cannot be heard at one of its own
// addresses: whoever hears it, others have taken its place. One that does hear it
// only repeats what this speaker has said of itself.
func (e *engine) against(now time.Time, local netip.Addr) (votes int) {
	for _, q := range e.order {
		if !q.member || !q.accuses[accusation{nodeID(e.name), local}] || now.Sub(q.accusedAt) >= accusationLife {
			continue
		}
		if !slices.ContainsFunc(q.paths, func(p *path) bool { return p.Local == local && p.mutual(now) }) {
			votes++
		}
	}
	return votes
}

// accuse returns what this speaker cannot hear, as far as that is not its own fault.
func (e *engine) accuse(now time.Time) map[accusation]bool {
	accusing := map[accusation]bool{}
	for _, p := range e.order {
		for _, path := range p.paths {
			if path.watched && e.misses(now, path, e.view) {
				accusing[accusation{p.id, path.Remote}] = true
			}
		}
	}
	return accusing
}

func (e *engine) misses(now time.Time, p *path, v View) bool {
	ours := v.Silent != "" || v.Fenced[p.Link]
	// One that is heard and does not hear is missed, too, if a witness hears us.
	deaf := e.alone && p.established && p.their&hearing == 0
	return (p.silent(now) || deaf) && !ours || p.established && !p.silent(now) && p.their&fenced != 0
}

// asking reports whether this speaker was frozen a moment ago and has not heard yet
// what the others think of it. It is silent, but says nothing of that: they may
// not have noticed, and were perhaps frozen, too, with the whole machine.
func (e *engine) asking(now time.Time) bool {
	return !e.thawed.IsZero() && now.Sub(e.thawed) < e.timing.Detection()
}

// suspects are the peers about whom there is anything to decide.
func (e *engine) suspects(now time.Time) map[uint64]bool {
	suspects := map[uint64]bool{}
	for _, q := range e.order {
		if now.Sub(q.accusedAt) >= accusationLife {
			continue
		}
		for a := range q.accuses {
			suspects[a.node] = true
		}
	}
	return suspects
}

// dead returns the addresses at which a peer is dead: it says so itself, or two
// speakers miss it. One is enough where no other could.
func (e *engine) dead(now time.Time, p *peer, v View) []netip.Addr {
	var dead []netip.Addr
	for _, path := range p.paths {
		if path.watched && path.established && !path.silent(now) && path.their&fenced != 0 {
			dead = append(dead, path.Remote)
			continue
		}
		ours := path.watched && e.misses(now, path, v)
		votes, needed := 0, 1
		if ours {
			votes = 1
		}
		for _, q := range e.order {
			if q == p || !q.member {
				continue
			}
			if q.accuses[accusation{p.id, path.Remote}] && now.Sub(q.accusedAt) < accusationLife {
				votes++
			}
			if !ours || e.ring.neighbours(q.name, p.name) && q.votes(now) {
				needed = 2
			}
		}
		if votes >= needed {
			dead = append(dead, path.Remote)
		}
	}
	return dead
}

// count remembers a death, and forgets old ones. What a speaker that is alone takes
// for a death counts only if it was not cut off itself before: one whose link has
// just come back has a witness before the others have found it again.
func (e *engine) count(now time.Time, p *peer, dead bool) {
	if dead && !p.dead && (len(p.losses) == 0 || now.Sub(p.losses[len(p.losses)-1]) > oneLoss) {
		p.losses = append(p.losses, now)
	}
	for len(p.losses) > 0 && now.Sub(p.losses[0]) > memory {
		p.losses = p.losses[1:]
	}
}
