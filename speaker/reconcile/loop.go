// Package reconcile is the loop of a speaker. Each pass reads the inputs once, makes a
// plan and carries it out. It reports what has changed.
package reconcile

import (
	"context"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/tools/record"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/loglimit"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bgp"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/closedports"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/spread"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/view"
)

const (
	// resyncInterval is the longest time between two plans, in case an event was missed.
	// A failed action is also tried again after this time.
	resyncInterval = 10 * time.Second
	// searchPause is the shortest time between two searches for a lost member that was seen
	// on a link. Such a frame may be forged, and a search costs CPU time. Between them, the search
	// for missing members contacts it.
	searchPause = 10 * time.Second
	// contestedEvents is how many Events about contested VIPs are written in a minute.
	contestedEvents = 10
)

// Options are what a Loop works with. All parts must run already.
type Options struct {
	// Node is the name of this node.
	Node      string
	Reader    *view.Reader
	Cluster   *view.Cluster
	Members   *members.Members
	Heartbeat *heartbeat.Heartbeat
	Layer2    *layer2.Announcer
	BGP       *bgp.Announcer
	// ClosedPorts refuses packets to ports that no Service has; nil to leave them alone.
	ClosedPorts *closedports.Refuser
	// Spread shares the traffic of VIPs with other nodes; nil for never.
	Spread    *spread.Spreader
	Status    *StatusWriter
	NodeLinks *NodeLinks
	// FailbackAfter is how long this speaker is suppressed after it came back.
	FailbackAfter time.Duration
	// Wake is set when something has changed. Urgent is set when the heartbeats have: such a change
	// waits for a shorter time; see rests.
	Wake, Urgent signal.Signal
	Events       record.EventRecorder
	Log          *slog.Logger
	Metrics      prometheus.Registerer
}

// Loop plans and carries out the plans.
type Loop struct {
	Options
	metrics *metrics
	last    atomic.Pointer[planned]

	// The rest is for the goroutine of Run alone.
	self self
	// heartbeatMembers are the members that the heartbeats were given last. heartbeatsSet
	// is false before the first time.
	heartbeatMembers []heartbeat.Member
	heartbeatsSet    bool
	// announced are the VIPs that any speaker has announced, as far as this one knows.
	announced map[netip.Addr]bool
	// contested are the reported conflicts on VIPs that this node announces.
	contested map[netip.Addr]bool
	// contestedEvents bounds the Events about them, because every neighbour can cause one.
	contestedEvents *loglimit.Limiter
	// refused are the packets that are refused.
	refused closedports.Wanted
	// sessions are the BGP sessions as they were reported last.
	sessions []bgp.Status
	// rejoined is closed when the last search for missing members has ended, which began at
	// searched.
	rejoined <-chan struct{}
	searched time.Time
	// returned, lostHeard and deaths are the counts that earlier passes have handled.
	returned, lostHeard uint64
	deaths, linkDeaths  int
	// back are the lost members that were heard at the last pass.
	back []string
}

// planned is a plan, what it was made from, and when it was carried out. Nothing of it changes
// any more.
type planned struct {
	plan  plan.Plan
	state plan.State
	in    view.Inputs
	beats heartbeat.View
	self  view.Self
	at    time.Time
}

// New returns a Loop.
func New(o Options) *Loop {
	l := &Loop{Options: o, metrics: newMetrics(o.Metrics), contestedEvents: loglimit.New(contestedEvents, time.Minute)}
	l.self.failback.after = o.FailbackAfter
	return l
}

// Run plans whenever something has changed, until ctx ends. It acts on an event at once
// and then rests, unless a member has died or a plan is due. It returns nil.
func (l *Loop) Run(ctx context.Context) error {
	resync := time.NewTicker(resyncInterval)
	defer resync.Stop()
	for ctx.Err() == nil {
		began := time.Now()
		again := after(l.pass(ctx))
		urgent, others := rests(time.Since(began))
		select {
		case <-time.After(urgent):
		case <-ctx.Done():
		}
		select {
		case <-time.After(others - urgent):
		case <-l.Urgent.C():
			continue
		case <-again:
			continue
		case <-ctx.Done():
		}
		select {
		case <-l.Wake.C():
		case <-l.Urgent.C():
		case <-resync.C:
		case <-again:
		case <-ctx.Done():
		}
	}
	if l.last.Load() != nil {
		// How the speaker leaves depends on what is known now; see Plan.KeepRoutes.
		l.pass(context.WithoutCancel(ctx))
	}
	return nil
}

// pass makes a plan and carries it out. It returns after which time to plan again even
// if nothing changes; 0 means that there is no such time.
func (l *Loop) pass(ctx context.Context) (again time.Duration) {
	// What is counted here is handled below. A change after this line sets Wake.
	returned, lostHeard := l.Members.Returned(), l.Layer2.LostHeard()
	in, err := l.Reader.Read(l.Members.Others(), l.Heartbeat.View(), l.spreadNow)
	if err != nil {
		l.Log.Error("planning failed, the last plan stays in use", "error", err)
		return minPlanInterval
	}
	for _, name := range in.Deleted {
		l.Members.Forget(name)
	}
	beats := l.setHeartbeatMembers(ctx, in)
	if beats.Deaths != l.deaths || beats.LinkDeaths != l.linkDeaths {
		// Other nodes have taken this one for dead. They are the owners now, so there is nothing to
		// hand over. What this node still owns is announced anew.
		l.Layer2.Forget()
		l.linkDeaths = beats.LinkDeaths
	}
	state, rejoin, again := l.self.update(time.Now(), in, beats)
	again = sooner(again, in.Again)
	l.setSpread(&state)
	state.Advertises = slices.ContainsFunc(l.BGP.Status(), func(s bgp.Status) bool { return s.Up })
	l.Members.LookFor(beats.Returned...)
	if rejoin {
		l.self.rejoining(l.Members.Rejoin())
	}
	isNews := !slices.Equal(beats.Returned, l.back) && len(beats.Returned) > 0
	if isNews || (lostHeard != l.lostHeard || len(beats.Returned) > 0) && time.Since(l.searched) > searchPause {
		l.searched = time.Now()
		l.rejoin()
	}
	l.lostHeard, l.back = lostHeard, beats.Returned
	l.Heartbeat.Hold(state.Rejoining)
	l.tell(ctx, view.Profile(in, beats, state), beats)

	conflicts := l.Layer2.Conflicts()
	before := l.Plan()
	foreign := unannounced(conflicts)
	l.NodeLinks.SetConflicts(foreign)
	l.NodeLinks.SetSpread(view.SpreadLinks(in.Links, state.HandsOn))
	if state.Fenced != "" {
		in.Left = nil // it may be this speaker that is gone
	}
	l.NodeLinks.SetLeft(in.Left)
	seen := view.State(in, beats, state, foreign)
	p := plan.Make(seen, before)
	byMAC := view.MembersByMAC(in, beats)
	if l.Spread != nil && !p.KeepSpread {
		l.Spread.Set(spreadFlows(p, in, byMAC, l.announced)) // before this node announces
	}
	l.Layer2.Set(announcementLinks(in.Links), byMAC, assignments(p, l.announced))
	if returned != l.returned {
		// A member that comes back may have believed that it owns everything, and may have
		// announced it.
		l.returned = returned
		l.Layer2.Reannounce()
	}
	l.setSessions(p)
	if l.ClosedPorts != nil {
		l.refused = refusedPackets(p, seen.Services, in.AllLinks, l.refused)
		l.ClosedPorts.Set(l.refused)
	}
	l.announced = announcedSoFar(p, l.announced)
	l.last.Store(&planned{plan: p, state: seen, in: in, beats: beats, self: state, at: time.Now()})
	l.metrics.update(p)
	l.reportPlan(before, p)
	l.reportContested(p, conflicts)
	if l.Status.Enabled() {
		l.Status.Set(plan.Announcements(seen, p), time.Now())
	}
	return again
}

// rejoin looks for the missing members, unless such a search goes on already.
func (l *Loop) rejoin() {
	select {
	case <-l.rejoined:
		l.rejoined = nil
	default:
	}
	if l.rejoined == nil {
		l.rejoined = l.Members.Rejoin()
	}
}

// tell says to the other members what this speaker is now, by the heartbeats and by the member
// list. After a death it may answer again then.
func (l *Loop) tell(ctx context.Context, p members.Profile, beats heartbeat.View) {
	version, encoded := l.Members.SetProfile(p)
	if version != l.self.told {
		l.self.told = version
		l.Heartbeat.Say(ctx, heartbeat.Profile{Version: version, Bytes: encoded})
	}
	if beats.Deaths != l.deaths {
		l.deaths = beats.Deaths
		l.Heartbeat.Resume(ctx, beats.Deaths)
	}
}

// setHeartbeatMembers tells the heartbeats the members if they have changed. It returns
// what the heartbeats say.
func (l *Loop) setHeartbeatMembers(ctx context.Context, in view.Inputs) heartbeat.View {
	want := view.HeartbeatMembers(in)
	if l.heartbeatsSet && reflect.DeepEqual(want, l.heartbeatMembers) {
		return l.Heartbeat.View()
	}
	l.heartbeatMembers, l.heartbeatsSet = want, true
	return l.Heartbeat.Set(ctx, want)
}

// Plan returns the last plan; the zero Plan before the first one.
func (l *Loop) Plan() plan.Plan {
	if last := l.last.Load(); last != nil {
		return last.plan
	}
	return plan.Plan{}
}

// LastPass returns when the last plan was carried out; the zero Time before the first.
func (l *Loop) LastPass() time.Time {
	if last := l.last.Load(); last != nil {
		return last.at
	}
	return time.Time{}
}

// MaxPassAge is the longest time after a pass without another one. After a longer time
// the loop must have stopped.
const MaxPassAge = 3 * resyncInterval
