package main

import (
	"slices"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// requests judges the connections of a client to one address. A connection that fails ends
// later than one that succeeds, so requests sorts them.
type requests struct {
	silence spells
	waiting []cluster.Attempt
}

// attemptEnds is after what time an attempt has ended, with some time to spare.
const attemptEnds = 600 * time.Millisecond

// see takes attempts in the order of their ends. Only those are judged that began so long
// before the newest that none before them can be missing.
func (r *requests) see(attempts []cluster.Attempt, m model) (found []violation) {
	r.waiting = append(r.waiting, attempts...)
	if len(r.waiting) == 0 {
		return nil
	}
	slices.SortStableFunc(r.waiting, func(a, b cluster.Attempt) int { return a.Start.Compare(b.Start) })
	complete := r.waiting[len(r.waiting)-1].Start.Add(-attemptEnds)
	n := 0
	for n < len(r.waiting) && r.waiting[n].Start.Before(complete) {
		found = append(found, r.silence.see(r.waiting[n].Start, r.waiting[n].OK, "", m)...)
		n++
	}
	r.waiting = slices.Clone(r.waiting[n:])
	return found
}

// end ends what has not ended when the watching ends.
func (r *requests) end(m model) []violation { return r.silence.end("", m) }
