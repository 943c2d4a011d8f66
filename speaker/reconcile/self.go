package reconcile

import (
	"slices"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/view"
)

const (
	// tellingDelay is how long it takes until all members act on a changed profile if no message is
	// lost: the heartbeats tell it at once, and for a member it is urgent, so that the member waits at
	// most half as long as its last plan has taken.
	tellingDelay = 100 * time.Millisecond
	// tellingPatience is how long a speaker waits at most until half of its neighbours say that they
	// know its profile. A speaker that they do not hear is dead or fenced by then, after three seconds
	// with --failover=calm. A neighbour that never says what it knows must not suppress it for longer.
	tellingPatience = 5 * time.Second
)

// self decides whether this speaker must be fenced, and whether it is suppressed.
type self struct {
	start       start
	fence       fence
	suppression suppression
	readiness   readiness
	failback    failback
	// told is the version of the profile that the other members were told last.
	told uint64
}

// update returns what this speaker concludes about itself now. If rejoin is set, the
// caller must look for the other members and call rejoining. again is after which time
// the result changes by itself; 0 means never.
func (s *self) update(now time.Time, in view.Inputs, beats heartbeat.View) (state view.Self, rejoin bool, again time.Duration) {
	unready, again := s.readiness.update(now, in)
	state.Unready = unready
	state.Fenced, state.Rejoining, rejoin = s.whyFenced(now, in, beats)
	waits, later := s.start.update(now, in, unready)
	if again = sooner(again, later); waits && state.Fenced == "" {
		state.Fenced, state.Starting = "it waits for the speakers of the other nodes to start", true
	}

	fenced, before := state.Fenced != "", s.failback
	goesBack, later := s.failback.update(now, fenced, beats, anyStayed(in.Others))
	again = sooner(again, later)
	state.Returned = s.failback.returned(now)
	why := whySuppressed(in, beats, unready, goesBack)
	state.SaysSuppressed = why != ""
	if before.cutOff && !fenced && before.announced {
		s.suppression.ended = now
	}
	ending, later := s.suppression.update(now, why != "", beats.Known >= s.told)
	if !s.failback.announced {
		ending, later, s.suppression.ended = false, 0, time.Time{} // no other speaker counts on this one yet
	}
	if state.Suppressed = why; why == "" && ending {
		state.Suppressed = "its suppression has ended, and the other members hear of it now"
	}
	return state, rejoin, sooner(again, later)
}

// whyFenced says why this speaker is fenced, apart from the start of a cluster; "" if it is
// not. rejoining is set while it looks for the other members; rejoin if that must begin.
func (s *self) whyFenced(now time.Time, in view.Inputs, beats heartbeat.View) (why string, rejoining, rejoin bool) {
	hasLink := len(in.Links) > 0
	anyLost := slices.ContainsFunc(in.Others, func(o members.Member) bool { return o.Lost })
	open, rejoin := s.fence.update(now, hasLink && beats.Fenced == "", anyLost)
	switch {
	case !hasLink:
		why = "it has no link that can be used"
	case beats.Fenced != "":
		why = beats.Fenced
	case !open:
		why, rejoining = "it heard no member or had no link, and looks for the other members now", true
	case !beats.Ready:
		why = "it waits for the heartbeats of its neighbours"
	}
	return why, rejoining, rejoin
}

// whySuppressed says why other nodes are preferred to this one; "" if they are not.
func whySuppressed(in view.Inputs, beats heartbeat.View, unready, goesBack bool) string {
	switch {
	case beats.Suppressed:
		return "it failed too often in the last minutes"
	case in.Config == nil:
		return "it has no configuration, so it does not know what the other speakers do"
	case unready:
		return unreadyReason
	case goesBack:
		return "it came back a short time ago (--failback-after)"
	}
	return ""
}

// sooner returns the shorter of two durations; 0 means never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// rejoining tells the fence that the speaker looks for the other members. done is closed
// when that has ended.
func (s *self) rejoining(done <-chan struct{}) { s.fence.rejoined = done }

// fence keeps a speaker fenced until it has looked for the other members. A speaker that
// was disconnected has heard no member. It believes that it is alone, and would announce
// everything when it is connected again. After a short time without members its member list is
// still whole, so there is nothing to look for.
type fence struct {
	disconnected bool
	since        time.Time
	// rejoined is closed when the search has ended; nil before the search.
	rejoined <-chan struct{}
}

// listPatience is how long the member list needs at least to lose a member.
const listPatience = time.Second

// update notes whether the speaker is connected, and whether its member list has lost a member.
// It reports whether the speaker may announce, and whether a search for the members must begin.
func (f *fence) update(now time.Time, connected, anyLost bool) (open, rejoin bool) {
	switch {
	case !connected:
		if !f.disconnected {
			f.since = now
		}
		f.disconnected, f.rejoined = true, nil
		return false, false
	case !f.disconnected:
		return true, false
	case f.rejoined == nil && !anyLost && now.Sub(f.since) < listPatience:
		f.disconnected = false
		return true, false
	case f.rejoined == nil:
		return false, true
	}
	select {
	case <-f.rejoined:
		f.disconnected, f.rejoined = false, nil
		return true, false
	default:
		return false, false
	}
}

// suppression keeps this speaker suppressed after its suppression has ended, and after it was fenced,
// until the old owners know that and have stopped announcing: for tellingDelay, and until at least half
// of the neighbours have said that they know. If they do not hear this speaker, the old owners do not
// hear it either, and go on. It does not wait for all neighbours: the old owners stop when they hear
// it, so its addresses would have no owner while a single neighbour does not answer.
type suppression struct {
	before bool
	ended  time.Time // zero if the old owners have stopped since
}

// update reports whether the speaker is suppressed at now, and after which time that
// ends by itself. known says whether the neighbours know the profile that was told last.
func (s *suppression) update(now time.Time, suppressed, known bool) (still bool, again time.Duration) {
	if suppressed {
		s.ended = time.Time{}
	} else if s.before {
		s.ended = now
	}
	s.before = suppressed
	if s.ended.IsZero() {
		return suppressed, 0
	}
	left := s.ended.Add(tellingDelay).Sub(now)
	if !known {
		left = s.ended.Add(tellingPatience).Sub(now)
	}
	if left <= 0 {
		s.ended = time.Time{} // what the neighbours know later does not matter
		return false, 0
	}
	return true, left
}
