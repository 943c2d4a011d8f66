package heartbeat

import "time"

// fencing is what a speaker concludes about itself: on which links it is cut off.
type fencing struct {
	links       map[string]bool
	reason      string // why the speaker must not announce; "" if it may
	needWitness bool
}

// reception says how well this speaker hears the members.
type reception struct {
	members int // that are not lost
	// expected counts, by link, the members that should be heard. A link on which only
	// lost members could be heard is there with 0.
	expected map[string]int
	mutual   map[string]bool // links on which a member and this speaker hear each other
	late     bool            // a heartbeat is late
	closed   bool            // every member's kernel has closed the process's connection
}

func (e *engine) reception(now time.Time) reception {
	r := reception{expected: map[string]int{}, mutual: map[string]bool{}, closed: true}
	for _, m := range e.order {
		if !m.lost {
			r.members++
		}
		for _, path := range m.paths {
			if !path.hadTime(now, e.timing) || !path.watched && !m.lost {
				continue
			}
			r.expected[path.Link] += 0
			if !m.lost {
				r.expected[path.Link]++
			}
			if path.mutual(now) && e.suspicionsOfSelf(now, path.Local) < 2 {
				r.mutual[path.Link] = true
			}
			r.late = r.late || !path.mutual(now) || !now.Before(path.deadline.Add(e.timing.late()-e.timing.Detection()))
			r.closed = r.closed && path.closed
		}
	}
	return r
}

// updateAlone decides whether this speaker is the only one that is left, and
// whether a freeze is over.
func (e *engine) updateAlone(now time.Time, r reception) {
	switch {
	case len(r.mutual) > 0:
		e.frozenAt, e.alone = time.Time{}, false
	case len(r.expected) == 0:
		e.frozenAt = time.Time{} // no member could have replaced this node
	}
	if len(r.mutual) == 0 && r.members <= 1 && now.Sub(e.frozenAt) >= e.timing.Detection() {
		// Each of two speakers hears no other if the other is dead or if it is cut off
		// itself. The last speaker that is left cannot tell either. A witness has to
		// say which is the case, or the kernel that has closed the other's connection.
		e.alone = e.alone || now.Before(e.witnessedUntil) || r.closed && len(r.expected) > 0
	}
	if e.alone {
		e.frozenAt = time.Time{} // so no member has replaced this node
	}
}

// fence decides on which links this speaker is cut off. It is cut off on a link if
// it hears no member there that hears it, whatever the members are.
func (e *engine) fence(now time.Time, r reception) fencing {
	f := fencing{links: map[string]bool{}}
	if e.isAsking(now) {
		return f
	}
	for link, n := range r.expected {
		// If members are heard on another link, a single member that is missed on this
		// link may be dead.
		if !r.mutual[link] && !e.alone && (len(r.mutual) == 0 || n > 1) {
			f.links[link] = true
		}
	}
	f.needWitness = r.members <= 1 && len(r.expected) > 0 && r.late && !e.alone
	switch {
	case len(f.links) == 0 || len(f.links) < len(r.expected):
	case !e.frozenAt.IsZero():
		f.reason = "this process was frozen and has not heard from a member since"
	default:
		f.reason = "no member is heard that hears this speaker"
	}
	return f
}

// isAsking reports whether this speaker was frozen a moment ago and has not heard
// yet what the members think of it. It does not answer, but does not say that it is
// fenced: the members may not have noticed the freeze, or were frozen too, with the
// whole machine.
func (e *engine) isAsking(now time.Time) bool {
	return !e.frozenAt.IsZero() && now.Sub(e.frozenAt) < e.timing.Detection()
}
