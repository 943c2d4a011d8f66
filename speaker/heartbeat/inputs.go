package heartbeat

import (
	"slices"
	"time"
)

const (
	// challengePause is the shortest time between two answers on a path to messages that do
	// not prove to be recent. They may be recordings.
	challengePause = 10 * time.Millisecond
	// maxEpochStep bounds how far a speaker raises its epoch because another speaker knows a
	// higher one, in nanoseconds.
	maxEpochStep = uint64(20 * 365 * 24 * time.Hour)
	// maxIdentities bounds how many former members are remembered.
	maxIdentities = 4096
	// goneMemory is how long a restarted member is told that it was dead before.
	goneMemory = 10 * time.Second
	// startTime is how long after its start a speaker believes that.
	startTime = 5 * time.Second
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
			m = &member{name: want.Name, id: nodeID(want.Name), lost: true, identity: e.former[want.Name]}
			delete(e.former, want.Name)
		}
		if !m.lost && want.Lost && len(m.dead) == 0 && heard {
			e.countLoss(now, m, true) // the member list has detected a death that the heartbeats did not
		}
		m.gone = m.gone || want.Lost && !m.lost
		m.lost = want.Lost
		m.setPaths(now, e.timing, want.Paths, !want.Lost && e.ring.neighbours(e.name, want.Name))
		e.members[want.Name] = m
		e.order = append(e.order, m)
	}
	for name, m := range before {
		if e.members[name] == nil && m.epoch > 0 && len(e.former) < maxIdentities {
			e.former[name] = m.identity
		}
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
	if msg.echo != e.epoch || msg.epoch < m.epoch {
		e.challenge(now, path, msg)
		return
	}
	before := m.epoch
	if !m.accept(msg) {
		return
	}
	if m.gone && before > 0 && m.epoch > before {
		m.restarted = now
	}
	m.gone = false
	if msg.flags&flagGone != 0 && now.Sub(e.started) < startTime {
		e.wasGone = true
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

// challenge answers a message that does not prove to be recent: it does not repeat this
// speaker's epoch, or it is of an earlier epoch of its sender. Nothing of it is kept. The
// answer has this speaker's epoch, and the sender's newest one. A sender that lives repeats
// the first, and takes a higher one than the second if its clock has gone back.
func (e *engine) challenge(now time.Time, path *path, msg message) {
	if msg.echo > e.epoch && msg.echo-e.epoch < maxEpochStep {
		e.epoch = msg.echo + 1
	}
	if now.Sub(path.challenged) < challengePause {
		return
	}
	path.challenged = now
	e.sendEcho(path, 0, max(msg.epoch, path.member.epoch), now)
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
