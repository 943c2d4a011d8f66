package reconcile

import (
	"slices"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/view"
)

const (
	// startPatience is how long the first speakers of a cluster wait for each other.
	startPatience = 3 * time.Second
	// readyPatience is how long a Node must be Ready if kube-proxy does not answer: the
	// cluster may have no kube-proxy.
	readyPatience = 5 * time.Second
	// returnPatience is how long a speaker that comes back waits until it knows whether the
	// other speakers come back, too.
	returnPatience = 2 * time.Second
)

const unreadyReason = "kube-proxy does not answer yet, and the Node has not been Ready for 5 s"

// start lets the speakers of a cluster that starts wait for each other. Otherwise an address
// would move from one speaker to the next in the order in which they start. A speaker that
// starts while another one announces does not wait.
type start struct {
	over  bool
	since time.Time
}

// update reports whether this speaker waits, and for how long it does so at most. unready is
// set if this node cannot send traffic to pods yet.
func (s *start) update(now time.Time, in view.Inputs, unready bool) (waits bool, again time.Duration) {
	// In a cluster without a configuration and without addresses there is nothing to announce.
	// All speakers begin together when the first configuration comes.
	empty := in.Config == nil && len(in.Services) == 0
	if s.since.IsZero() || empty {
		s.since = now
	}
	left := s.since.Add(startPatience).Sub(now)
	if s.over = s.over || left <= 0 || anyAnnounces(in.Others) || !empty && !unready && !anyMissing(in); s.over {
		return false, 0
	}
	return true, left
}

func anyAnnounces(others []members.Member) bool {
	return slices.ContainsFunc(others, func(o members.Member) bool { return !o.Lost && !o.Profile.Leaving && !o.Profile.Fenced })
}

// anyMissing reports whether a node that is Ready has no speaker yet, or one that cannot begin
// yet: it has not heard its neighbours, or it is not ready for traffic.
func anyMissing(in view.Inputs) bool {
	return slices.ContainsFunc(in.ReadyNodes, func(name string) bool {
		return name != in.Node && !slices.ContainsFunc(in.Others, func(o members.Member) bool {
			return o.Name == name && !o.Lost && !o.Profile.Suppressed && (o.Profile.Starting || !o.Profile.Fenced)
		})
	})
}

// readiness finds out when this node can send traffic to pods. It matters only until then: a
// node that turns NotReady keeps its addresses, because its kernel goes on forwarding.
type readiness struct {
	reached bool
	seen    time.Time // when the Node was first seen Ready; the zero Time if it is not Ready
}

// update reports whether the node cannot send traffic to pods yet, and after which time that
// can end by itself.
func (r *readiness) update(now time.Time, in view.Inputs) (unready bool, again time.Duration) {
	if !in.Ready {
		r.seen = time.Time{}
	} else if r.seen.IsZero() {
		r.seen = now
	}
	// The kubelet's clock may have been wrong when the Node became Ready.
	left := min(in.ReadySince.Add(readyPatience).Sub(now), r.seen.Add(readyPatience).Sub(now))
	if r.reached = r.reached || in.KubeProxy || in.Ready && left <= 0; r.reached {
		return false, 0
	}
	if !in.Ready {
		return true, 0
	}
	return true, left
}

// failback keeps addresses on the nodes that have taken them over from this one. Every move
// costs the open connections, and what has failed once often fails again soon. If all speakers
// come back, as after the restart of a switch, no speaker has taken anything over: then it
// does not count.
type failback struct {
	after     time.Duration // 0 means at once
	announced bool          // this speaker could announce at some time
	cutOff    bool
	deaths    int // see heartbeat.View.Deaths
	until     time.Time
	decided   time.Time // until then, a change of stayed counts
	counts    bool
}

// update reports whether this speaker leaves its addresses to others because it came back a
// short time ago without a goodbye before, and for how long. stayed is set if another speaker
// was well all the time.
func (f *failback) update(now time.Time, cutOff bool, beats heartbeat.View, stayed bool) (waits bool, again time.Duration) {
	back := f.cutOff && !cutOff && f.announced
	if back || beats.Deaths != f.deaths {
		f.until, f.decided = now.Add(f.after), now.Add(returnPatience)
	}
	f.cutOff, f.deaths = cutOff, beats.Deaths
	f.announced = f.announced || !cutOff
	if now.Before(f.decided) {
		f.counts = stayed
	}
	return f.counts && f.returned(now), max(0, f.until.Sub(now))
}

// returned reports whether this speaker came back a short time ago.
func (f *failback) returned(now time.Time) bool { return now.Before(f.until) }

// anyStayed reports whether another speaker can announce and has not come back itself.
func anyStayed(others []members.Member) bool {
	return slices.ContainsFunc(others, func(o members.Member) bool {
		return !o.Lost && !o.Profile.Leaving && !o.Profile.Fenced && !o.Profile.Returned
	})
}
