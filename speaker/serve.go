package speaker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bgp"
)

// stalled is how old the last plan may be before the speaker is unhealthy.
const stalled = 3 * anyway

// status is what the loop leaves for those who ask from outside.
type status struct {
	last               atomic.Pointer[applied]
	sessions           atomic.Pointer[bgp.Announcer] // nil until there is one
	config, generation prometheus.Gauge
	plans              prometheus.Counter
	routed             *prometheus.GaugeVec // addresses of pools of BGP, by BGPReason
	unowned            *prometheus.GaugeVec // addresses of pools of layer 2 without an owner, by Reason
}

type applied struct {
	plan Plan
	at   time.Time
}

func (st *status) register(registry prometheus.Registerer) {
	st.plans = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "baremetal", Subsystem: "speaker", Name: "plans_total", Help: "Number of plans made and carried out."})
	st.config = prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "baremetal", Subsystem: "config", Name: "last_load_successful",
		Help: "1 if the ConfigMap as it is now is in use, 0 if an older one is, or none."})
	st.generation = prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "baremetal", Subsystem: "config", Name: "generation",
		Help: "The resourceVersion of the ConfigMap that is in use, 0 for none."})
	st.routed = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "baremetal", Subsystem: "bgp", Name: "addresses",
		Help: "Number of addresses of pools of BGP, by whether this node advertises them, or why not."}, []string{"reason"})
	st.unowned = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "baremetal", Subsystem: "layer2", Name: "unowned",
		Help: "Number of addresses of pools of layer 2 that no node announces, as this one sees it, by why."}, []string{"reason"})
	registry.MustRegister(st.plans, st.config, st.generation, st.routed, st.unowned)
}

func (st *status) configLoaded(state configmap.State) {
	st.generation.Set(float64(state.Generation))
	value := 0.0
	if state.Problem == nil {
		value = 1
	}
	st.config.Set(value)
}

func (st *status) applied(p Plan) {
	st.last.Store(&applied{plan: p, at: time.Now()})
	st.plans.Inc()
	routed := map[BGPReason]int{Advertised: 0, NoLocalEndpoint: 0, Excluded: 0, NotSelected: 0, NoPeer: 0}
	unowned := map[Reason]int{NoEndpoint: 0, NoLink: 0, NoCandidate: 0, Silent: 0}
	for _, d := range p.Decisions {
		if _, known := routed[d.BGP]; known {
			routed[d.BGP]++
		}
		if _, known := unowned[d.Reason]; known && d.Owner == "" {
			unowned[d.Reason]++
		}
	}
	for reason, n := range routed {
		st.routed.WithLabelValues(string(reason)).Set(float64(n))
	}
	for reason, n := range unowned {
		st.unowned.WithLabelValues(string(reason)).Set(float64(n))
	}
}

func (st *status) plan() Plan {
	if last := st.last.Load(); last != nil {
		return last.plan
	}
	return Plan{}
}

// ready returns nil when addresses are being announced.
func (st *status) ready() error {
	if st.last.Load() == nil {
		return errors.New("no plan yet: waiting for the API server or for other speakers, see the log")
	}
	return nil
}

// healthy returns an error when the loop has stopped to turn.
func (st *status) healthy() error {
	if last := st.last.Load(); last != nil && time.Since(last.at) > stalled {
		return fmt.Errorf("the last plan is %v old", time.Since(last.at).Round(time.Second))
	}
	return nil
}

// serve starts the HTTP server; it ends with ctx.
func (s *Speaker) serve(ctx context.Context, wg *sync.WaitGroup) error {
	listener, err := net.Listen("tcp", s.options.MetricsAddress)
	if err != nil {
		return fmt.Errorf("serving metrics (--metrics-address): %w", err)
	}
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second}
	wg.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("metrics are not served any more", "error", err)
		}
	})
	wg.Go(func() {
		<-ctx.Done()
		if err := server.Close(); err != nil {
			s.log.Warn("closing the HTTP server", "error", err)
		}
	})
	return nil
}

func (s *Speaker) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", answer(s.status.healthy))
	mux.HandleFunc("GET /readyz", answer(s.status.ready))
	mux.HandleFunc("GET /debug/plan", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, s.status.plan().Describe())
	})
	mux.HandleFunc("GET /debug/bgp", func(w http.ResponseWriter, _ *http.Request) {
		if a := s.status.sessions.Load(); a != nil {
			fmt.Fprint(w, describeSessions(a.Status(), time.Now()))
		}
	})
	return mux
}

func answer(check func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	}
}
