package deadnodes

import (
	"time"

	"k8s.io/component-base/metrics"
)

// Metrics are the metrics of a Reporter. They exist before the process leads.
type Metrics struct {
	speakers *metrics.Gauge
	reports  *metrics.Counter
	withheld *metrics.CounterVec
	pods     *metrics.CounterVec
	duration *metrics.Histogram
}

// NewMetrics returns metrics that are not registered.
func NewMetrics() *Metrics {
	return &Metrics{
		speakers: metrics.NewGauge(&metrics.GaugeOpts{
			Name: "baremetal_dead_nodes_speakers", StabilityLevel: metrics.ALPHA,
			Help: "Number of speakers, at most 3, that tell this cluster manager at the moment which nodes are dead. Two are needed. 0 if it does not lead.",
		}),
		reports: metrics.NewCounter(&metrics.CounterOpts{
			Name: "baremetal_dead_nodes_reported_total", StabilityLevel: metrics.ALPHA,
			Help: "Number of times that the pods of a dead node were set to not ready.",
		}),
		withheld: metrics.NewCounterVec(&metrics.CounterOpts{
			Name: "baremetal_dead_nodes_withheld_total", StabilityLevel: metrics.ALPHA,
			Help: "Number of times that a node was reported dead by a speaker, and its pods were not touched, or not all, by reason.",
		}, []string{"reason"}),
		pods: metrics.NewCounterVec(&metrics.CounterOpts{
			Name: "baremetal_dead_nodes_pods_total", StabilityLevel: metrics.ALPHA,
			Help: "Number of pods of dead nodes, by result: marked (set to not ready) or failed.",
		}, []string{"result"}),
		duration: metrics.NewHistogram(&metrics.HistogramOpts{
			Name: "baremetal_dead_nodes_duration_seconds", StabilityLevel: metrics.ALPHA,
			Help:    "Time from the decision that a node is dead until all its pods were set to not ready, in seconds.",
			Buckets: []float64{.01, .03, .1, .3, 1, 3, 10},
		}),
	}
}

// Register adds the metrics to a registry, with one of its functions. All counters begin at 0: Prometheus
// sees no growth in a counter that appears with its first count.
func (m *Metrics) Register(must func(...metrics.Registerable)) {
	must(m.speakers, m.reports, m.withheld, m.pods, m.duration)
	for _, reason := range []Reason{NoAgreement, TooMany, TooOften, Alive, Failed} {
		m.withheld.WithLabelValues(string(reason))
	}
	for _, result := range []string{"marked", "failed"} {
		m.pods.WithLabelValues(result)
	}
}

func (m *Metrics) setSpeakers(n int) { m.speakers.Set(float64(n)) }

func (m *Metrics) withhold(reason Reason) { m.withheld.WithLabelValues(string(reason)).Inc() }

func (m *Metrics) count(marked, failed int) {
	m.pods.WithLabelValues("marked").Add(float64(marked))
	m.pods.WithLabelValues("failed").Add(float64(failed))
}

// report counts a node whose pods are all marked.
func (m *Metrics) report(took time.Duration) {
	m.reports.Inc()
	m.duration.Observe(took.Seconds())
}
