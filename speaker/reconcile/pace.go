package reconcile

import "time"

const (
	// minPlanInterval is the shortest time between two plans: a burst of events is one
	// plan.
	minPlanInterval = 50 * time.Millisecond
	// minUrgentInterval is the same for what the heartbeats find, like the death of a member.
	minUrgentInterval = 5 * time.Millisecond
	// maxPlanInterval is the longest that a change has to wait for its plan when the node has too
	// little CPU time.
	maxPlanInterval = time.Second
)

// rests returns after which time the loop makes the next plan, for what is urgent and for the other
// changes, when a plan took the time took. Otherwise a node with too little CPU time, in a cluster in
// which much changes, would plan all the time, and its heartbeats would be late.
func rests(took time.Duration) (urgent, others time.Duration) {
	others = min(max(minPlanInterval, 4*took), maxPlanInterval)
	return min(max(minUrgentInterval, took/2), others), others
}

// after returns a channel that is ready after d, or never if d is 0.
func after(d time.Duration) <-chan time.Time {
	if d == 0 {
		return nil
	}
	return time.After(d)
}
