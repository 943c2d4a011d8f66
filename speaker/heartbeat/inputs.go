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
	// higher one, and how far other speakers' epochs may be ahead, in nanoseconds. A machine's
	// clock may begin in 1970.
	maxEpochStep = uint64(100 * 365 * 24 * time.Hour)
	// maxLifeStep is the most by which it goes beyond that epoch, in nanoseconds.
	maxLifeStep = uint64(time.Hour)
	// goneMemory is how long a member that lives again is told that it was dead before.
	goneMemory = 10 * time.Second
)

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
	before := m.epoch
	if !e.admit(now, path, msg) || path.closed && now.Sub(path.closedAt) < crashEcho {
		return
	}
	fresh := !path.established || path.watched && path.expired(now) || m.epoch != before
	e.hear(now, path, msg, fresh)
	touched := e.tally.note(now, path, msg)
	e.judgeSelf(now)
	e.judge(now, m)
	for _, id := range touched {
		if accused := e.byID[id]; accused != nil {
			e.judge(now, accused)
		}
	}
	e.updateSuspicions(now)
	if fresh || msg.flags&flagProbe != 0 {
		e.send(path, 0, now)
	}
	e.updateView(now)
}

// admit reports whether a message is recent and new. It answers one that does not prove that.
func (e *engine) admit(now time.Time, path *path, msg message) bool {
	m := path.member
	if msg.epoch > max(e.epoch, uint64(now.UnixNano()))+maxEpochStep {
		return false // only another holder of the key can have sent it
	}
	if msg.echo != e.epoch || msg.epoch < m.epoch {
		path.notice(now, msg)
		e.challenge(now, path, msg, max(msg.epoch, m.epoch))
		return false
	}
	before := m.epoch
	isNew, wedged := m.accept(msg)
	switch {
	case wedged:
		e.challenge(now, path, msg, m.epoch+1) // the member begins a new epoch
	case isNew && m.epoch > before:
		e.beginLife(now, m, msg, before > 0)
	}
	return isNew
}

// beginLife notes that a member has begun a new epoch. known says whether it had one before.
func (e *engine) beginLife(now time.Time, m *member, msg message, known bool) {
	if msg.profile.Version == 0 {
		m.profile, e.changed = Profile{}, true // it has said nothing yet in this life
	}
	if m.gone && known {
		m.comeBack(now)
	}
}

// hear notes what a new message says of its sender and of this speaker.
func (e *engine) hear(now time.Time, path *path, msg message, fresh bool) {
	m := path.member
	hasGoneOn := m.gone && path.known && msg.flags.goesOn()
	e.changed = e.changed || !m.kernelDeadAt.IsZero()
	m.gone, m.kernelDeadAt = false, time.Time{}
	if e.alone && hasGoneOn {
		e.cutOff = true
		e.pardon()
	}
	if !path.established {
		path.establishedAt = now
	}
	e.changed = e.changed || fresh || path.flags&flagFenced != msg.flags&flagFenced
	path.established, path.known, path.closed, path.flags, path.lostUntil = true, true, false, msg.flags, time.Time{}
	path.accused = msg.accused(nodeID(e.name))
	path.refresh(now, e.timing)
	e.doubtKernel(now, path)
	e.noteProfile(now, path, msg)
	e.self.hear(e, now, path)
}

// doubtKernel stops watching a kernel that does not answer for long while its speaker and this
// one hear each other. A network may begin to limit ARP.
func (e *engine) doubtKernel(now time.Time, p *path) {
	k := &p.kernel
	switch {
	case !k.dead || p.flags&flagHearing == 0:
		k.doubted = time.Time{}
	case k.doubted.IsZero():
		k.doubted = now
	case now.Sub(k.doubted) > e.timing.SlowDetection()+2*e.timing.SlowInterval:
		p.stopWatchingKernel(now, e.timing)
	}
}

// noteProfile keeps what the sender says of itself, and asks for it if it is missing.
func (e *engine) noteProfile(now time.Time, p *path, msg message) {
	m := p.member
	if msg.profile.Version < m.profile.Version && m.profileEpoch == m.epoch {
		return // a later message was faster on another path
	}
	m.knows = msg.knows
	if msg.profile.Version == m.profile.Version {
		return
	}
	if len(msg.profile.Bytes) > 0 {
		m.profile, m.profileEpoch, e.changed = msg.profile, m.epoch, true
		return
	}
	if msg.profile.Version != 0 && now.Sub(m.asked) >= e.timing.again() {
		m.asked = now
		e.send(p, flagProbe, now)
	}
}

// say replaces what this speaker says of itself.
func (e *engine) say(p Profile) {
	if p.Version != e.profile.Version {
		e.profile = p
		e.announceNews()
	}
}

// ask asks a member for its profile, because it behaves differently from what this speaker
// believes.
func (e *engine) ask(now time.Time, name string) {
	if m := e.members[name]; m != nil && now.Sub(m.asked) >= e.timing.again() {
		m.asked = now
		for _, p := range m.paths {
			e.send(p, flagProbe, now)
		}
	}
}

// challenge answers a message that does not prove to be recent: it does not repeat this
// speaker's epoch, or it is of an earlier epoch of its sender. Nothing of it is kept. The
// answer has this speaker's epoch, and an epoch of the sender. A sender that lives repeats the
// first, and takes a higher one than the second if that is not its own.
func (e *engine) challenge(now time.Time, path *path, msg message, echo uint64) {
	if msg.echo > e.epoch && msg.echo-e.epoch < maxEpochStep {
		// The step differs in each life. After a step of one, this speaker could come to an epoch that it
		// has had before, of which there may be recordings.
		e.newEpoch(msg.echo + 1 + uint64(e.started.UnixNano())%maxLifeStep)
	}
	if now.Sub(path.challenged) < challengePause {
		return
	}
	path.challenged = now
	e.sendEcho(path, 0, echo, now)
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
			path.probeAt, path.closed, path.closedAt = now.Add(crashEcho), true, now
		}
	}
}

// answered is called when a member's kernel has answered a probe.
func (e *engine) answered(at time.Time, on Path) {
	i := slices.IndexFunc(e.near, func(m *member) bool { return m.at(on.Link, on.Remote) != nil })
	if i < 0 {
		return
	}
	p := e.near[i].at(on.Link, on.Remote)
	if p.MAC == on.MAC && p.watched && !at.Before(p.kernel.distrustedUntil) {
		if !p.kernel.watched {
			p.deadline = p.heardAt.Add(e.timing.SlowDetection())
		}
		if p.kernel.dead {
			p.nextAt = at // its process may be back, too
		}
		p.kernel.answer(at, e.loss(p.Link))
	}
}

// unsent is called when a probe could not be sent: its missing answer proves nothing.
func (e *engine) unsent(on Path) {
	for _, m := range e.near {
		if p := m.at(on.Link, on.Remote); p != nil && p.kernel.open > 0 {
			p.kernel.open--
		}
	}
}

// witness is called when a witness has answered. The answer counts until that time.
func (e *engine) witness(now, until time.Time) {
	e.noticeSleep(now)
	if !now.Before(e.witnessedUntil) {
		e.witnessedSince = now
	}
	e.witnessedUntil = until
	e.decide(now)
	e.updateView(now)
}
