package cloudprovider

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
)

// eventEvery is the shortest time from one Event to the next. The recorder drops
// Events when too many come at once, and those here are not repeated.
const eventEvery = 10 * time.Millisecond

// eventWriter hands Events to the recorder one after the other. What it holds is
// bounded by the number of decisions, which is one for each Service at a time.
type eventWriter struct {
	recorder record.EventRecorder

	mu      sync.Mutex
	waiting []event
	more    chan struct{}
}

type event struct {
	object               runtime.Object
	kind, reason, format string
	args                 []any
}

func newEventWriter(recorder record.EventRecorder) *eventWriter {
	return &eventWriter{recorder: recorder, more: make(chan struct{}, 1)}
}

// Eventf has an Event written about the object. It does not wait.
func (w *eventWriter) Eventf(object runtime.Object, kind, reason, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = append(w.waiting, event{object, kind, reason, format, args})
	select {
	case w.more <- struct{}{}:
	default: // it is awake
	}
}

// run writes Events until ctx ends.
func (w *eventWriter) run(ctx context.Context) {
	for {
		select {
		case <-w.more:
		case <-ctx.Done():
			return
		}
		for {
			e, ok := w.next()
			if !ok {
				break
			}
			w.recorder.Eventf(e.object, e.kind, e.reason, e.format, e.args...)
			select {
			case <-time.After(eventEvery):
			case <-ctx.Done():
				return
			}
		}
	}
}

func (w *eventWriter) next() (e event, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 {
		return event{}, false
	}
	e, w.waiting = w.waiting[0], w.waiting[1:]
	return e, true
}
