package reconcile

import "time"

const (
	// minPlanInterval is the shortest time between two plans: a burst of events is one
	// plan.
	minPlanInterval = 50 * time.Millisecond
	// minUrgentInterval is the same for what the heartbeats find, like the death of a member.
	minUrgentInterval = 5 * time.Millisecond
	// maxPlanInterval and maxUrgentInterval are the longest that a change has to wait for its plan
	// when the node has too little CPU time.
	maxPlanInterval   = 400 * time.Millisecond
	maxUrgentInterval = 50 * time.Millisecond
)

// rests returns after which time the loop makes the next plan, for what is urgent and for the other
// changes, when a plan took the time took. If it did not rest longer after slow plans, a node with too
// little CPU time would plan all the time while much changes, and its heartbeats would be late.
func rests(took time.Duration) (urgent, others time.Duration) {
	return min(max(minUrgentInterval, took/2), maxUrgentInterval), min(max(minPlanInterval, 4*took), maxPlanInterval)
}

// after returns a channel that is ready after d, or never if d is 0.
func after(d time.Duration) <-chan time.Time {
	if d == 0 {
		return nil
	}
	return time.After(d)
}
