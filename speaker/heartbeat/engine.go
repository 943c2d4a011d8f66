package heartbeat

import (
	"slices"
	"time"
)

const (
	// crashGrace is the time that a member has to answer after its connection was closed.
	crashGrace = 20 * time.Millisecond
	// crashEcho is the time after that in which a message may still be of the process that has
	// ended: it was on its way, or waited to be read.
	crashEcho = 5 * time.Millisecond
	// readyPatience is how long a new speaker waits to hear from its neighbours.
	readyPatience = time.Second
	// lostProbes is how many paths to lost members are asked in an interval, and how many on fenced links
	// without a neighbour.
	lostProbes = 3
)

// engine decides from its inputs which members are dead and whether this speaker may answer.
// It does no I/O and reads no clock, so that a test runs hours in a moment. It is for one
// goroutine.
//
// An epoch is a life: a member that was taken for dead lives again when it has begun a new
// epoch. So it always learns that it was dead, and can say first what it does now.
//
// The cost of a message and of a step depends on the neighbours on the ring and on the members
// that are suspected, not on the number of members.
type engine struct {
	name    string
	timing  Timing
	started time.Time
	epoch   uint64
	members map[string]*member
	byID    map[uint64]*member
	former  map[string]identity // of members that are none any more
	order   []*member           // as they were given to set
	lost    []*path             // to lost members that are not watched
	losses  map[string]*average // by link, over all kernels
	ring    ring
	rings   int // counts how often the ring was made
	// near are the members that are watched: the neighbours on the ring.
	near []*member

	planned time.Time // when step should be called next
	due     time.Time // when the next tick is
	ticked  time.Time // when the last step was
	ticks   int
	seq     uint64
	// loud is for how many more ticks news is sent to all members. tellAll is set until all were
	// told at once, which happened the last time at toldAll.
	loud    int
	tellAll bool
	toldAll time.Time
	// suspicions are what this speaker tells the other members, by link.
	suspicions map[string]map[accused]kind
	tally      tally
	profile    Profile
	reminded   int // the place in order at which remind goes on

	held           bool // see Heartbeat.Hold
	readyBy        time.Time
	ready          bool      // all neighbours were heard, or readyBy has passed
	witnessedSince time.Time // since then a witness says that this node's network works
	witnessedUntil time.Time // and until then
	unfencedAt     time.Time // when this speaker was not fenced for the last time
	alone          bool      // all other members are dead, as a witness or a kernel confirms
	cutOff         bool      // a member was heard while alone that has gone on: this speaker was cut off
	self           self
	fencing        fencing
	alive          map[string]bool // the links that work
	kept           map[string]bool // the links that stay fenced because no neighbour is there any more
	view           View
	views          int  // counts the views
	changed        bool // the view must be made anew
	out            []packet
	probes         []Path
}

// packet is a message to send on a path.
type packet struct {
	path Path
	message
}

func newEngine(name string, timing Timing, now time.Time) *engine {
	return &engine{
		name: name, timing: timing, started: now, epoch: uint64(now.UnixNano()), members: map[string]*member{}, byID: map[uint64]*member{}, former: map[string]identity{}, losses: map[string]*average{},
		tally: tally{}, unfencedAt: now, planned: now, due: now, ticked: now,
		loud:    loudTicks, // a new speaker introduces itself to all members
		changed: true,
	}
}

// step does what is due. It must be called again at the time that it returns.
func (e *engine) step(now time.Time) (next time.Time) {
	e.noticeSleep(now)
	e.watchKernels(now)
	e.decide(now)
	if !now.Before(e.due) {
		e.tick(now)
		if e.due = e.due.Add(e.timing.Interval); e.due.Before(now) {
			e.due = now.Add(e.timing.Interval)
		}
	}
	e.beat(now)
	e.ticked = now
	e.tellNews(now)
	e.updateView(now)
	e.planned = e.next(now)
	return e.planned
}

// next returns when step must be called.
func (e *engine) next(now time.Time) time.Time {
	next := e.due
	if e.tellAll {
		next = earlier(next, e.toldAll.Add(e.timing.again()))
	}
	for _, m := range e.near {
		for _, p := range m.paths {
			next = earlier(next, p.nextAt)
			if e.probesKernel(now, p) {
				next = earlier(next, p.kernel.due(e.timing.Kernel))
				if k := &p.kernel; k.watched && !k.dead && k.open > 0 {
					next = earlier(next, k.asked.Add(e.timing.Kernel.Again))
				}
			}
			if p.established && !p.expired(now) {
				next = earlier(next, p.probeAt, p.deadline)
			}
		}
	}
	if !next.After(now) {
		return now.Add(time.Millisecond)
	}
	return next
}

func earlier(times ...time.Time) time.Time { return slices.MinFunc(times, time.Time.Compare) }

// probesKernel reports whether the kernel at the other end of the path is asked.
func (e *engine) probesKernel(now time.Time, p *path) bool {
	return p.watched && p.MAC != [6]byte{} && !now.Before(p.kernel.distrustedUntil)
}

// loss returns the share of probes without an answer on a link.
func (e *engine) loss(link string) *average {
	if e.losses[link] == nil {
		e.losses[link] = &average{}
	}
	return e.losses[link]
}

// watchKernels asks the kernels of the neighbours, and decides which of them are dead.
func (e *engine) watchKernels(now time.Time) {
	var due []*path
	together := false
	for _, m := range e.near {
		for _, p := range m.paths {
			if !e.probesKernel(now, p) {
				continue
			}
			p.kernel.judge(now, e.timing.Kernel, e.loss(p.Link))
			// Probes that are due soon are sent now, so that this process runs less often.
			if !now.Add(e.timing.Kernel.Interval / 4).Before(p.kernel.due(e.timing.Kernel)) {
				due = append(due, p)
			}
			together = together || !now.Before(p.kernel.due(e.timing.Kernel))
		}
	}
	if !together {
		return
	}
	for _, p := range due {
		if k := &p.kernel; k.open == 0 || k.dead || !k.watched || !now.Before(k.due(e.timing.Kernel)) {
			k.ask(now)
			e.probes = append(e.probes, p.Path)
		}
	}
}

// tick does what is done every interval: it looks for lost members, and repeats news.
func (e *engine) tick(now time.Time) {
	e.ticks++
	e.updateRing(now)
	e.sweep(now)
	if e.loud > 0 || (len(e.suspicions) > 0 || len(e.fencing.links) > 0) && e.ticks%quietTicks == 0 {
		e.loud, e.tellAll = max(0, e.loud-1), true
	}
	e.askSome(now, e.lost)
	if len(e.kept) > 0 {
		e.askSome(now, e.pathsOn(e.kept))
	}
	if e.loud == 0 {
		e.remind(now)
	}
}

// askSome asks members that are not watched, a few in each tick.
func (e *engine) askSome(now time.Time, paths []*path) {
	for i := range min(lostProbes, len(paths)) {
		p := paths[(e.ticks*lostProbes+i)%len(paths)]
		if p.MAC != [6]byte{} {
			// The kernels look for each other's MAC only once a second. A probe tells the member's
			// kernel this node's, and so one in the other direction does.
			e.probes = append(e.probes, p.Path)
		}
		e.send(p, flagProbe, now)
	}
}

// pathsOn returns the paths on some links to all members that are not lost.
func (e *engine) pathsOn(links map[string]bool) (paths []*path) {
	for _, m := range e.order {
		for _, p := range m.paths {
			if m.counts() && links[p.Link] {
				paths = append(paths, p)
			}
		}
	}
	return paths
}
