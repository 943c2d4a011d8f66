package reconcile

import (
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/view"
)

// gossipDelay is how long it takes until all members know a changed profile.
const gossipDelay = 500 * time.Millisecond

// self decides whether this speaker must be fenced, and whether it is suppressed.
type self struct {
	fence       fence
	suppression suppression
}

// update returns what this speaker concludes about itself now. If rejoin is set, the
// caller must look for the other members and call rejoining. again is after which time
// the result changes by itself; 0 means never.
func (s *self) update(now time.Time, in view.Inputs, beats heartbeat.View) (state view.Self, rejoin bool, again time.Duration) {
	hasLink := len(in.Links) > 0
	open, rejoin := s.fence.update(hasLink && beats.Fenced == "")
	switch {
	case !hasLink:
		state.Fenced = "it has no link that can be used"
	case beats.Fenced != "":
		state.Fenced = beats.Fenced
	case !open:
		state.Fenced = "it heard no member or had no link, and looks for the other members now"
	case !beats.Ready:
		state.Fenced = "it waits for the heartbeats of its neighbours"
	}
	state.Suppressed, again = s.suppression.update(now, beats.Suppressed[in.Node])
	return state, rejoin, again
}

// rejoining tells the fence that the speaker looks for the other members. done is closed
// when that has ended.
func (s *self) rejoining(done <-chan struct{}) { s.fence.rejoined = done }

// fence keeps a speaker fenced until it has looked for the other members. A speaker that
// was disconnected has heard no member. It believes that it is alone, and would announce
// everything when it is connected again.
type fence struct {
	disconnected bool
	// rejoined is closed when the search has ended; nil before the search.
	rejoined <-chan struct{}
}

// update notes whether the speaker is connected. It reports whether the speaker may
// announce, and whether a search for the members must begin.
func (f *fence) update(connected bool) (open, rejoin bool) {
	switch {
	case !connected:
		f.disconnected, f.rejoined = true, nil
		return false, false
	case !f.disconnected:
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

// suppression keeps this speaker suppressed for gossipDelay after its suppression has
// ended. All members know that by then. So the old owners stop announcing before this
// speaker begins.
type suppression struct {
	before bool
	until  time.Time
}

// update reports whether the speaker is suppressed at now, and after which time that
// ends by itself.
func (s *suppression) update(now time.Time, suppressed bool) (still bool, again time.Duration) {
	if suppressed {
		s.until = time.Time{}
	} else if s.before {
		s.until = now.Add(gossipDelay)
	}
	s.before = suppressed
	return suppressed || now.Before(s.until), max(0, s.until.Sub(now))
}
