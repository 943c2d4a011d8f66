package heartbeat

import "time"

const (
	// loudTicks is the number of intervals in which news is sent to all members. After that, it
	// is sent to the neighbours in every heartbeat. While there are suspicions, or this speaker is
	// fenced, it is sent to all members every quietTicks intervals: what is not repeated expires.
	loudTicks, quietTicks = 5, 10
	// reminders is how many members that are no neighbours, and have not said that they know this
	// speaker's profile, are asked in an interval. The news may have been lost on the way to them.
	reminders = 3
	// noticing is how long a member that is not heard any more is told so often, in intervals.
	noticing = 5
)

// beat sends the heartbeats that are due to the neighbours.
func (e *engine) beat(now time.Time) {
	for _, m := range e.near {
		for _, p := range m.paths {
			late := p.established && !p.expired(now) && !now.Before(p.probeAt)
			switch {
			case late:
				p.probeAt = now.Add(e.timing.again())
				e.send(p, flagProbe, now)
			case now.Before(p.nextAt):
			case p.expired(now) || !p.established || e.mustKnow(now, p):
				e.send(p, flagProbe, now)
			default:
				e.send(p, 0, now)
			}
		}
	}
}

// remind sends the profile to members that may not have it.
func (e *engine) remind(now time.Time) {
	asked := 0
	for i := range e.order {
		m := e.order[(e.reminded+i)%len(e.order)]
		if asked == reminders {
			e.reminded = (e.reminded + i) % len(e.order)
			return
		}
		if m.knows == e.profile.Version || !m.counts() || !m.isMet() || e.ring.neighbours(e.name, m.name) {
			continue
		}
		asked++
		for _, p := range m.paths {
			e.send(p, flagProbe, now)
		}
	}
}

// tellNews tells all members what has changed, but not more often than every again.
func (e *engine) tellNews(now time.Time) {
	if !e.tellAll || now.Sub(e.toldAll) < e.timing.again() {
		return
	}
	e.tellAll, e.toldAll = false, now
	for _, m := range e.order {
		if m.lost && !m.back {
			continue
		}
		for _, p := range m.paths {
			switch {
			case p.watched && p.expired(now):
			case e.mustKnow(now, p):
				e.send(p, flagProbe, now)
			default:
				e.send(p, 0, now)
			}
		}
	}
}

// mustKnow reports whether the neighbour at the end of the path hears this speaker, but has not said
// yet that it knows the present profile. It is asked often until it says so: this speaker may wait for
// its answer before it takes its addresses back.
func (e *engine) mustKnow(now time.Time, p *path) bool {
	return p.watched && p.member.knows != e.profile.Version && p.mutual(now)
}

// mustNotice reports whether the member's process became silent a short time ago while its kernel
// answers. It may hear this speaker, and must learn soon that it is not heard: it fences itself then.
func (e *engine) mustNotice(now time.Time, p *path) bool {
	return p.watched && p.expired(now) && !p.closed && p.kernel.watched && !p.kernel.dead && now.Sub(p.deadline) < noticing*e.timing.Interval
}

// announceNews makes tellNews tell all members, and repeat it.
func (e *engine) announceNews() { e.loud, e.tellAll = loudTicks, true }

func (e *engine) send(p *path, f flags, now time.Time) { e.sendEcho(p, f, p.member.epoch, now) }

// sendEcho sends a message that repeats an epoch of the member. What it says of the member's death
// is of that epoch: the member may have begun one that this speaker has not accepted yet.
func (e *engine) sendEcho(p *path, f flags, echo uint64, now time.Time) {
	e.seq++
	if p.established && !p.expired(now) {
		f |= flagHearing
	}
	if e.isFenced(p.Link) {
		f |= flagFenced
	}
	switch {
	case p.dead && p.deadEpoch >= echo:
		f |= flagDead | flagRenew
	case p.dead:
		f |= flagDead
	case now.Before(e.self.pausedUntil):
		f |= flagPaused
	}
	switch m := p.member; {
	case e.self.asking:
		f |= flagAsking // what it knows of others is old
	case m.goneEpoch == echo && now.Sub(m.restarted) < goneMemory:
		f |= flagGone
		if len(m.returns) >= maxDeaths {
			f |= flagOften
		}
	}
	interval := e.timing.Interval
	if p.kernel.watched {
		f |= flagKernel
	}
	if p.flags&flagKernel != 0 && !p.expired(now) {
		interval = e.timing.SlowInterval
	}
	if e.mustKnow(now, p) || e.mustNotice(now, p) {
		interval = e.timing.again()
	}
	p.nextAt = now.Add(interval)
	if p.established && !p.expired(now) {
		p.nextAt = earlier(p.nextAt, p.deadline) // then the member must notice that it is not heard
	}
	m := message{
		name: e.name, from: p.Local, to: p.Remote, epoch: e.epoch, echo: echo, seq: e.seq, flags: f,
		profile: Profile{Version: e.profile.Version}, knows: p.member.profile.Version,
	}
	if p.member.knows != e.profile.Version {
		m.profile.Bytes = e.profile.Bytes
	}
	for _, other := range p.member.paths {
		if other != p && other.dead {
			m.suspicions = append(m.suspicions, suspicion{p.member.id, other.Remote, kindSure})
		}
	}
	for _, vote := range []bool{true, false} { // if there are too many, the last ones are left out
		for a, kind := range e.suspicions[p.Link] {
			if kind.isVote() == vote {
				m.suspicions = append(m.suspicions, suspicion{a.node, a.addr, kind})
			}
		}
	}
	e.out = append(e.out, packet{p.Path, m})
}
