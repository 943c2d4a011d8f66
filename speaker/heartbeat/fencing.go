package heartbeat

import "time"

// fencing is what a speaker concludes about itself: on which links it is fenced.
type fencing struct {
	links       map[string]bool
	reason      string // why the speaker must not announce; "" if it may
	needWitness bool
}

// reception says how well this speaker hears the members.
type reception struct {
	members int // that are not lost
	// expected counts, by link, the members that should be heard. It has the value 0 for
	// a link on which only lost members could be heard.
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
		// A speaker with one other member, or with none, hears no member in two cases: the
		// other members are dead, or the network of this node is broken. A witness tells
		// which is true, or the other member's kernel, which has closed the connection.
		e.alone = e.alone || now.Before(e.witnessedUntil) || r.closed && len(r.expected) > 0
	}
	if e.alone {
		e.frozenAt = time.Time{} // so no member has replaced this node
	}
}

// fence decides on which links this speaker is fenced. It is fenced on a link if it
// hears no member there that also hears it.
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

// isAsking reports whether this speaker was frozen a moment ago and does not know yet
// whether the members have replaced it. Until then it does not answer, but it does not
// say that it is fenced: the members may not have detected the freeze, or the whole
// machine was frozen, with the members.
func (e *engine) isAsking(now time.Time) bool {
	return !e.frozenAt.IsZero() && now.Sub(e.frozenAt) < e.timing.Detection()
}
