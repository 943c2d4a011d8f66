package heartbeat

import "time"

const (
	// maxDeaths is the number of deaths within deathMemory after which this speaker is
	// suppressed. With the return in between, each of its VIPs has moved three times. Networks
	// that watch for duplicate hosts begin to block at five moves in 180 s (RFC 7432, section
	// 15.1).
	maxDeaths   = 2
	deathMemory = 180 * time.Second
	// sameDeath is how long a speaker must be well between two deaths.
	sameDeath = time.Second
	// smallSleep is the lateness of this process that is not worth a correction.
	smallSleep = 2 * time.Millisecond
	// pause is how long a speaker does not answer after a sleep in which its kernel may have been
	// taken for dead, unless it hears a member before.
	pause = 20 * time.Millisecond
	// startTime is how long after its start a speaker believes how often it has died before.
	startTime = 10 * time.Second
)

// self is what a speaker knows about its own lives.
type self struct {
	// deaths counts how often other speakers have taken this one for dead. resumed is the number
	// that Heartbeat.Resume was called with last: until it follows, this speaker may not answer.
	deaths, resumed int
	// deathEpoch is the epoch in which this speaker learned of its last death, at diedAt.
	deathEpoch uint64
	diedAt     time.Time
	// linkDeaths counts how often others have taken it for dead on one of its links only.
	linkDeaths int
	// recent are the times of the deaths that count for suppression. A death counts if this
	// speaker was well since the last one, on all links for sameDeath. Otherwise it may be the same
	// death, in the word of another member.
	recent    []time.Time
	wasWell   bool
	wellSince time.Time
	// asking is set after a freeze, which ended at thawedAt, until a member says whether this speaker was
	// replaced. It does not answer before. But until patientUntil it does not fence itself: the members may not
	// have detected the freeze, or the whole machine was frozen, with the members.
	asking       bool
	patientUntil time.Time
	thawedAt     time.Time
	freezes      int
	// pausedUntil is until when it does not answer after a shorter sleep, unless a member is heard
	// before: the whole machine may have slept, and others have replaced it.
	pausedUntil time.Time
	// told are the links on which a member says that it takes this speaker for dead.
	told map[string]bool
}

// hear draws the conclusions from the flags of a new message.
func (s *self) hear(e *engine, now time.Time, p *path) {
	p.updateTelling(now, e.timing)
	if !p.watched || !p.mutual(now) || !p.isSound(now, e.timing) {
		return // it may be deaf, and take all others for dead
	}
	switch {
	case p.flags.renews() && !p.flags.isAsking(): // the member says so again when it does not ask any more
		e.newEpoch(uint64(now.UnixNano()))
		s.deathEpoch = e.epoch
	case p.flags&flagGone != 0 && s.deathEpoch < e.epoch:
		s.die(e, now)
	}
	if p.flags&(flagGone|flagOften) == flagGone|flagOften && len(s.recent) < maxDeaths && now.Sub(e.started) < startTime {
		s.recent = []time.Time{now, now} // this process was not there when it died before
	}
	s.asking, s.pausedUntil = false, time.Time{}
}

// tell notes on which links a member takes this speaker for dead now. While it is well on another
// link, only the addresses of that link have moved.
func (s *self) tell(e *engine, now time.Time, r reception) {
	wellElsewhere := false
	for link := range r.alive {
		wellElsewhere = wellElsewhere || !r.told[link]
	}
	for link := range r.told {
		switch {
		case s.told[link]:
			continue
		case wellElsewhere:
			s.linkDeaths++
			e.changed = true
		case now.Sub(s.diedAt) > e.timing.Detection(): // else it is the same death
			s.die(e, now)
		}
		break
	}
	s.told = r.told
}

// die notes that other speakers have taken this one for dead.
func (s *self) die(e *engine, now time.Time) {
	s.deaths++
	s.deathEpoch, s.diedAt = e.epoch, now
	if s.wasWell || len(s.recent) == 0 {
		s.recent = append(s.recent, now)
	}
	s.wasWell, s.wellSince = false, time.Time{}
	e.announceNews()
	e.changed = true
}

// resume is called when this node has forgotten what it announced before its death number n.
func (e *engine) resume(n int) {
	if e.self.resumed != n {
		e.self.resumed = n
		e.announceNews()
	}
}

// watchHealth notes whether this speaker is well: it is fenced on no link, and not frozen.
func (s *self) watchHealth(now time.Time, well bool) {
	switch {
	case !well || s.asking:
		s.wellSince = time.Time{}
	case s.wellSince.IsZero():
		s.wellSince = now
	case now.Sub(s.wellSince) > sameDeath:
		s.wasWell = true
	}
}

// isSuppressed reports whether this speaker has died too often.
func (s *self) isSuppressed(now time.Time) bool {
	for len(s.recent) > 0 && now.Sub(s.recent[0]) > deathMemory {
		s.recent = s.recent[1:]
	}
	return len(s.recent) >= maxDeaths
}

// newEpoch begins a new epoch: members that have taken this speaker for dead do so no more, and
// messages of theirs that are on their way do not count.
func (e *engine) newEpoch(least uint64) {
	e.epoch = max(e.epoch+1, least)
	e.announceNews()
}

// noticeSleep checks whether this process has slept. During a short sleep it heard no
// member, so it moves their deadlines. After a sleep for which other nodes may have replaced
// this one, it asks them: that is a freeze.
func (e *engine) noticeSleep(now time.Time) {
	slept := now.Sub(e.planned)
	if slept < smallSleep {
		return
	}
	e.planned = now
	frozen := now.Sub(e.ticked) >= e.leaseTime()
	for _, m := range e.near {
		for _, p := range m.paths {
			p.kernel.shift(slept)
			if p.dead {
				p.missedAt = p.missedAt.Add(slept)
			}
			switch {
			case p.expired(now.Add(-slept)):
			case frozen:
				p.flags &^= flagHearing
				p.expect(now, e.timing)
				if p.closed {
					p.deadline = now.Add(crashGrace)
				}
			default:
				p.deadline, p.probeAt = p.deadline.Add(slept), p.probeAt.Add(slept)
			}
			if slept >= e.timing.Kernel.Detection {
				p.probeAt = now // the whole machine may have slept, and its kernel, too
			}
		}
	}
	if slept >= e.timing.Kernel.Detection {
		e.self.pausedUntil = now.Add(pause)
	}
	if frozen {
		e.self.asking, e.witnessedUntil, e.alone = true, time.Time{}, false
		e.self.thawedAt, e.self.patientUntil = now, now.Add(e.timing.Detection())
		e.self.freezes++
		e.newEpoch(uint64(now.UnixNano()))
		e.changed = true
	}
}

// leaseTime is how long after its last step this speaker may answer. Its last heartbeat may be an
// interval older, and no member misses the next one before.
func (e *engine) leaseTime() time.Duration {
	for _, m := range e.near {
		for _, p := range m.paths {
			if p.established && p.flags&flagKernel == 0 {
				return e.timing.Detection() - e.timing.Interval
			}
		}
	}
	return e.timing.SlowDetection() - e.timing.SlowInterval
}

// lease returns the time until which this speaker may answer if it is not called again.
func (e *engine) lease() time.Time {
	if e.fencing.reason != "" || e.self.asking || e.ticked.Before(e.self.pausedUntil) || e.self.resumed != e.self.deaths {
		return time.Time{}
	}
	return e.ticked.Add(e.leaseTime())
}
