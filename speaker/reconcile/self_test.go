package reconcile

import (
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/view"
)

func TestFenceStaysClosedUntilMembersWereLookedFor(t *testing.T) {
	var f fence
	now := time.Unix(1000, 0)
	if open, rejoin := f.update(now, true, false); !open || rejoin {
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
			now = now.Add(listPatience)
			open, rejoin := f.update(now, step.connected, false)
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

func TestShortDisconnectionNeedsNoSearch(t *testing.T) {
	for anyLost, want := range map[bool]bool{false: false, true: true} {
		var f fence
		now := time.Unix(1000, 0)
		f.update(now, false, anyLost)
		open, rejoin := f.update(now.Add(listPatience-1), true, anyLost)
		if rejoin != want || open == want {
			t.Errorf("the member list has lost a member: %v; open is %v, rejoin %v", anyLost, open, rejoin)
		}
	}
}

func TestSuppressionEndsWhenTheNeighboursKnowIt(t *testing.T) {
	var s suppression
	at := time.Unix(1000, 0)
	for i, step := range []struct {
		after             time.Duration // since the step before
		suppressed, known bool
		still             bool
		again             time.Duration
	}{
		{0, false, false, false, 0},
		{time.Second, true, true, true, 0},
		{time.Second, false, true, true, tellingDelay},
		{tellingDelay - time.Millisecond, false, true, true, time.Millisecond},
		{time.Millisecond, false, true, false, 0},
		{time.Second, false, false, false, 0}, // they do not know a profile that is told later
		{time.Second, true, true, true, 0},
		{time.Second, false, true, true, tellingDelay}, // they know the profile that was told before
		{time.Millisecond, false, false, true, tellingPatience - time.Millisecond},
		{tellingDelay, false, false, true, tellingPatience - tellingDelay - time.Millisecond},
		{time.Millisecond, false, true, false, 0},
		{time.Second, true, true, true, 0},
		{time.Second, false, false, true, tellingPatience},
		{tellingPatience - time.Millisecond, false, false, true, time.Millisecond},
		{time.Millisecond, false, false, false, 0}, // they never know it
		{time.Second, true, true, true, 0},
		{time.Second, false, false, true, tellingPatience},
		{time.Second, true, false, true, 0}, // it is suppressed again
		{time.Millisecond, false, false, true, tellingPatience},
	} {
		at = at.Add(step.after)
		if still, again := s.update(at, step.suppressed, step.known); still != step.still || again != step.again {
			t.Errorf("step %d %+v: still %v, again after %v", i, step, still, again)
		}
	}
}

// The version counts that says that the speaker is not suppressed any more, or a later one.
func TestSelfWaitsUntilTheNewestProfileIsKnown(t *testing.T) {
	in := view.Inputs{Node: "node1", Links: []links.Link{{Name: "eth0"}}, Config: &config.Config{}, KubeProxy: true, Others: []members.Member{{Name: "node2"}}}
	now, s := time.Unix(1000, 0), self{failback: failback{after: time.Minute}}
	for i, step := range []struct {
		after       time.Duration // since the step before
		told, known uint64        // before the step
		want        string
	}{
		{0, 0, 0, "it came back a short time ago (--failback-after)"},
		{time.Minute, 1, 1, "its suppression has ended, and the other members hear of it now"},
		{tellingDelay, 2, 1, "its suppression has ended, and the other members hear of it now"},
		{tellingDelay, 3, 2, "its suppression has ended, and the other members hear of it now"},
		{time.Millisecond, 3, 3, ""},
		{time.Millisecond, 4, 3, ""},
	} {
		now, s.told = now.Add(step.after), step.told
		if state, _, _ := s.update(now, in, heartbeat.View{Ready: true, Deaths: 1, Known: step.known}); state.Suppressed != step.want {
			t.Errorf("step %d: %q, want %q", i, state.Suppressed, step.want)
		}
	}
}

func TestSelfSaysWhyItIsFenced(t *testing.T) {
	ready := heartbeat.View{Ready: true}
	link := view.Inputs{Node: "node1", Links: []links.Link{{Name: "eth0"}}, KubeProxy: true, Config: &config.Config{}}
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

func TestSelfSaysWhyItIsSuppressed(t *testing.T) {
	fit := view.Inputs{Node: "node1", Links: []links.Link{{Name: "eth0"}}, Config: &config.Config{}, KubeProxy: true, Others: []members.Member{{Name: "node2"}}}
	unready, unconfigured := fit, fit
	unready.KubeProxy, unconfigured.Config, unconfigured.Services = false, nil, []plan.Service{{}}
	for _, test := range []struct {
		in    view.Inputs
		beats heartbeat.View
		want  string
	}{
		{fit, heartbeat.View{Ready: true}, ""},
		{fit, heartbeat.View{Ready: true, Suppressed: true}, "it failed too often in the last minutes"},
		{fit, heartbeat.View{Ready: true, Deaths: 1}, "it came back a short time ago (--failback-after)"},
		{unready, heartbeat.View{Ready: true}, unreadyReason},
		{unconfigured, heartbeat.View{Ready: true}, "it has no configuration, so it does not know what the other speakers do"},
	} {
		s := self{failback: failback{after: time.Minute}}
		state, _, _ := s.update(time.Unix(1000, 0), test.in, test.beats)
		if state.Suppressed != test.want || state.SaysSuppressed != (test.want != "") || state.Fenced != "" {
			t.Errorf("got %+v, want %q", state, test.want)
		}
	}
	s := self{failback: failback{after: time.Minute}}
	s.update(time.Unix(1000, 0), fit, heartbeat.View{Ready: true, Deaths: 1})
	state, _, again := s.update(time.Unix(1060, 0), fit, heartbeat.View{Ready: true, Deaths: 1})
	if state.SaysSuppressed || state.Suppressed == "" || again != tellingDelay {
		t.Errorf("when it ends: %+v, again after %v", state, again)
	}
	if state, _, _ := s.update(time.Unix(1061, 0), fit, heartbeat.View{Ready: true, Deaths: 1}); state.Suppressed != "" {
		t.Errorf("after it has ended: %+v", state)
	}
}

func TestReadinessIsReachedOnce(t *testing.T) {
	at := time.Unix(1000, 0)
	type step struct {
		after   time.Duration
		in      view.Inputs
		unready bool
		again   time.Duration
	}
	for _, tt := range []struct {
		name  string
		steps []step
	}{
		{"kube-proxy answers, and then the node turns NotReady", []step{{0, view.Inputs{}, true, 0}, {time.Second, view.Inputs{KubeProxy: true}, false, 0}, {time.Minute, view.Inputs{}, false, 0}}},
		{"no kube-proxy answers", []step{{0, view.Inputs{}, true, 0}, {time.Second, view.Inputs{Ready: true, ReadySince: at}, true, readyPatience - time.Second}, {readyPatience - time.Second, view.Inputs{Ready: true, ReadySince: at}, false, 0}}},
		{"the Node has been Ready for long", []step{{0, view.Inputs{Ready: true, ReadySince: at.Add(-time.Hour)}, false, 0}, {time.Second, view.Inputs{}, false, 0}}},
		{"the kubelet's clock was two hours ahead", []step{{0, view.Inputs{Ready: true, ReadySince: at.Add(2 * time.Hour)}, true, readyPatience}, {readyPatience, view.Inputs{Ready: true, ReadySince: at.Add(2 * time.Hour)}, false, 0}}},
		{"the Node was Ready", []step{{0, view.Inputs{ReadySince: at.Add(-time.Hour)}, true, 0}}},
	} {
		var r readiness
		now := at
		for i, step := range tt.steps {
			now = now.Add(step.after)
			if unready, again := r.update(now, step.in); unready != step.unready || again != step.again {
				t.Errorf("%s, step %d: %v and again after %v", tt.name, i+1, unready, again)
			}
		}
	}
}

func TestFailbackWaitsAfterALossWithoutGoodbye(t *testing.T) {
	healthy := heartbeat.View{Ready: true}
	for _, tt := range []struct {
		name   string
		happen func(f *failback, now time.Time)
		beats  heartbeat.View
		want   bool
	}{
		{"a start", func(f *failback, now time.Time) { f.update(now, true, heartbeat.View{}, true) }, healthy, false},
		{"its link was down", func(f *failback, now time.Time) {
			f.update(now, false, healthy, true)
			f.update(now, true, healthy, true)
		}, healthy, true},
		{"its process was frozen", func(f *failback, now time.Time) { f.update(now, false, healthy, true) }, heartbeat.View{Ready: true, Deaths: 1}, true},
		{"it was dead before it started", func(f *failback, now time.Time) { f.update(now, true, heartbeat.View{}, true) }, heartbeat.View{Ready: true, Deaths: 1}, true},
		{"it was dead long before", func(f *failback, now time.Time) {
			f.update(now.Add(-time.Minute), false, heartbeat.View{Deaths: 1}, true)
		}, heartbeat.View{Ready: true, Deaths: 1}, false},
	} {
		f, now := failback{after: time.Minute}, time.Unix(1000, 0)
		tt.happen(&f, now)
		if got, again := f.update(now, false, tt.beats, true); got != tt.want || got && again != time.Minute {
			t.Errorf("%s: %v, again after %v", tt.name, got, again)
		}
		if got, _ := f.update(now.Add(time.Minute), false, tt.beats, true); got {
			t.Errorf("%s: still after a minute", tt.name)
		}
		at := failback{}
		tt.happen(&at, now)
		if got, _ := at.update(now, false, tt.beats, true); got {
			t.Errorf("%s: with --failback-after=0", tt.name)
		}
	}
}

func TestFirstSpeakersWaitForEachOther(t *testing.T) {
	now := time.Unix(1000, 0)
	alone := view.Inputs{Node: "node1", ReadyNodes: []string{"node1", "node2"}, Config: &config.Config{}}
	member := func(p members.Profile, lost bool) view.Inputs {
		in := alone
		in.Others = []members.Member{{Name: "node2", Profile: p, Lost: lost}}
		return in
	}
	for _, tt := range []struct {
		name    string
		in      view.Inputs
		after   time.Duration
		unready bool
		waits   bool
	}{
		{"a node has no speaker yet", alone, 0, false, true},
		{"it has none for long", alone, startPatience, true, false},
		{"it is not Ready", view.Inputs{Node: "node1", ReadyNodes: []string{"node1"}, Config: &config.Config{}}, 0, false, false},
		{"its speaker starts, too", member(members.Profile{Fenced: true, Starting: true}, false), 0, false, false},
		{"its speaker has not heard its neighbours yet", member(members.Profile{Fenced: true}, false), 0, false, true},
		{"its speaker starts, too, and waits for kube-proxy", member(members.Profile{Fenced: true, Starting: true, Suppressed: true}, false), 0, false, true},
		{"this one waits for kube-proxy", member(members.Profile{Fenced: true, Starting: true}, false), 0, true, true},
		{"its speaker is lost", member(members.Profile{}, true), 0, false, true},
		{"there is no configuration, and no address", view.Inputs{Node: "node1"}, time.Hour, false, true},
		{"there is no configuration, but an address", view.Inputs{Node: "node1", Services: []plan.Service{{}}}, 0, false, false},
		{"another speaker announces", view.Inputs{Node: "node1", ReadyNodes: []string{"node1", "node2", "node3"}, Others: []members.Member{{Name: "node2"}}}, 0, true, false},
	} {
		var s start
		s.update(now, alone, false)
		waits, again := s.update(now.Add(tt.after), tt.in, tt.unready)
		if waits != tt.waits || waits != (again > 0) {
			t.Errorf("%s: %v, again after %v", tt.name, waits, again)
		}
		if !waits {
			if waits, _ := s.update(now.Add(tt.after), alone, true); waits {
				t.Errorf("%s: waits again", tt.name)
			}
		}
	}
}

func TestSpeakerThatComesBackLetsTheOthersKnowFirst(t *testing.T) {
	in := view.Inputs{Node: "node1", Links: []links.Link{{Name: "eth0"}}, Config: &config.Config{}, KubeProxy: true}
	well, now := heartbeat.View{Ready: true}, time.Unix(1000, 0)
	var s self // with --failback-after=0
	s.update(now, in, heartbeat.View{})
	if state, _, _ := s.update(now, in, well); state.Suppressed != "" || state.Fenced != "" {
		t.Errorf("at its start: %+v", state)
	}
	s.update(now, in, heartbeat.View{Ready: true, Fenced: "no member is heard"})
	now = now.Add(listPatience)
	if state, rejoin, _ := s.update(now, in, well); !rejoin || !state.Rejoining || state.Fenced == "" {
		t.Errorf("when it is heard again: %+v", state)
	}
	found := make(chan struct{})
	close(found)
	s.rejoining(found)
	state, _, again := s.update(now, in, well)
	if state.Rejoining || state.Fenced != "" || state.SaysSuppressed || state.Suppressed == "" || again != tellingDelay {
		t.Errorf("when it has found the others: %+v, again after %v", state, again)
	}
	if state, _, _ := s.update(now.Add(tellingDelay), in, well); state.Suppressed != "" {
		t.Errorf("then: %+v", state)
	}
}

// After the restart of a switch all speakers come back within a second.
func TestFailbackDoesNotCountIfAllComeBack(t *testing.T) {
	now, healthy := time.Unix(1000, 0), heartbeat.View{Ready: true}
	back := func() *failback {
		f := &failback{after: time.Minute}
		f.update(now, false, healthy, true)
		f.update(now, true, healthy, false)
		return f
	}
	for _, tt := range []struct {
		name          string
		others, later []members.Member // when it comes back, and before returnPatience has passed
		want          bool
	}{
		{"another speaker was well all the time", []members.Member{{}}, []members.Member{{}}, true},
		{"the others are fenced", []members.Member{{Profile: members.Profile{Fenced: true}}}, []members.Member{{Profile: members.Profile{Returned: true}}}, false},
		{"another one came back before", []members.Member{{Profile: members.Profile{Returned: true}}}, []members.Member{{Profile: members.Profile{Returned: true}}}, false},
		{"another one tells late that it came back", []members.Member{{}}, []members.Member{{Profile: members.Profile{Returned: true}}}, false},
		{"the others are lost or leave", []members.Member{{Lost: true}, {Profile: members.Profile{Leaving: true}}}, []members.Member{{Lost: true}}, false},
	} {
		f := back()
		if got, _ := f.update(now, false, healthy, anyStayed(tt.others)); got != anyStayed(tt.others) {
			t.Errorf("%s: %v at once", tt.name, got)
		}
		f.update(now.Add(returnPatience/2), false, healthy, anyStayed(tt.later))
		// What the others say later does not count: the minute of each ends at its own time.
		if got, _ := f.update(now.Add(time.Minute-1), false, healthy, true); got != tt.want || !f.returned(now.Add(time.Minute-1)) {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
