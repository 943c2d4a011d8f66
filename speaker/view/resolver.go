package view

import (
	"context"
	"log/slog"
	"regexp"
	"slices"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/probe"
)

const (
	// resolveInterval is how often the kernel's questions are repeated, and slowInterval is how often after
	// slowAfter.
	resolveInterval, slowInterval = 100 * time.Millisecond, time.Second
	slowAfter                     = time.Minute
	// resolveAfter is for how long after a link was fenced that goes on.
	resolveAfter = 2 * time.Second
	// maxQuestions is how many are repeated each time.
	maxQuestions = 8
)

// Resolver repeats the kernel's questions for MAC addresses on links that are fenced, and for a moment after
// that.
//
// The kernel asks for each address once a second (retrans_time_ms). While a node is cut off, it asks in vain for
// the router, for example because of a connection to the API server. When its network works again, this node
// may announce within milliseconds. Without the repeated question, its answers to clients behind the router
// would wait for up to a second.
type Resolver struct {
	fenced     func() (links map[string]bool)
	unresolved func() ([]links.Neighbor, error)
	ask        func([]probe.Target) (unsent []probe.Target)
	log        *slog.Logger
	asked      int
}

// NewResolver returns a Resolver for the links that are used. fenced returns the names of those that are fenced.
func NewResolver(fenced func() map[string]bool, exclude *regexp.Regexp, p *probe.Prober, log *slog.Logger) *Resolver {
	unresolved := func() ([]links.Neighbor, error) {
		ls, err := links.List(exclude, nil)
		if err != nil {
			return nil, err
		}
		return links.Unresolved(ls)
	}
	return &Resolver{fenced: fenced, unresolved: unresolved, ask: p.Probe, log: log}
}

// Run asks until ctx ends. It returns nil.
func (r *Resolver) Run(ctx context.Context) error {
	tick := time.NewTicker(resolveInterval)
	defer tick.Stop()
	var on map[string]bool
	var begun, until, next time.Time
	for {
		var now time.Time
		select {
		case now = <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if fenced := r.fenced(); len(fenced) > 0 {
			if len(on) == 0 {
				begun, next = now, now
			}
			on, until = fenced, now.Add(resolveAfter)
		}
		switch {
		case now.After(until):
			on = nil
		case !now.Before(next):
			if r.resolve(on); now.Sub(begun) > slowAfter {
				next = now.Add(slowInterval)
			}
		}
	}
}

// resolve asks once for what the kernel looks for on some links. The kernel takes the answers.
func (r *Resolver) resolve(on map[string]bool) {
	all, err := r.unresolved()
	if err != nil {
		r.log.Debug("the kernel's neighbors cannot be read", "error", err)
		return
	}
	all = slices.DeleteFunc(all, func(n links.Neighbor) bool { return !on[n.Link] })
	var targets []probe.Target
	for range min(maxQuestions, len(all)) { // if there are more, all have their turn
		n := all[r.asked%len(all)]
		r.asked++
		targets = append(targets, probe.Target{Link: n.Link, Local: n.Local, Remote: n.Addr, MAC: probe.Everyone})
	}
	r.ask(targets) // what could not be sent is sent the next time
}
