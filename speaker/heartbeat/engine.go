package heartbeat

import (
	"net/netip"
	"reflect"
	"slices"
	"time"
)

const (
	// crashGrace is how long a process whose connection was closed has to show that
	// it lives.
	crashGrace = 30 * time.Millisecond
	// accusationLife is how long an accusation holds that is not repeated.
	accusationLife = 3 * time.Second
	// loudTicks is how many intervals long a new accusation is told to all members;
	// then it is told to the neighbours every interval, and to all every quietTicks.
	loudTicks, quietTicks = 5, 10
	// forget is the silence after which an epoch may also go backwards: a machine
	// without a clock has started again.
	forget = 10 * time.Second
	// heldLife is how long the word of another holds that this speaker dies too often.
	heldLife = 3 * time.Second
	// patience is how long a new speaker waits to hear from its neighbours.
	patience = time.Second
	// lostAtOnce is how many of those that were taken for dead are asked in an interval.
	lostAtOnce = 3
)

// engine decides from what it is told who is dead and whether this speaker may
// answer. It does no I/O and has no clock, so that tests run hours in a moment.
// It is for one goroutine.
type engine struct {
	name   string
	timing Timing
	epoch  uint64
	peers  map[string]*peer
	order  []*peer // by name
	ring   ring

	planned   time.Time // when it is to be called next
	due       time.Time // when the next heartbeats go out
	ticked    time.Time // when the last ones went out
	ticks     int
	seq       uint64
	loud      int // ticks for which all members are told
	accusing  map[accusation]bool
	readyBy   time.Time
	witnessed time.Time // until when an outside witness says that our network works
	heldUntil time.Time // until when others are preferred to this speaker
	alone     bool      // the others are dead, by the word of a witness
	thawed    time.Time // when it was last frozen, unless it has been told since that it is not dead

	view View
	out  []packet
}

// packet is a message to be sent on a path.
type packet struct {
	path Path
	message
}

// View is what follows from the heartbeats.
type View struct {
	// Ready is false as long as the neighbours have not been heard and may be.
	Ready bool
	// Dead has, by the names of peers, the addresses at which they do not answer.
	Dead map[string][]netip.Addr
	// Held are the peers, and this node itself, that have died so often of late that
	// they are taken for unreliable.
	Held map[string]bool
	// Fenced has, by their names, this node's links on which nobody hears it.
	Fenced map[string]bool
	// Silent says why this speaker may answer for nothing; "" if it may.
	Silent string
	// Returned are peers that are heard again and are no members yet.
	Returned []string
	// NeedWitness is set when only a witness can tell whether this node is cut off.
	NeedWitness bool
	// Thaws counts how often this speaker has been frozen.
	Thaws int
}

func newEngine(name string, timing Timing, now time.Time) *engine {
	return &engine{name: name, timing: timing, epoch: uint64(now.UnixNano()), peers: map[string]*peer{}, planned: now, due: now, ticked: now}
}

// set replaces the peers. What is known of paths that stay is kept.
func (e *engine) set(now time.Time, peers []Peer) {
	e.wake(now)
	before, heard := e.peers, e.hearsSomebody(now)
	e.peers, e.order = make(map[string]*peer, len(peers)), nil
	members := []string{e.name}
	for _, p := range peers {
		if p.Member {
			members = append(members, p.Name)
		}
	}
	e.ring = newRing(members)
	for _, p := range peers {
		known := before[p.Name]
		if known == nil {
			known = &peer{name: p.Name, id: nodeID(p.Name)}
		}
		if known.member && !p.Member && !known.dead && heard {
			e.count(now, known, true) // the member list has seen what the heartbeats have not
		}
		known.member = p.Member
		known.setPaths(now, e.timing, p.Paths, p.Member && e.ring.neighbours(e.name, p.Name))
		e.peers[p.Name] = known
		e.order = append(e.order, known)
	}
	if e.readyBy.IsZero() {
		e.readyBy = now.Add(patience)
	}
	e.judge(now)
}

func (p *peer) setPaths(now time.Time, timing Timing, paths []Path, watched bool) {
	before := p.paths
	p.paths = nil
	for _, want := range paths {
		i := slices.IndexFunc(before, func(b *path) bool { return b.Path == want })
		known := &path{Path: want, peer: p}
		if i >= 0 {
			known = before[i]
		}
		if watched && !known.watched {
			// It begins to send now; what it has not sent before says nothing.
			known.established = known.established && !known.silent(now)
			known.met = known.met && known.established
			known.heardNow(now, timing)
		}
		known.watched = watched
		p.paths = append(p.paths, known)
	}
}

func (p *path) heardNow(now time.Time, t Timing) {
	p.deadline, p.probeAt = now.Add(t.Detection()), now.Add(t.late())
}

// hearsSomebody reports whether this speaker is not the one who is cut off.
func (e *engine) hearsSomebody(now time.Time) bool {
	return slices.ContainsFunc(e.order, func(p *peer) bool {
		return slices.ContainsFunc(p.paths, func(p *path) bool { return p.mutual(now) })
	})
}

// wake sees whether this process has slept. A little means that the others could
// not be heard, which is not their fault. As long as it takes them to miss this
// speaker means that they may have put others in its place.
func (e *engine) wake(now time.Time) {
	slept := now.Sub(e.planned)
	if slept < e.timing.Interval/4 {
		return
	}
	e.planned = now
	frozen := now.Sub(e.ticked) >= e.timing.Detection()
	for _, p := range e.order {
		for _, path := range p.paths {
			if path.silent(now.Add(-slept)) {
				continue
			}
			if frozen {
				path.their &^= hearing
				path.heardNow(now, e.timing)
				continue
			}
			path.deadline, path.probeAt = path.deadline.Add(slept), path.probeAt.Add(slept)
		}
	}
	if frozen {
		// What was said to us meanwhile is old, and must not count.
		e.epoch = max(e.epoch+1, uint64(now.UnixNano()))
		e.due, e.thawed, e.witnessed, e.alone = now, now, time.Time{}, false
		e.view.Thaws++
		e.judge(now)
	}
}

// step does what is due. It must be called at the time that it returns.
func (e *engine) step(now time.Time) (next time.Time) {
	e.wake(now)
	e.judge(now)
	if !now.Before(e.due) {
		e.tick(now)
		e.ticked = now
		if e.due = e.due.Add(e.timing.Interval); e.due.Before(now) {
			e.due = now.Add(e.timing.Interval)
		}
	}
	next = e.due
	for _, p := range e.order {
		for _, path := range p.paths {
			if !path.watched || !path.established || path.silent(now) {
				continue
			}
			if !now.Before(path.probeAt) {
				path.probeAt = now.Add(e.timing.again())
				e.send(path, probing, now)
			}
			next = earlier(next, path.probeAt, path.deadline)
		}
	}
	e.planned = next
	return next
}

func earlier(times ...time.Time) time.Time { return slices.MinFunc(times, time.Time.Compare) }

// tick sends what is sent every interval.
func (e *engine) tick(now time.Time) {
	e.ticks++
	all := e.loud > 0 || len(e.accusing) > 0 && e.ticks%quietTicks == 0
	e.loud = max(0, e.loud-1)
	var lost []*path
	for _, p := range e.order {
		for _, path := range p.paths {
			switch {
			case path.watched && (path.silent(now) || !path.established):
				e.send(path, probing, now)
			case path.watched || p.member && all:
				e.send(path, 0, now)
			case !p.member:
				lost = append(lost, path)
			}
		}
	}
	for i := range min(lostAtOnce, len(lost)) {
		e.send(lost[(e.ticks*lostAtOnce+i)%len(lost)], probing, now)
	}
}

func (e *engine) send(p *path, f flags, now time.Time) {
	e.seq++
	if p.established && !p.silent(now) {
		f |= hearing
	}
	if e.view.Silent != "" || e.view.Fenced[p.Link] {
		f |= fenced
	}
	if len(p.peer.losses) >= maxLosses {
		f |= holding
	}
	m := message{name: e.name, from: p.Local, to: p.Remote, epoch: e.epoch, echo: p.peer.epoch, seq: e.seq, flags: f}
	for a := range e.accusing {
		m.accused = append(m.accused, a)
	}
	e.out = append(e.out, packet{p.Path, m})
}

// judge renews the view and tells everybody when the accusations have changed.
func (e *engine) judge(now time.Time) {
	e.view = e.look(now)
	accusing := e.accuse(now)
	if reflect.DeepEqual(accusing, e.accusing) {
		return
	}
	e.accusing, e.loud = accusing, loudTicks
	e.view = e.look(now) // our own voice counts
	for _, p := range e.order {
		for _, path := range p.paths {
			if p.member && !(path.watched && path.silent(now)) {
				e.send(path, 0, now)
			}
		}
	}
}
