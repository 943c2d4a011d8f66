package heartbeat

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

const (
	// suspicionLife is how long a suspicion counts that is not repeated.
	suspicionLife = 3 * time.Second
	// mourning is how long a watched member stays dead that no speaker misses any more and that
	// has not begun a new epoch. Its message may be lost. For the same time the others hear that a
	// member list has lost a member.
	mourning = 10 * time.Second
	// tellPause is the shortest time between two messages out of turn that tell a member that it is
	// dead.
	tellPause = 10 * time.Millisecond
)

// accused is a speaker at one of its addresses.
type accused struct {
	node uint64 // nodeID
	addr netip.Addr
}

// tally counts the suspicions that the members have sent. A suspicion counts on the link on
// which it came: a speaker that is not heard on a link cannot know who is.
type tally map[linkAccused]map[*member]vote

type linkAccused struct {
	link string
	accused
}

type vote struct {
	kind kind
	// since is when the member said this for the first time, at when it said it last. All kinds that say
	// that it misses the speaker count as the same.
	since, at time.Time
}

// note replaces the suspicions that the sender of a message has sent on this path's link. It
// returns the IDs of the members whose suspicions have changed.
func (t tally) note(now time.Time, p *path, msg message) (touched []uint64) {
	said := make(map[linkAccused]kind, len(msg.suspicions))
	if msg.flags&flagFenced == 0 && !msg.flags.isAsking() {
		for _, s := range msg.suspicions {
			said[linkAccused{p.Link, accused{s.node, s.addr}}] = s.kind
		}
	}
	m := p.member
	for _, a := range m.said[p.Link] {
		if _, repeated := said[a]; !repeated {
			delete(t[a], m)
			touched = append(touched, a.node)
		}
	}
	if m.said == nil {
		m.said = map[string][]linkAccused{}
	}
	m.said[p.Link] = slices.Collect(maps.Keys(said))
	for a, kind := range said {
		if t[a] == nil {
			t[a] = map[*member]vote{}
		}
		v := vote{kind, now, now}
		before, ok := t[a][m]
		if ok && (before.kind == kind || before.kind.isVote() && kind.isVote()) {
			v.since = before.since
		}
		if !ok || before.kind != kind {
			touched = append(touched, a.node)
		}
		t[a][m] = v
	}
	return touched
}

// prune drops suspicions that were not repeated. It returns the IDs of the members that are
// still suspected, or were.
func (t tally) prune(now time.Time) (touched []uint64) {
	for a, votes := range t {
		maps.DeleteFunc(votes, func(_ *member, v vote) bool { return now.Sub(v.at) >= suspicionLife })
		if len(votes) == 0 {
			delete(t, a)
		}
		touched = append(touched, a.node)
	}
	return touched
}

// against counts the members that miss a speaker.
func (t tally) against(a linkAccused) (n int) {
	for _, v := range t[a] {
		if v.kind.isVote() {
			n++
		}
	}
	return n
}

// isMissed reports whether a member has missed a speaker since a time.
func (t tally) isMissed(a linkAccused, since time.Time) bool {
	for _, v := range t[a] {
		if v.kind.isVote() && !v.since.After(since) {
			return true
		}
	}
	return false
}

// drop removes what a member has said.
func (t tally) drop(m *member) {
	for _, votes := range t {
		delete(votes, m)
	}
}

// misses reports whether this speaker itself misses the member on a path, and how.
func (e *engine) misses(now time.Time, p *path) (missed bool, how kind) {
	if !p.watched || e.self.asking {
		return false, 0
	}
	switch {
	case p.kernel.watched && p.kernel.dead:
		how = kindKernel
	case !p.expired(now):
		return false, 0
	case p.kernel.watched && p.closed:
		return true, 0 // its kernel answers, so this node's link works
	case e.isUndecided(now, p):
		return false, 0
	}
	return e.linkWorks(p, how), how
}

// linkWorks reports whether this speaker's link is known to work since the member on the path
// went silent. Otherwise the silence may be its own fault. A kernel is compared with other kernels:
// messages of the member, which may go on, do not show that what this speaker sends arrives. If it
// is the process that is silent, the processes of others must be heard: a firewall may drop
// heartbeats.
func (e *engine) linkWorks(p *path, how kind) bool {
	if e.alone && !e.cutOff {
		return true
	}
	if e.fencing.links[p.Link] || e.fencing.reason != "" {
		return false
	}
	last := p.heardAt
	if how == kindKernel {
		last = p.lastSign()
	}
	for _, m := range e.near {
		for _, other := range m.paths {
			if other == p || other.Link != p.Link || !other.proves() {
				continue
			}
			kernelAnswers := how == kindKernel && other.kernel.watched && other.kernel.answered.Sub(p.kernel.answered) >= e.timing.Kernel.Detection/2
			processSpeaks := other.established && other.flags&flagHearing != 0 && other.heardAt.Sub(last) >= e.timing.Interval
			if kernelAnswers || processSpeaks {
				return true
			}
		}
	}
	return e.onlyOneOnLink(p)
}

// isUndecided reports whether a firewall drops heartbeats on a link that no third speaker watches. If
// the two took each other for dead there, both would announce, and clients would see that.
func (e *engine) isUndecided(now time.Time, p *path) bool {
	return p.isFiltered(now) && e.onlyOneOnLink(p)
}

// onlyOneOnLink reports whether no other member is watched on the path's link, while members are
// reached on other links.
func (e *engine) onlyOneOnLink(p *path) bool {
	elsewhere := false
	for _, m := range e.near {
		for _, other := range m.paths {
			if other != p && other.proves() {
				if other.Link == p.Link {
					return false
				}
				elsewhere = elsewhere || other.kernel.watched && !other.kernel.dead || other.established && other.flags&flagHearing != 0
			}
		}
	}
	return elsewhere
}

// denies reports whether this speaker reaches a member that another one has missed for an interval.
func (e *engine) denies(now time.Time, p *path) bool {
	return p.watched && p.isSound(now, e.timing) && e.tally.isMissed(linkAccused{p.Link, accused{p.member.id, p.Remote}}, now.Add(-e.timing.Interval))
}

// updateSuspicions makes what this speaker tells the members. It tells all at once if that has
// changed.
func (e *engine) updateSuspicions(now time.Time) {
	suspicions := map[string]map[accused]kind{}
	suspect := func(p *path, how kind) {
		if suspicions[p.Link] == nil {
			suspicions[p.Link] = map[accused]kind{}
		}
		suspicions[p.Link][accused{p.member.id, p.Remote}] = how
	}
	for _, p := range e.lost {
		if now.Before(p.lostUntil) {
			suspect(p, kindLost)
		}
	}
	for _, m := range e.near {
		for _, p := range m.paths {
			missed, how := e.misses(now, p)
			switch {
			case missed && p.isSure(now, e.timing):
				how |= kindSure
			case missed:
			case p.dead:
				how = kindWaiting
			case e.denies(now, p):
				how = kindReached
			default:
				continue
			}
			suspect(p, how)
		}
	}
	if !maps.EqualFunc(suspicions, e.suspicions, maps.Equal[map[accused]kind, map[accused]kind]) {
		e.suspicions = suspicions
		e.announceNews()
	}
}
