package speaker

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/loglimit"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/reconcile"
)

// maxLookups is how often in a minute a person can make this node trace or capture.
const maxLookups = 20

// lookup is a debug page that does something on the network. It is bounded, so that it is of no
// use to scan a network or to slow a node down: one at a time, a few in a minute, only for
// addresses that can be announced, and only for clients on this node, like the kubelet that
// forwards a port.
type lookup struct {
	find  func(netip.Addr) (reconcile.Subject, error)
	serve func(http.ResponseWriter, *http.Request, reconcile.Subject)
	log   *slog.Logger
	busy  sync.Mutex
	limit *loglimit.Limiter
}

func (w *web) newLookup(find func(netip.Addr) (reconcile.Subject, error), serve func(http.ResponseWriter, *http.Request, reconcile.Subject)) http.Handler {
	return http.NewCrossOriginProtection().Handler(&lookup{find: find, serve: serve, log: w.log, limit: loglimit.New(maxLookups, time.Minute)})
}

func (l *lookup) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if !isLocal(r) {
		http.Error(rw, "this page is for clients on the node: use kubectl port-forward", http.StatusForbidden)
		return
	}
	addr, err := netip.ParseAddr(r.URL.Query().Get("address"))
	if err != nil || addr.Zone() != "" {
		http.Error(rw, "the parameter address must be an IP address, such as ?address=192.0.2.1", http.StatusBadRequest)
		return
	}
	subject, err := l.find(addr.Unmap())
	if err != nil {
		status := http.StatusForbidden
		if errors.Is(err, reconcile.ErrNoPlan) {
			status = http.StatusServiceUnavailable
		}
		http.Error(rw, fmt.Sprintf("%s: %v", addr, err), status)
		return
	}
	l.once(rw, r, subject)
}

// once serves one client at a time.
func (l *lookup) once(rw http.ResponseWriter, r *http.Request, subject reconcile.Subject) {
	if !l.busy.TryLock() {
		http.Error(rw, "this node does the same for another client: try again in a moment", http.StatusTooManyRequests)
		return
	}
	defer l.busy.Unlock()
	if _, ok := l.limit.Allow(""); !ok {
		http.Error(rw, fmt.Sprintf("this node has done so %d times in a minute: try again in a minute", maxLookups), http.StatusTooManyRequests)
		return
	}
	l.log.Info("a client looks into an address", "path", r.URL.Path, "vip", subject.Addr)
	l.serve(rw, r, subject)
}

// isLocal reports whether a request comes from this node, and is addressed to it: the address of
// a web page could point to this node.
func isLocal(r *http.Request) bool {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() {
		return false
	}
	return debugapi.NamesAddress(r)
}

// addLookups adds the pages.
func (w *web) addLookups(mux *http.ServeMux) {
	mux.Handle("POST "+debugapi.TracePath, w.newLookup(w.subject, w.trace))
	mux.Handle("POST "+debugapi.CapturePath, w.newLookup(w.subject, w.capture))
}

// subject returns what this node knows about an address.
func (w *web) subject(addr netip.Addr) (reconcile.Subject, error) {
	if loop := w.loop.Load(); loop != nil {
		return loop.Subject(addr)
	}
	return reconcile.Subject{}, reconcile.ErrNoPlan
}
