package ui

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
)

// keptMoves is how many moves the page shows.
const keptMoves = 100

// update is what the page shows.
type update struct {
	Cluster string `json:"cluster"`
	// Stale says why the picture is not that of now; empty if it is.
	Stale string `json:"stale,omitempty"`
	Picture
	Moves []Move `json:"moves"`
}

// watcher asks the source while a page is open.
type watcher struct {
	source   Source
	cluster  string
	interval time.Duration
	opened   signal.Signal // wakes run when the first page is opened

	mu     sync.Mutex
	pages  int
	state  watched
	change chan struct{} // is closed when there is another state
}

// watched is the present state of a watcher.
type watched struct {
	update update
	// data is the update as JSON, nil before the first one. version counts its changes.
	data    []byte
	version int
	// known is the last picture with addresses of which something was known.
	known *Picture
}

func newWatcher(source Source, cluster string, interval time.Duration) *watcher {
	return &watcher{source: source, cluster: cluster, interval: interval, opened: signal.New(), change: make(chan struct{})}
}

// run looks again and again while a page is open, until ctx ends. The pause between two looks is as long
// as a look, but not shorter than the interval, so that a large cluster is not asked all the time.
func (w *watcher) run(ctx context.Context) {
	for w.awaitPage(ctx) {
		began := time.Now()
		report, err := w.source.Look(ctx)
		if ctx.Err() != nil {
			return
		}
		w.publish(report, err)
		select {
		case <-ctx.Done():
		case <-time.After(max(w.interval, time.Since(began))):
		}
	}
}

// awaitPage waits until a page is open. It returns false if ctx has ended.
func (w *watcher) awaitPage(ctx context.Context) bool {
	for ctx.Err() == nil && !w.isOpen() {
		select {
		case <-ctx.Done():
		case <-w.opened.C():
		}
	}
	return ctx.Err() == nil
}

func (w *watcher) isOpen() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pages > 0
}

// open counts a page. The caller must call the result when the page is closed.
func (w *watcher) open() (closed func()) {
	w.mu.Lock()
	w.pages++
	w.mu.Unlock()
	w.opened.Set()
	return func() {
		w.mu.Lock()
		w.pages--
		w.mu.Unlock()
	}
}

// now returns the present state, and a channel that is closed when there is another one.
func (w *watcher) now() (watched, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state, w.change
}

func (w *watcher) publish(report Report, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = w.state.next(w.cluster, report, err)
	close(w.change)
	w.change = make(chan struct{})
}

// next returns the state after a look.
func (s watched) next(cluster string, report Report, err error) watched {
	u := update{Cluster: cluster, Picture: s.update.Picture, Moves: s.update.Moves}
	if u.Moves == nil {
		u.Moves = []Move{}
	}
	if err != nil {
		u.Stale = err.Error()
		return s.with(u)
	}
	picture, known := Draw(report)
	switch {
	case known && s.known != nil:
		u.Moves = newestFirst(Moves(*s.known, picture), u.Moves, keptMoves)
	case !known:
		u.Stale = "no speaker answers"
		if s.known != nil {
			picture.Addresses = s.known.Addresses
			u.Stale += fmt.Sprintf(": the addresses are shown as they were at %s", s.known.Time.Local().Format(time.TimeOnly))
		}
	}
	if known {
		s.known = &picture
	}
	u.Picture = picture
	return s.with(u)
}

// with returns the state with another update. The version changes only if more than the time does.
func (s watched) with(u update) watched {
	was := s.update
	was.Time = u.Time
	s.update = u
	if s.data != nil && reflect.DeepEqual(was, u) {
		return s
	}
	s.version++
	data, err := json.Marshal(u)
	if err != nil { // a program has said something that JSON cannot have, for example the year 10000
		data = fmt.Appendf(nil, `{"stale":%q}`, fmt.Sprintf("the picture cannot be sent: %v", err))
	}
	s.data = data
	return s
}
