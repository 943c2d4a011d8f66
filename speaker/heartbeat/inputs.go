package heartbeat

import (
	"slices"
	"time"
)

const (
	// epochRollback is the time without a message after which the epoch of a member may
	// also go backwards: a machine without a battery-backed clock has restarted.
	epochRollback = 10 * time.Second
	// suppressionLife is how long this speaker stays suppressed after a message of a
	// member that suppresses it.
	suppressionLife = 3 * time.Second
)

// set replaces the members. The engine keeps what it knows about paths that stay.
func (e *engine) set(now time.Time, members []Member) {
	e.noticeSleep(now)
	before, heard := e.members, e.hearsAnyMember(now)
	e.members, e.order = make(map[string]*member, len(members)), nil
	names := []string{e.name}
	for _, m := range members {
		if !m.Lost {
			names = append(names, m.Name)
		}
	}
	e.ring = newRing(names)
	for _, want := range members {
		m := before[want.Name]
		if m == nil {
			m = &member{name: want.Name, id: nodeID(want.Name), lost: true}
		}
		if !m.lost && want.Lost && len(m.dead) == 0 && heard {
			e.countLoss(now, m, true) // the member list has detected a death that the heartbeats did not
		}
		m.lost = want.Lost
		m.setPaths(now, e.timing, want.Paths, !want.Lost && e.ring.neighbours(e.name, want.Name))
		e.members[want.Name] = m
		e.order = append(e.order, m)
	}
	if e.readyBy.IsZero() {
		e.readyBy = now.Add(readyPatience)
	}
	e.decide(now)
}

func (m *member) setPaths(now time.Time, timing Timing, paths []Path, watched bool) {
	before := m.paths
	m.paths = nil
	for _, want := range paths {
		i := slices.IndexFunc(before, func(b *path) bool { return b.Path == want })
		p := &path{Path: want, member: m}
		if i >= 0 {
			p = before[i]
		}
		if watched && !p.watched {
			// The member begins to send now. It was not expected to send before.
			p.established = p.established && !p.expired(now)
			p.bidirectional = p.bidirectional && p.established
			p.refresh(now, timing)
		}
		p.watched = watched
		m.paths = append(m.paths, p)
	}
}

// hearsAnyMember reports whether this speaker and at least one member hear each other.
func (e *engine) hearsAnyMember(now time.Time) bool {
	return slices.ContainsFunc(e.order, func(m *member) bool {
		return slices.ContainsFunc(m.paths, func(p *path) bool { return p.mutual(now) })
	})
}

// receive takes a message from a sender that has the key.
func (e *engine) receive(now time.Time, msg message) {
	e.noticeSleep(now)
	m := e.members[msg.name]
	if m == nil {
		return
	}
	path := m.find(msg.to, msg.from)
	if path == nil {
		return
	}
	switch {
	case msg.epoch > m.epoch, msg.epoch < m.epoch && now.Sub(path.deadline) > epochRollback:
		m.epoch = msg.epoch
		for _, other := range m.paths {
			other.lastSeq = 0
		}
	case msg.epoch < m.epoch, msg.seq <= path.lastSeq:
		return
	}
	path.lastSeq = msg.seq
	if msg.echo != e.epoch {
		e.send(path, 0, now) // so that the member learns our epoch
		return
	}
	fresh := !path.established || path.watched && path.expired(now)
	if !path.established {
		path.establishedAt = now
	}
	path.established, path.closed, path.flags = true, false, msg.flags
	path.bidirectional = path.bidirectional || msg.flags&flagHearing != 0
	if msg.flags&flagSuppress != 0 {
		e.suppressedUntil = now.Add(suppressionLife)
	}
	path.refresh(now, e.timing)
	m.noteSuspicions(now, msg)
	e.decide(now)
	if fresh || msg.flags&flagProbe != 0 {
		e.send(path, 0, now)
	}
}

// noteSuspicions keeps the suspicions of a message, unless its sender is fenced.
func (m *member) noteSuspicions(now time.Time, msg message) {
	if msg.flags&flagFenced == 0 {
		m.suspectedAt, m.suspicions = now, make(map[suspicion]bool, len(msg.suspicions))
		for _, s := range msg.suspicions {
			m.suspicions[s] = true
		}
	} else if len(m.paths) == 1 {
		m.suspicions = nil
	}
}

// crashed is called when a member's kernel has closed the connection to its process.
func (e *engine) crashed(now time.Time, name string) {
	e.noticeSleep(now)
	m := e.members[name]
	if m == nil {
		return
	}
	for _, path := range m.paths {
		if path.watched && path.established && !path.expired(now) {
			path.deadline = earlier(path.deadline, now.Add(crashGrace))
			path.probeAt, path.closed = now, true
		}
	}
}

// witness is called when a witness has answered. The answer counts until that time.
func (e *engine) witness(now, until time.Time) {
	e.noticeSleep(now)
	e.witnessedUntil = until
	e.decide(now)
}
