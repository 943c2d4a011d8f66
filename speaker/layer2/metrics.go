package layer2

import "github.com/prometheus/client_golang/prometheus"

// Registerer is where metrics are registered.
type Registerer = prometheus.Registerer

type metrics struct {
	answers       *prometheus.CounterVec
	announcements *prometheus.CounterVec
	foreignClaims *prometheus.CounterVec
	errors        *prometheus.CounterVec
}

func newMetrics(registry Registerer, a *Announcer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "baremetal", Subsystem: "layer2", Name: name, Help: help}, labels)
		registry.MustRegister(c)
		return c
	}
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "baremetal", Subsystem: "layer2", Name: "addresses", Help: "Number of addresses that this node answers for.",
	}, func() float64 {
		a.mu.Lock()
		defer a.mu.Unlock()
		return float64(len(a.entries))
	}))
	return &metrics{
		answers:       counter("answers_total", "Number of ARP and NDP requests answered.", "link", "family"),
		announcements: counter("announcements_total", "Number of gratuitous ARP and unsolicited neighbor advertisement frames sent.", "link", "family"),
		foreignClaims: counter("foreign_claims_total", "Number of frames in which another host claimed an address that this node owns.", "link"),
		errors:        counter("errors_total", "Number of failures, by what was being done: open, join, receive or send.", "link", "operation"),
	}
}
