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
	"k8s.io/client-go/kubernetes"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/speakerapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/access"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/reconcile"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/serve"
)

// maxScrapes is how many clients can read the metrics at the same time.
const maxScrapes = 4

// WebOptions say where the pages are served.
type WebOptions struct {
	// MetricsAddress is where /metrics is served to other hosts, HOST:PORT.
	MetricsAddress string
	// InsecureMetrics serves it without TLS, to everybody.
	InsecureMetrics bool
	// CertFile and KeyFile are a certificate and its private key, both PEM. If they are
	// empty, the speaker makes a certificate itself.
	CertFile, KeyFile string
	// HealthAddress is where health and debug pages are served to everybody, HOST:PORT. It
	// should be an address of the loopback interface.
	HealthAddress string
	// ReviewClient asks the API server who may read the metrics. It has limits of its own,
	// so that reviews do not delay other requests.
	ReviewClient kubernetes.Interface
	// Version is the version of the program, for the debug pages.
	Version string
}

// web serves metrics, health and the plan.
type web struct {
	options  WebOptions
	node     string
	log      *slog.Logger
	registry *prometheus.Registry
	rejected *prometheus.CounterVec
	loop     atomic.Pointer[reconcile.Loop] // nil until the speaker has one
	dead     *deadNodes
	// otherKeys are the hosts that send with another key.
	otherKeys *otherKeys
}

func newWeb(o WebOptions, node string, log *slog.Logger, registry *prometheus.Registry) *web {
	w := &web{options: o, node: node, log: log, registry: registry, otherKeys: newOtherKeys(), rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "baremetal", Subsystem: "http", Name: "rejected_total",
		Help: "Connections and requests to the HTTP ports that were refused, by reason.",
	}, []string{"reason"})}
	registry.MustRegister(w.rejected)
	w.dead = newDeadNodes(node, w.reject, log)
	for _, reason := range []string{
		serve.TooManyConnections, serve.TooManyNew, serve.BadHandshake,
		access.Unauthenticated, access.Forbidden, access.Unavailable, access.Busy,
	} {
		w.rejected.WithLabelValues(reason)
	}
	return w
}

func (w *web) reject(reason string) { w.rejected.WithLabelValues(reason).Inc() }

// listen listens on both addresses.
func (w *web) listen() (health, metrics *serve.Server, err error) {
	health, err = serve.New(serve.Options{Name: "health", Address: w.options.HealthAddress, Handler: w.healthPages(), Rejected: w.reject, Log: w.log})
	if err != nil {
		return nil, nil, fmt.Errorf("serving health and debug pages (--health-address): %w", err)
	}
	if tcp, ok := health.Addr().(*net.TCPAddr); ok && !tcp.IP.IsLoopback() {
		w.log.Warn("the health and debug pages can be read from other hosts", "address", tcp, "hint", "set --health-address to an address of the loopback interface")
	}
	o := serve.Options{Name: "metrics", Address: w.options.MetricsAddress, Handler: w.metricsPage(), Rejected: w.reject, Log: w.log}
	switch {
	case w.options.InsecureMetrics:
		w.log.Warn("the metrics can be read by everybody, and on the way", "address", o.Address, "hint", "remove --insecure-metrics")
	case w.options.CertFile != "":
		o.Certificate = serve.NewFiles(w.options.CertFile, w.options.KeyFile, w.log).Get
	default:
		o.Certificate = serve.NewSelfSigned(w.node).Get
	}
	if metrics, err = serve.New(o); err != nil {
		return nil, nil, fmt.Errorf("serving metrics (--metrics-address): %w", err)
	}
	return health, metrics, nil
}

// start listens, and serves in the background until ctx ends. A server that fails later
// does not end the speaker: addresses matter more than metrics.
func (w *web) start(ctx context.Context, group *errgroup.Group) error {
	health, metrics, err := w.listen()
	if err != nil {
		return err
	}
	for _, server := range []*serve.Server{health, metrics} {
		group.Go(func() error {
			if err := server.Run(ctx); err != nil {
				w.log.Error("serving HTTP failed", "error", err)
			}
			return nil
		})
	}
	return nil
}

// metricsPage is for Prometheus, and for the cluster manager, which asks for the dead nodes.
// Without TLS the cluster manager gets no answer, because its proof needs TLS.
func (w *web) metricsPage() http.Handler {
	page := promhttp.HandlerFor(w.registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})
	if !w.options.InsecureMetrics {
		open := page
		trusted := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			serve.Trust(rw, r)
			open.ServeHTTP(rw, r)
		})
		page = access.New(access.Options{
			Tokens: w.options.ReviewClient.AuthenticationV1().TokenReviews(), Rights: w.options.ReviewClient.AuthorizationV1().SubjectAccessReviews(),
			Path: "/metrics", Rejected: w.reject, Log: w.log,
		}).Protect(trusted)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", page)
	mux.Handle("GET "+speakerapi.Path, w.dead)
	return mux
}

// healthPages are for the kubelet, and for people on the node or with kubectl port-forward.
func (w *web) healthPages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", check(w.healthy))
	mux.HandleFunc("GET /readyz", check(w.ready))
	w.addDebugPages(mux)
	w.addLookups(mux)
	mux.Handle("GET "+debugapi.MetricsPath, debugapi.ForLoopback(promhttp.HandlerFor(w.registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})))
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
