package heartbeat

import (
	"maps"
	"slices"
	"time"
)

const (
	// crashGrace is the time that a member has to answer after its connection was closed.
	crashGrace = 30 * time.Millisecond
	// loudTicks is the number of intervals in which a new suspicion is sent to all
	// members. After that, it is sent to the neighbours in every interval, and to all
	// members every quietTicks intervals.
	loudTicks, quietTicks = 5, 10
	// readyPatience is how long a new speaker waits to hear from its neighbours.
	readyPatience = time.Second
	// lostProbes is how many paths to lost members are probed in an interval.
	lostProbes = 3
)

// engine decides from its inputs which members are dead and whether this speaker
// may answer. It does no I/O and reads no clock, so that a test runs hours in a
// moment. It is for one goroutine.
type engine struct {
	name    string
	timing  Timing
	epoch   uint64
	members map[string]*member
	former  map[string]identity // of members that are none any more
	order   []*member           // as they were given to set
	ring    ring

	planned time.Time // when step should be called next
	due     time.Time // when the next heartbeats are sent
	ticked  time.Time // when the last heartbeats were sent
	ticks   int
	seq     uint64
	loud    int // for how many more ticks the suspicions are sent to all members
	// suspicions are what this speaker tells the other members.
	suspicions map[suspicion]bool

	started         time.Time
	wasGone         bool // see View.WasGone
	held            bool // see Heartbeat.Hold
	readyBy         time.Time
	ready           bool      // all neighbours were heard, or readyBy has passed
	witnessedUntil  time.Time // until then a witness says that this node's network works
	suppressedUntil time.Time // until then other nodes are preferred to this one
	alone           bool      // all other members are dead, as a witness or a kernel confirms
	frozenAt        time.Time // zero once a member has shown that this speaker was not replaced
	freezes         int
	fencing         fencing

	view View
	out  []packet
}

// packet is a message to send on a path.
type packet struct {
	path Path
	message
}

func newEngine(name string, timing Timing, now time.Time) *engine {
	return &engine{
		name: name, timing: timing, epoch: uint64(now.UnixNano()), members: map[string]*member{}, former: map[string]identity{}, started: now, planned: now, due: now, ticked: now,
		loud: loudTicks, // a new speaker introduces itself to all members
	}
}

// step does what is due. It must be called again at the time that it returns.
func (e *engine) step(now time.Time) (next time.Time) {
	e.noticeSleep(now)
	e.decide(now)
	if !now.Before(e.due) {
		e.tick(now)
		e.ticked = now
		if e.due = e.due.Add(e.timing.Interval); e.due.Before(now) {
			e.due = now.Add(e.timing.Interval)
		}
	}
	next = e.due
	for _, m := range e.order {
		for _, path := range m.paths {
			if !path.watched || !path.established || path.expired(now) {
				continue
			}
			if !now.Before(path.probeAt) {
				path.probeAt = now.Add(e.timing.again())
				e.send(path, flagProbe, now)
			}
			next = earlier(next, path.probeAt, path.deadline)
		}
	}
	e.planned = next
	return next
}

func earlier(times ...time.Time) time.Time { return slices.MinFunc(times, time.Time.Compare) }

// noticeSleep checks whether this process has slept. During a short sleep it heard no
// member, so it moves their deadlines. After a sleep as long as the detection time
// other nodes may have replaced this one: that is a freeze.
func (e *engine) noticeSleep(now time.Time) {
	slept := now.Sub(e.planned)
	if slept < e.timing.Interval/4 {
		return
	}
	e.planned = now
	frozen := now.Sub(e.ticked) >= e.timing.Detection()
	for _, m := range e.order {
		for _, path := range m.paths {
			if path.expired(now.Add(-slept)) {
				continue
			}
			if frozen {
				path.flags &^= flagHearing
				path.refresh(now, e.timing)
				continue
			}
			path.deadline, path.probeAt = path.deadline.Add(slept), path.probeAt.Add(slept)
		}
	}
	if frozen {
		// Messages that came during the freeze are old and must not count.
		e.epoch = max(e.epoch+1, uint64(now.UnixNano()))
		e.due, e.frozenAt, e.witnessedUntil, e.alone = now, now, time.Time{}, false
		e.freezes++
		e.decide(now)
	}
}

// tick sends what is sent every interval.
func (e *engine) tick(now time.Time) {
	e.ticks++
	all := e.loud > 0 || len(e.suspicions) > 0 && e.ticks%quietTicks == 0
	e.loud = max(0, e.loud-1)
	var lost []*path
	for _, m := range e.order {
		for _, path := range m.paths {
			switch {
			case path.watched && (path.expired(now) || !path.established):
				e.send(path, flagProbe, now)
			case path.watched || !m.lost && all:
				e.send(path, 0, now)
			case m.lost:
				lost = append(lost, path)
			}
		}
	}
	for i := range min(lostProbes, len(lost)) {
		e.send(lost[(e.ticks*lostProbes+i)%len(lost)], flagProbe, now)
	}
}

func (e *engine) send(p *path, f flags, now time.Time) { e.sendEcho(p, f, p.member.epoch, now) }

// sendEcho sends a message that repeats an epoch of the member.
func (e *engine) sendEcho(p *path, f flags, echo uint64, now time.Time) {
	e.seq++
	if p.established && !p.expired(now) {
		f |= flagHearing
	}
	if e.view.Fenced != "" || e.view.FencedLinks[p.Link] || e.held {
		f |= flagFenced
	}
	if len(p.member.losses) >= maxLosses {
		f |= flagSuppress
	}
	if !p.member.restarted.IsZero() && now.Sub(p.member.restarted) < goneMemory {
		f |= flagGone
	}
	m := message{name: e.name, from: p.Local, to: p.Remote, epoch: e.epoch, echo: echo, seq: e.seq, flags: f}
	for s := range e.suspicions {
		m.suspicions = append(m.suspicions, s)
	}
	e.out = append(e.out, packet{p.Path, m})
}

// decide brings the view up to date. If the suspicions have changed, it tells all
// members at once.
func (e *engine) decide(now time.Time) {
	e.updateView(now)
	suspicions := e.suspect(now)
	if maps.Equal(suspicions, e.suspicions) {
		return
	}
	e.suspicions, e.loud = suspicions, loudTicks
	for _, m := range e.order {
		for _, path := range m.paths {
			if !m.lost && !(path.watched && path.expired(now)) {
				e.send(path, 0, now)
			}
		}
	}
}

// lease returns the time until which this speaker may answer if it is not called
// again. Until then no other node takes its place.
func (e *engine) lease() time.Time {
	if e.view.Fenced != "" || !e.frozenAt.IsZero() {
		return time.Time{}
	}
	return e.ticked.Add(e.timing.Detection())
}
