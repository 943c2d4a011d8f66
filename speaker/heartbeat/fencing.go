package heartbeat

import (
	"maps"
	"slices"
	"time"
)

// fencing is what a speaker concludes about itself: on which links it is fenced.
type fencing struct {
	links       map[string]bool
	reason      string // why the speaker must not announce; "" if it may
	needWitness bool
}

const (
	reasonUnheard = "no member is reached"
	reasonFrozen  = "this process was frozen and has not heard from a member since"
	reasonTold    = "other members do not reach this speaker"
)

// isFenced reports whether this speaker tells the members on a link that it announces nothing.
func (e *engine) isFenced(link string) bool {
	return e.fencing.reason != "" || e.fencing.links[link] || e.held || e.self.resumed != e.self.deaths
}

// reception says how well this speaker reaches the members.
type reception struct {
	members int // that count
	// expected counts, by link, the members that should be reached. alive has the links on which
	// one is.
	expected map[string]int
	alive    map[string]bool
	told     map[string]bool // links on which a member takes this speaker for dead
	kept     map[string]bool // links that stay fenced, because nothing is known of them now
	late     bool            // an answer is late
	some     bool            // there is a path that proves something
	closed   bool            // every member's kernel has closed the process's connection
	active   bool            // a member is heard that goes on, although it cannot be reached
	gone     bool            // every member is dead
}

func (e *engine) reception(now time.Time) reception {
	r := reception{members: len(e.ring.names) - 1, expected: map[string]int{}, alive: map[string]bool{}, told: map[string]bool{}, kept: map[string]bool{}, closed: true, gone: true}
	tallies := map[string]*linkTally{}
	for _, m := range e.near {
		r.gone = r.gone && len(m.dead) == len(m.paths)
		for _, p := range m.paths {
			if !p.proves() {
				continue
			}
			p.updateTelling(now, e.timing)
			if tallies[p.Link] == nil {
				tallies[p.Link] = &linkTally{}
			}
			tallies[p.Link].add(now, p)
			r.late = r.late || e.isLate(now, p)
			r.closed, r.some = r.closed && p.closed, true
			r.active = r.active || p.isActive(now, e.timing)
		}
	}
	for link, t := range tallies {
		r.expected[link] = t.expected
		if t.isAlive() {
			r.alive[link] = true
		}
		if t.isTold() {
			r.told[link] = true
		}
	}
	// A fenced link stays so until a member is reached on it, although the neighbours may be others
	// now.
	for link := range e.fencing.links {
		if _, ok := r.expected[link]; !ok && e.isUsed(link) && !e.isHeardOn(now, link) {
			r.expected[link], r.kept[link] = 0, true
		}
	}
	if r.members <= 1 {
		// A lost member cannot be reached on purpose, but one cannot tell whose fault that is.
		for _, p := range e.lost {
			if p.established {
				r.expected[p.Link] += 0
				r.late = true
				r.closed, r.some = r.closed && p.closed, true
			}
		}
	}
	return r
}

// linkTally counts, on one link, the members that should be reached, by what is known of them.
type linkTally struct {
	expected int
	mutual   int  // they and this speaker hear each other
	kernels  int  // their kernels answer, which may be all
	silent   int  // their kernels answer, but they are silent, or do not hear this speaker
	told     bool // a member takes this speaker for dead
	accused  bool // a member that does not hear this speaker takes it for dead
}

func (t *linkTally) add(now time.Time, p *path) {
	t.expected++
	switch {
	case p.mutual(now) && p.alive(now):
		t.mutual++
	case p.alive(now):
		t.kernels++
	case p.isSilent(now):
		t.silent++
	}
	t.told = t.told || p.telling
	t.accused = t.accused || p.accusing
}

// isAlive reports whether members are reached. Members that are reached by their kernels alone are not
// enough if more members have become silent, or do not hear this speaker any more, while their kernels
// answer: a firewall drops its heartbeats, and other nodes may have its addresses.
func (t *linkTally) isAlive() bool {
	return t.mutual > 0 || t.kernels > 0 && t.kernels >= t.silent
}

// isTold reports whether this speaker has to believe that others take it for dead. The word of a member that
// does not hear it counts if no member hears it.
func (t *linkTally) isTold() bool {
	return t.told || t.accused && t.mutual == 0
}

// isUsed reports whether a member was ever heard on the link.
func (e *engine) isUsed(link string) bool {
	return slices.ContainsFunc(e.order, func(m *member) bool {
		return m.counts() && slices.ContainsFunc(m.paths, func(p *path) bool { return p.Link == link && p.known })
	})
}

// isHeardOn reports whether any member and this speaker hear each other on the link now.
func (e *engine) isHeardOn(now time.Time, link string) bool {
	return slices.ContainsFunc(e.order, func(m *member) bool {
		return m.counts() && slices.ContainsFunc(m.paths, func(p *path) bool { return p.Link == link && p.mutual(now) })
	})
}

// isLate reports whether a sign of life is late, so that a witness should be asked in time.
func (e *engine) isLate(now time.Time, p *path) bool {
	if p.kernel.watched {
		return p.kernel.dead || p.kernel.open > 1 || p.established && !now.Before(p.probeAt)
	}
	return !p.mutual(now) || !now.Before(p.probeAt)
}

// judgeSelf decides whether this speaker is alone, and on which links it is fenced.
func (e *engine) judgeSelf(now time.Time) {
	e.ready = e.ready || e.isReady(now)
	r := e.reception(now)
	e.self.tell(e, now, r)
	for link := range r.alive {
		if !e.alive[link] {
			e.recover(now, link)
		}
	}
	e.alive, e.kept = r.alive, r.kept
	e.updateAlone(now, r)
	f := e.fence(r)
	if e.self.asking && now.Before(e.self.patientUntil) {
		// It hears nobody because it did not run. That is no reason to be fenced, or to be fenced no more.
		f.links, f.reason = e.fencing.links, e.fencing.reason
	}
	if f.reason == "" {
		e.unfencedAt = now
	}
	e.self.watchHealth(now, len(f.links) == 0)
	if f.reason != e.fencing.reason || f.needWitness != e.fencing.needWitness || !maps.Equal(f.links, e.fencing.links) {
		if f.reason != e.fencing.reason || !maps.Equal(f.links, e.fencing.links) {
			e.announceNews()
		}
		e.fencing, e.changed = f, true
	}
}

// recover is called when a link works again. A member that was silent on it while it did not work
// has the time to answer.
func (e *engine) recover(now time.Time, link string) {
	for _, m := range e.near {
		for _, p := range m.paths {
			if p.Link == link {
				p.kernel.revive(now)
				if p.expired(now) {
					p.expect(now, e.timing)
				}
			}
		}
	}
}

// updateAlone decides whether this speaker is the only one that is left, and whether a freeze is
// over because no member could have replaced it.
func (e *engine) updateAlone(now time.Time, r reception) {
	switch {
	case r.active && e.alone:
		e.alone = false
		e.pardon() // it is this speaker that is cut off
	case len(r.alive) > 0, r.active:
		e.alone = false
	case r.members <= 1:
		// A speaker with one other member, or with none, reaches no member in two cases: the other
		// members are dead, or the network of this node is broken. A witness tells which is true,
		// or the other member's kernel, which has closed the connection.
		if !e.alone && (e.isWitnessed(now) || r.closed && r.some) {
			e.alone, e.cutOff = true, false
			e.replace(true)
		}
	}
	// If members are reached by their kernels alone, none may ever say whether this speaker was replaced.
	// They have asked its kernel seldom, and have believed it dead for mourning after an answer.
	isOver := r.gone || now.Sub(e.self.thawedAt) > mourning+e.timing.SlowDetection()
	if e.self.asking && (len(r.expected) == 0 || e.alone || isOver && len(r.alive) > 0) {
		e.self.asking = false
	}
}

// isWitnessed reports whether a witness says that this node's network works. If it did not work for so
// long that the others may have lost this speaker, they have time to be heard first.
func (e *engine) isWitnessed(now time.Time) bool {
	if !now.Before(e.witnessedUntil) {
		return false
	}
	return now.Sub(e.unfencedAt) < e.timing.SlowDetection() || now.Sub(e.witnessedSince) >= readyPatience
}

// replace notes that this speaker takes the place of all lost members, or that it does not.
func (e *engine) replace(gone bool) {
	for _, m := range e.order {
		if !m.counts() {
			m.gone = gone
		}
	}
}

// pardon forgets the deaths that this speaker has found while it believed to be alone.
func (e *engine) pardon() {
	e.replace(false)
	for _, m := range e.order {
		for _, p := range m.paths {
			p.verdict = verdict{}
		}
	}
}

// fence decides on which links this speaker is fenced. It is fenced on a link on which it
// reaches no member, or on which a member takes it for dead.
func (e *engine) fence(r reception) fencing {
	f := fencing{links: map[string]bool{}}
	for link, n := range r.expected {
		// If members are reached on another link, a single member that is missed on this link may
		// be dead.
		if r.told[link] || !r.alive[link] && !e.alone && (len(r.alive) == 0 || n > 1 || r.kept[link]) {
			f.links[link] = true
		}
	}
	f.needWitness = r.members <= 1 && len(r.expected) > 0 && r.late && !e.alone
	switch {
	case len(f.links) == 0 || len(f.links) < len(r.expected):
	case e.self.asking:
		f.reason = reasonFrozen
	case len(r.told) > 0:
		f.reason = reasonTold
	default:
		f.reason = reasonUnheard
	}
	return f
}

// isReady reports whether all neighbours were heard, or readyBy has passed: a firewall
// may block them.
func (e *engine) isReady(now time.Time) bool {
	if e.readyBy.IsZero() {
		return false // the members are not known yet
	}
	if !now.Before(e.readyBy) {
		return true
	}
	for _, m := range e.near {
		for _, p := range m.paths {
			if !p.mutual(now) {
				return false
			}
		}
	}
	return true
}
