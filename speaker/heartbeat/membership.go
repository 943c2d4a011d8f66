package heartbeat

import "time"

// maxIdentities bounds how many former members are remembered.
const maxIdentities = 4096

// set replaces the members. The engine keeps what it knows about paths that stay.
func (e *engine) set(now time.Time, members []Member) {
	e.noticeSleep(now)
	before := e.members
	var listed []*member // they are not lost any more
	e.members, e.byID, e.order = make(map[string]*member, len(members)), make(map[uint64]*member, len(members)), nil
	for _, want := range members {
		m := before[want.Name]
		if m == nil {
			m = &member{name: want.Name, id: nodeID(want.Name), lost: true, identity: e.former[want.Name]}
			delete(e.former, want.Name)
		}
		if want.Lost && !m.lost && !e.self.asking && e.fencing.reason == "" {
			m.gone = true // otherwise it is this speaker that was gone, or is cut off
		}
		if m.back = m.back && want.Lost; want.Lost && !m.lost {
			m.back = m.isMutual(now)
		}
		m.setPaths(now, e.timing, want.Paths)
		if m.lost && !want.Lost {
			m.backAt = now
			listed = append(listed, m)
			for _, p := range m.paths {
				if p.known { // otherwise it cannot be told that it was dead
					p.missedAt = now // it has not been judged for long
				}
			}
		}
		m.lost = want.Lost
		e.members[want.Name], e.byID[m.id] = m, m
		e.order = append(e.order, m)
	}
	for name, m := range before {
		if e.members[name] == nil {
			e.tally.drop(m)
			if m.epoch > 0 && len(e.former) < maxIdentities {
				e.former[name] = m.identity
			}
		}
	}
	if e.readyBy.IsZero() {
		e.readyBy = now.Add(readyPatience)
	}
	e.setRing(now)
	e.changed = true
	e.decide(now)
	for _, m := range listed {
		e.judge(now, m) // also if it is not watched
	}
	e.updateView(now)
}

// setRing chooses the neighbours.
func (e *engine) setRing(now time.Time) {
	names := []string{e.name}
	for _, m := range e.order {
		if m.counts() {
			names = append(names, m.name)
		}
	}
	e.ring = newRing(names)
	e.rings++
	e.near, e.lost = nil, nil
	for _, m := range e.order {
		isNear := m.counts() && e.ring.neighbours(e.name, m.name)
		m.watch(now, e.timing, isNear, e.fencing)
		switch {
		case isNear:
			e.near = append(e.near, m)
		case m.lost:
			e.lost = append(e.lost, m.paths...)
		}
	}
}

// updateRing takes lost members that are heard into the ring, and others out.
func (e *engine) updateRing(now time.Time) {
	var changed []*member
	for _, m := range e.order {
		if m.lost && (m.back || len(m.seqs) > 0) {
			if back := m.isMutual(now) || m.back && (m.isExpected(now) || m.wasHeard(now)); back != m.back {
				m.back, m.backAt = back, now
				changed = append(changed, m)
			}
		}
	}
	if len(changed) == 0 {
		return
	}
	e.changed = true
	e.setRing(now)
	e.decide(now)
	for _, m := range changed {
		e.judge(now, m) // also if it is not watched: the View must not say that a dead member is back
	}
}
