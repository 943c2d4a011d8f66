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
)

// start lets the speakers of a cluster that starts wait for each other. Otherwise an address
// would move from one speaker to the next in the order in which they start. A speaker that
// starts while another one announces does not wait.
type start struct {
	over  bool
	since time.Time
}

// update reports whether this speaker waits, and for how long it does so at most.
func (s *start) update(now time.Time, in view.Inputs) (waits bool, again time.Duration) {
	if s.since.IsZero() {
		s.since = now
	}
	left := s.since.Add(startPatience).Sub(now)
	if s.over = s.over || left <= 0 || anyAnnounces(in.Others) || !anyMissing(in); s.over {
		return false, 0
	}
	return true, left
}

func anyAnnounces(others []members.Member) bool {
	return slices.ContainsFunc(others, func(o members.Member) bool { return !o.Lost && !o.Profile.Leaving && !o.Profile.Fenced })
}

// anyMissing reports whether a node that is Ready has no speaker yet.
func anyMissing(in view.Inputs) bool {
	return slices.ContainsFunc(in.ReadyNodes, func(name string) bool {
		return name != in.Node && !slices.ContainsFunc(in.Others, func(o members.Member) bool { return o.Name == name && !o.Lost })
	})
}

// readiness finds out when this node can send traffic to pods. It matters only until then: a
// node that turns NotReady keeps its addresses, because its kernel goes on forwarding.
type readiness struct {
	reached bool
	since   time.Time // the Node is Ready; the zero Time if it is not
}

// update reports whether the node cannot send traffic to pods yet, and after which time that
// can end by itself.
func (r *readiness) update(now time.Time, ready, kubeProxy bool) (unready bool, again time.Duration) {
	switch {
	case !ready:
		r.since = time.Time{}
	case r.since.IsZero():
		r.since = now
	}
	left := r.since.Add(readyPatience).Sub(now)
	if r.reached = r.reached || kubeProxy || ready && left <= 0; r.reached {
		return false, 0
	}
	if !ready {
		return true, 0
	}
	return true, left
}

// failback keeps addresses on the nodes that have taken them over from this one. Every move
// costs the open connections, and what has failed once often fails again soon.
type failback struct {
	after     time.Duration // 0 means at once
	announced bool          // this speaker could announce at some time
	cutOff    bool
	told      bool // see heartbeat.View.WasGone
	freezes   int
	until     time.Time
}

// update reports whether this speaker came back a short time ago after others had to take
// over without its goodbye, and for how long that counts.
func (f *failback) update(now time.Time, cutOff bool, beats heartbeat.View) (returned bool, again time.Duration) {
	back := f.cutOff && !cutOff && f.announced
	if back || beats.WasGone && !f.told || beats.Freezes != f.freezes {
		f.until = now.Add(f.after)
	}
	f.cutOff, f.told, f.freezes = cutOff, beats.WasGone, beats.Freezes
	f.announced = f.announced || !cutOff
	left := f.until.Sub(now)
	return left > 0, max(0, left)
}
