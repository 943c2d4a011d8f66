package view

import (
	"context"
	"log/slog"
	"regexp"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/probe"
)

const (
	// resolveInterval is how often the kernel's questions are repeated.
	resolveInterval = 100 * time.Millisecond
	// resolveAfter is for how long after the speaker was fenced that goes on.
	resolveAfter = 2 * time.Second
	// maxQuestions is how many are repeated each time.
	maxQuestions = 16
)

// Resolver repeats the kernel's questions for MAC addresses while this speaker is fenced, and for a moment
// after that.
//
// The kernel asks for each address once a second (retrans_time_ms). While a node is cut off, it asks in vain for
// the router, for example because of a connection to the API server. When its network works again, this node
// may announce within milliseconds. Without the repeated question, its answers to clients behind the router
// would wait for up to a second.
type Resolver struct {
	fenced     func() bool
	unresolved func() ([]links.Neighbor, error)
	ask        func([]probe.Target) (unsent []probe.Target)
	log        *slog.Logger
}

// NewResolver returns a Resolver for the links that are used.
func NewResolver(fenced func() bool, exclude *regexp.Regexp, p *probe.Prober, log *slog.Logger) *Resolver {
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
	var fencedAt time.Time
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if r.fenced() {
			fencedAt = time.Now()
		}
		if !fencedAt.IsZero() && time.Since(fencedAt) < resolveAfter {
			r.resolve()
		}
	}
}

// resolve asks once for what the kernel looks for. The kernel takes the answers.
func (r *Resolver) resolve() {
	unresolved, err := r.unresolved()
	if err != nil {
		r.log.Debug("the kernel's neighbors cannot be read", "error", err)
		return
	}
	everyone := [6]byte{255, 255, 255, 255, 255, 255}
	var targets []probe.Target
	for _, n := range unresolved[:min(maxQuestions, len(unresolved))] {
		targets = append(targets, probe.Target{Link: n.Link, Local: n.Local, Remote: n.Addr, MAC: everyone})
	}
	r.ask(targets) // what could not be sent is sent the next time
}
