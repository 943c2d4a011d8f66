package heartbeat

import "github.com/prometheus/client_golang/prometheus"

// Registerer is where metrics are registered.
type Registerer = prometheus.Registerer

type metrics struct {
	sent, received, unsent, deaths prometheus.Counter
	rejected                       *prometheus.CounterVec
}

func newMetrics(registry Registerer, h *Heartbeat) *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "baremetal", Subsystem: "heartbeat", Name: name, Help: help}
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts(opts(name, help)))
		registry.MustRegister(c)
		return c
	}
	gauge := func(name, help string, value func(View) float64) {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts(name, help)), func() float64 { return value(h.View()) }))
	}
	gauge("dead", "Number of members that are silent.", func(v View) float64 { return float64(len(v.Dead)) })
	gauge("held", "Number of speakers that have died too often of late, this one included.", func(v View) float64 { return float64(len(v.Held)) })
	gauge("cut_off", "1 while this speaker answers for nothing because it hears no other.", func(v View) float64 {
		if v.Silent != "" {
			return 1
		}
		return 0
	})
	gauge("freezes_total", "Number of times that this speaker did not run for so long that others may have taken its place.", func(v View) float64 { return float64(v.Thaws) })
	m := &metrics{
		sent:     counter("sent_total", "Number of heartbeats sent."),
		unsent:   counter("send_errors_total", "Number of heartbeats that could not be sent."),
		received: counter("received_total", "Number of heartbeats received from speakers with the same key."),
		deaths:   counter("deaths_total", "Number of times that a member fell silent."),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts(opts("rejected_total", "Number of heartbeats that were not taken: malformed, another version, or another key.")), []string{"reason"}),
	}
	registry.MustRegister(m.rejected)
	return m
}
