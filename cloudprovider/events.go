package cloudprovider

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
)

// eventEvery is the shortest time between two Events. The recorder drops Events if it gets
// too many at once, and the provider does not repeat an Event.
const eventEvery = 10 * time.Millisecond

// eventWriter passes Events to the recorder one after the other. Its queue has no limit of
// its own, but there is at most one decision at a time for each Service.
type eventWriter struct {
	recorder record.EventRecorder

	mu       sync.Mutex
	queue    []event
	nonEmpty signal.Signal
}

type event struct {
	object                    runtime.Object
	eventType, reason, format string
	args                      []any
}

func newEventWriter(recorder record.EventRecorder) *eventWriter {
	return &eventWriter{recorder: recorder, nonEmpty: signal.New()}
}

// Eventf queues an Event about the object. It does not wait.
func (w *eventWriter) Eventf(object runtime.Object, eventType, reason, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, event{object, eventType, reason, format, args})
	w.nonEmpty.Set()
}

// run passes the queued Events to the recorder until ctx ends.
func (w *eventWriter) run(ctx context.Context) {
	for {
		select {
		case <-w.nonEmpty.C():
		case <-ctx.Done():
			return
		}
		for {
			e, ok := w.next()
			if !ok {
				break
			}
			w.recorder.Eventf(e.object, e.eventType, e.reason, e.format, e.args...)
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
	if len(w.queue) == 0 {
		return event{}, false
	}
	e, w.queue = w.queue[0], w.queue[1:]
	return e, true
}
