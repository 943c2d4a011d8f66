package speaker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/reconcile"
)

// web serves metrics, health and the plan.
type web struct {
	log      *slog.Logger
	registry *prometheus.Registry
	loop     atomic.Pointer[reconcile.Loop] // nil until the speaker has one
}

func newWeb(log *slog.Logger, registry *prometheus.Registry) *web {
	return &web{log: log, registry: registry}
}

// start listens, and serves in the background until ctx ends. A server that fails later
// does not end the speaker: addresses matter more than metrics.
func (w *web) start(ctx context.Context, group *errgroup.Group, address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("serving metrics (--metrics-address): %w", err)
	}
	server := &http.Server{Handler: w.handler(), ReadHeaderTimeout: 5 * time.Second}
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			w.log.Error("serving metrics failed", "error", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		if err := server.Close(); err != nil {
			w.log.Warn("closing the HTTP server failed", "error", err)
		}
		return nil
	})
	return nil
}

func (w *web) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(w.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", check(w.healthy))
	mux.HandleFunc("GET /readyz", check(w.ready))
	mux.HandleFunc("GET /debug/plan", func(rw http.ResponseWriter, _ *http.Request) {
		if loop := w.loop.Load(); loop != nil {
			fmt.Fprint(rw, loop.Plan().Describe())
		}
	})
	mux.HandleFunc("GET /debug/bgp", func(rw http.ResponseWriter, _ *http.Request) {
		if loop := w.loop.Load(); loop != nil {
			fmt.Fprint(rw, loop.DescribeSessions())
		}
	})
	return mux
}

func check(f func() error) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		if err := f(); err != nil {
			http.Error(rw, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(rw, "ok")
	}
}

// lastPass returns when the loop last carried out a plan; the zero Time for never.
func (w *web) lastPass() time.Time {
	if loop := w.loop.Load(); loop != nil {
		return loop.LastPass()
	}
	return time.Time{}
}

// ready returns nil if this speaker announces.
func (w *web) ready() error {
	if w.lastPass().IsZero() {
		return errors.New("no plan yet: the speaker waits for the API server or for other speakers, see its log")
	}
	return nil
}

// healthy returns an error if the loop has stopped.
func (w *web) healthy() error {
	if last := w.lastPass(); !last.IsZero() && time.Since(last) > reconcile.MaxPassAge {
		return fmt.Errorf("the last plan is %v old", time.Since(last).Round(time.Second))
	}
	return nil
}

// registerConfig registers the metrics of the configuration. They are read when they are
// scraped.
func registerConfig(registry prometheus.Registerer, config *configmap.Watcher) {
	registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "baremetal", Subsystem: "config", Name: "last_load_successful",
			Help: "1 if the ConfigMap as it is now is in use, 0 if an older one is, or none.",
		}, func() float64 {
			if state := config.State(); state.Problem == nil && state.Config != nil {
				return 1
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "baremetal", Subsystem: "config", Name: "resource_version",
			Help: "The resourceVersion of the ConfigMap that is in use, 0 for none.",
		}, func() float64 { return float64(config.State().ResourceVersion) }))
}
