package heartbeat

import (
	"net/netip"
	"slices"
	"time"
)

// decide brings everything up to date that depends on the time.
func (e *engine) decide(now time.Time) {
	e.judgeSelf(now)
	for _, m := range e.near {
		e.judge(now, m)
	}
	e.updateSuspicions(now)
}

// sweep does what decide does, for members that are not watched.
func (e *engine) sweep(now time.Time) {
	for _, id := range e.tally.prune(now) {
		if m := e.byID[id]; m != nil {
			e.judge(now, m)
		}
	}
	for _, m := range e.order {
		if len(m.dead) > 0 {
			e.judge(now, m)
		}
		if !m.kernelDeadAt.IsZero() && now.Sub(m.kernelDeadAt) > kernelMemory {
			m.kernelDeadAt, e.changed = time.Time{}, true
		}
	}
}

// judge decides at which of its addresses a member is dead.
func (e *engine) judge(now time.Time, m *member) {
	var dead []netip.Addr
	for _, p := range m.paths {
		e.judgePath(now, p)
		if e.isDeadAt(now, p) {
			dead = append(dead, p.Remote)
		}
	}
	if !slices.Equal(dead, m.dead) {
		m.dead, e.changed = dead, true
	}
	wasKernelAlive := m.kernelDeadAt.IsZero()
	if m.isKernelDead() {
		m.kernelDeadAt = now
	} else if slices.ContainsFunc(m.paths, func(p *path) bool { return p.watched && p.kernel.watched && !p.kernel.dead }) {
		m.kernelDeadAt = time.Time{}
	}
	e.changed = e.changed || m.kernelDeadAt.IsZero() != wasKernelAlive
	// A member that is dead on one of its links only has not gone.
	if len(m.paths) > 0 && !slices.ContainsFunc(m.paths, func(p *path) bool { return !p.dead }) {
		m.gone = true
	}
}

// isDeadAt reports whether this speaker must not count on the member at the end of a path. A lost member that
// is back must be established there, too, and alive.
func (e *engine) isDeadAt(now time.Time, p *path) bool {
	m := p.member
	switch {
	case m.counts() && (p.dead || p.saysFenced(now)):
		return true
	case m.back && !p.established:
		return true
	default:
		return m.back && p.watched && !p.alive(now) && !e.isUndecided(now, p)
	}
}

// judgePath decides whether a member is dead at one of its addresses: two speakers miss it
// there. One is enough if no other speaker could miss it, or if the member list of another one,
// which watched it, has lost it. A dead member lives again when not enough speakers miss it and it
// has begun a new epoch. Those who watch it see to that, and the others believe them.
func (e *engine) judgePath(now time.Time, p *path) {
	missed, how := e.misses(now, p)
	votes, kernelVotes, kinds := 0, 0, how
	if missed {
		votes = 1
		kernelVotes = int(how & kindKernel)
	}
	on := linkAccused{p.Link, accused{p.member.id, p.Remote}}
	for voter, v := range e.tally[on] {
		if voter != p.member && e.believes(now, voter, on) {
			kinds |= v.kind
			if v.kind.isVote() {
				votes++
				kernelVotes += int(v.kind & kindKernel)
			}
		}
	}
	isLost := kinds&(kindLost|kindReached) == kindLost
	isDecided := !p.watched && kinds&kindSure != 0
	needed := 2
	if isDecided || missed && (isLost || !e.othersCouldMiss(now, p)) {
		needed = 1
	}
	p.denied = kinds&kindReached != 0
	dead := votes >= needed || !p.watched && kinds&kindWaiting != 0
	switch {
	case dead:
		p.missedAt = now
		if kernelDead := kernelVotes >= needed; kernelDead != p.kernelDead {
			p.kernelDead, e.changed = kernelDead, true
		}
		if !p.dead {
			p.dead, p.deadEpoch, e.changed = true, p.member.epoch, true
		}
	case p.dead && p.member.epoch <= p.deadEpoch && e.isToBeTold(now, p):
		p.missedAt, p.kernelDead = now, false
	case p.dead && (p.member.epoch > p.deadEpoch || !missed && (!p.watched && kinds&kindLost == 0 || now.Sub(p.missedAt) > mourning)):
		p.dead, p.kernelDead, e.changed = false, false, true
	case p.dead && !missed && p.alive(now) && now.Sub(p.toldAt) >= tellPause:
		p.toldAt = now
		e.send(p, 0, now) // so that it learns that it is dead
	}
}

// isToBeTold reports whether a dead member is lost, or came back a moment ago. No member watches a lost
// one. When it is back, those who begin to watch it tell it that it is dead, and the others that they
// wait for its new epoch.
func (e *engine) isToBeTold(now time.Time, p *path) bool {
	m := p.member
	return !m.counts() || !p.watched && now.Sub(m.backAt) < e.timing.Detection()
}

// believes reports whether the suspicion of a member counts. It does not count if more speakers
// miss the member itself: a speaker that is deaf misses all others.
func (e *engine) believes(now time.Time, voter *member, on linkAccused) bool {
	if !voter.counts() {
		return false
	}
	for _, p := range voter.paths {
		if p.Link != on.link {
			continue
		}
		if p.dead || p.watched && !p.isSound(now, e.timing) || p.flags&flagFenced != 0 {
			return false
		}
		if e.tally.against(linkAccused{on.link, accused{voter.id, p.Remote}}) > e.tally.against(on) {
			return false
		}
	}
	return true
}

// othersCouldMiss reports whether another speaker watches the member at the end of a path, and
// could say so.
func (e *engine) othersCouldMiss(now time.Time, p *path) bool {
	for _, name := range e.ring.around(p.member.name) {
		m := e.members[name]
		if m == nil || m == p.member {
			continue // it is this speaker
		}
		for _, other := range m.paths {
			if other.Link == p.Link && !other.dead && (!other.watched || other.alive(now) && !other.expired(now) && other.flags&flagFenced == 0) {
				return true
			}
		}
	}
	return false
}
