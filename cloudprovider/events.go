package cloudprovider

import (
	"context"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
)

// eventEvery is the shortest time between two Events. The recorder drops Events if it gets
// too many at once, and the provider does not repeat an Event.
const eventEvery = 10 * time.Millisecond

// eventWriter passes Events to the recorder one after the other. Its queue has at most one
// Event of each object and reason: the last one. A tenant who changes a Service again and
// again cannot fill it.
type eventWriter struct {
	recorder record.EventRecorder

	mu       sync.Mutex
	queue    []eventKey
	events   map[eventKey]event // by the keys in the queue
	nonEmpty signal.Signal
}

// eventKey is what an Event is about.
type eventKey struct{ uid, kind, name, reason string }

type event struct {
	object                    runtime.Object
	eventType, reason, format string
	args                      []any
}

func newEventWriter(recorder record.EventRecorder) *eventWriter {
	return &eventWriter{recorder: recorder, events: map[eventKey]event{}, nonEmpty: signal.New()}
}

// Eventf queues an Event about the object. It does not wait.
func (w *eventWriter) Eventf(object runtime.Object, eventType, reason, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := keyOf(object, reason)
	if _, queued := w.events[key]; !queued {
		w.queue = append(w.queue, key)
	}
	w.events[key] = event{object, eventType, reason, format, args}
	w.nonEmpty.Set()
}

func keyOf(object runtime.Object, reason string) eventKey {
	if ref, ok := object.(*v1.ObjectReference); ok { // it has no metadata
		return eventKey{uid: string(ref.UID), kind: ref.Kind, name: ref.Namespace + "/" + ref.Name, reason: reason}
	}
	key := eventKey{reason: reason}
	if o, err := meta.Accessor(object); err == nil {
		key.uid, key.name = string(o.GetUID()), o.GetNamespace()+"/"+o.GetName()
	}
	return key
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
	key := w.queue[0]
	e, w.queue = w.events[key], w.queue[1:]
	delete(w.events, key)
	return e, true
}
