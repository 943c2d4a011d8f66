package reconcile

import (
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/view"
)

func TestFenceStaysClosedUntilMembersWereLookedFor(t *testing.T) {
	var f fence
	if open, rejoin := f.update(true); !open || rejoin {
		t.Fatalf("at the start: open is %v, rejoin %v", open, rejoin)
	}
	for round := range 3 {
		var search chan struct{}
		for _, step := range []struct {
			name      string
			connected bool
			finish    bool // the search that has begun
			open      bool
			rejoin    bool
		}{
			{"the link is lost", false, false, false, false},
			{"the link is still lost", false, false, false, false},
			{"the link is back", true, false, false, true},
			{"the search goes on", true, false, false, false},
			{"the link is lost again", false, false, false, false},
			{"the link is back again", true, false, false, true},
			{"the search has ended", true, true, true, false},
			{"nothing more happens", true, false, true, false},
		} {
			if step.finish {
				close(search)
			}
			open, rejoin := f.update(step.connected)
			if open != step.open || rejoin != step.rejoin {
				t.Fatalf("round %d, %s: open is %v, rejoin %v", round, step.name, open, rejoin)
			}
			if rejoin {
				search = make(chan struct{})
				f.rejoined = search
			}
		}
	}
}

func TestSuppressionEndsWhenAllMembersKnowIt(t *testing.T) {
	var s suppression
	at := time.Unix(1000, 0)
	for _, step := range []struct {
		after      time.Duration // since the step before
		suppressed bool
		still      bool
		again      time.Duration
	}{
		{0, false, false, 0},
		{time.Second, true, true, 0},
		{time.Second, false, true, gossipDelay},
		{gossipDelay - time.Millisecond, false, true, time.Millisecond},
		{time.Millisecond, false, false, 0},
		{time.Second, true, true, 0},
		{time.Second, false, true, gossipDelay},
		{time.Millisecond, true, true, 0},
	} {
		at = at.Add(step.after)
		if still, again := s.update(at, step.suppressed); still != step.still || again != step.again {
			t.Errorf("%+v: still %v, again after %v", step, still, again)
		}
	}
}

func TestSelfSaysWhyItIsFenced(t *testing.T) {
	ready := heartbeat.View{Ready: true}
	link := view.Inputs{Node: "node1", Links: []links.Link{{Name: "eth0"}}}
	for _, test := range []struct {
		in    view.Inputs
		beats heartbeat.View
		want  string
	}{
		{link, ready, ""},
		{view.Inputs{Node: "node1"}, ready, "it has no link that can be used"},
		{link, heartbeat.View{Ready: true, Fenced: "no member is heard"}, "no member is heard"},
		{link, heartbeat.View{}, "it waits for the heartbeats of its neighbours"},
	} {
		var s self
		if state, _, _ := s.update(time.Unix(1000, 0), test.in, test.beats); state.Fenced != test.want {
			t.Errorf("got %q, want %q", state.Fenced, test.want)
		}
	}
	var s self
	s.update(time.Unix(1000, 0), view.Inputs{Node: "node1"}, ready)
	if state, rejoin, _ := s.update(time.Unix(1001, 0), link, ready); !rejoin || state.Fenced != "it heard no member or had no link, and looks for the other members now" {
		t.Errorf("after the link is back: %q, rejoin %v", state.Fenced, rejoin)
	}
}
