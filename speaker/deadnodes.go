package speaker

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/speakerapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/access"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/serve"
)

// deadNodes tells the cluster manager which nodes are dead; see package speakerapi. The client
// must prove that it has the speakers' key. The API server is not asked, because its node can
// be the one that has died.
type deadNodes struct {
	rejected func(reason string)
	log      *slog.Logger
	keys     atomic.Pointer[[][]byte] // nil until the speaker has keys

	mu      sync.Mutex
	answer  speakerapi.Answer
	changed chan struct{} // closed at the next change
}

func newDeadNodes(node string, rejected func(reason string), log *slog.Logger) *deadNodes {
	return &deadNodes{
		rejected: rejected, log: log, changed: make(chan struct{}),
		answer: speakerapi.Answer{Node: node, Change: 1, Fenced: true}, // it knows nothing yet
	}
}

// setKeys replaces the keys that clients can use.
func (d *deadNodes) setKeys(keys [][]byte) { d.keys.Store(&keys) }

// set tells what the heartbeats have found out. It does not block.
func (d *deadNodes) set(v heartbeat.View) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := speakerapi.Answer{Node: d.answer.Node, Change: d.answer.Change + 1, Fenced: v.Fenced != "" || !v.Ready}
	if !now.Fenced {
		now.Dead = v.KernelDead
	}
	if now.Equal(d.answer) {
		return
	}
	d.answer = now
	close(d.changed)
	d.changed = make(chan struct{})
}

// after waits until there is an answer with another number than change, for MaxWait at most,
// and returns the newest answer.
func (d *deadNodes) after(ctx context.Context, change uint64) speakerapi.Answer {
	timeout := time.NewTimer(speakerapi.MaxWait)
	defer timeout.Stop()
	for {
		d.mu.Lock()
		answer, changed := d.answer, d.changed
		d.mu.Unlock()
		if answer.Change != change {
			return answer
		}
		select {
		case <-changed:
		case <-timeout.C:
			return answer
		case <-ctx.Done():
			return answer
		}
	}
}

// ServeHTTP answers the cluster manager.
func (d *deadNodes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	keys := d.keys.Load()
	if keys == nil {
		d.refuse(w, access.Unavailable, http.StatusServiceUnavailable, "this speaker has no key yet")
		return
	}
	channel, err := speakerapi.Bind(r.TLS)
	if err != nil {
		d.refuse(w, access.Unauthenticated, http.StatusUnauthorized, err.Error())
		return
	}
	key, ok := channel.VerifyRequest(*keys, r.RequestURI, r.Header.Get(speakerapi.RequestHeader))
	if !ok {
		d.refuse(w, access.Unauthenticated, http.StatusUnauthorized, "only the cluster manager, which has the speakers' key, may get "+speakerapi.Path)
		return
	}
	serve.Trust(w, r)
	change, err := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
	if err != nil {
		http.Error(w, "after must be the number of a change: "+err.Error(), http.StatusBadRequest)
		return
	}
	body, err := d.after(r.Context(), change).Format()
	if err != nil {
		d.log.Error("answering the cluster manager failed", "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set(speakerapi.AnswerHeader, channel.Answer(key, r.RequestURI, body))
	_, _ = w.Write(body) // fails only if the client has gone
}

func (d *deadNodes) refuse(w http.ResponseWriter, reason string, status int, text string) {
	d.rejected(reason)
	http.Error(w, text, status)
}
