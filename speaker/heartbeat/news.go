package heartbeat

import "time"

// What an engine is told, beside who its peers are.

// receive takes a message that somebody has sent who knows the key.
func (e *engine) receive(now time.Time, m message) {
	e.wake(now)
	p := e.peers[m.name]
	if p == nil {
		return
	}
	path := p.find(m.to, m.from)
	if path == nil {
		return
	}
	switch {
	case m.epoch > p.epoch, m.epoch < p.epoch && now.Sub(path.deadline) > forget:
		p.epoch = m.epoch
		for _, other := range p.paths {
			other.heard = 0
		}
	case m.epoch < p.epoch, m.seq <= path.heard:
		return
	}
	path.heard = m.seq
	if m.echo != e.epoch {
		e.send(path, 0, now) // so that it learns our epoch
		return
	}
	fresh := !path.established || path.watched && path.silent(now)
	if !path.established {
		path.since = now
	}
	path.established, path.closed, path.their = true, false, m.flags
	path.met = path.met || m.flags&hearing != 0
	if m.flags&holding != 0 {
		e.heldUntil = now.Add(heldLife)
	}
	path.heardNow(now, e.timing)
	if m.flags&fenced == 0 {
		p.accusedAt, p.accuses = now, make(map[accusation]bool, len(m.accused))
		for _, a := range m.accused {
			p.accuses[a] = true
		}
	} else if len(p.paths) == 1 {
		p.accuses = nil
	}
	e.judge(now)
	if fresh || m.flags&probing != 0 {
		e.send(path, 0, now)
	}
}

// crashed takes the news that the connection to a process was closed by its kernel.
func (e *engine) crashed(now time.Time, name string) {
	e.wake(now)
	p := e.peers[name]
	if p == nil {
		return
	}
	for _, path := range p.paths {
		if path.watched && path.established && !path.silent(now) {
			path.deadline = earlier(path.deadline, now.Add(crashGrace))
			path.probeAt, path.closed = now, true
		}
	}
}

// witness takes the news that something that is no speaker has answered, which
// counts until a time.
func (e *engine) witness(now, until time.Time) {
	e.wake(now)
	e.witnessed = until
	e.judge(now)
}

// lease returns until when this speaker may answer if it is not called again:
// others do not take its place before.
func (e *engine) lease() time.Time {
	if e.view.Silent != "" || !e.thawed.IsZero() {
		return time.Time{}
	}
	return e.ticked.Add(e.timing.Detection())
}
