package heartbeat

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	sent, received, unsent, deaths, ownDeaths prometheus.Counter
	rejected                                  *prometheus.CounterVec
}

func newMetrics(registry prometheus.Registerer, h *Heartbeat) *metrics {
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
	gauge("dead", "Number of members that are dead.", func(v View) float64 { return float64(len(v.Dead)) })
	gauge("suppressed", "1 while this speaker is suppressed for flapping.", func(v View) float64 { return oneIf(v.Suppressed) })
	gauge("kernel_dead", "Number of members whose kernel does not answer.", func(v View) float64 { return float64(len(v.KernelDead)) })
	gauge("fenced", "1 while this speaker announces nothing because it reaches no member.", func(v View) float64 { return oneIf(v.Fenced != "") })
	registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts(opts("freezes_total", "Number of times that this speaker did not run for so long that other nodes may have taken its place.")),
		func() float64 { return float64(h.View().Freezes) }))
	m := &metrics{
		sent:      counter("sent_total", "Number of heartbeats sent."),
		unsent:    counter("send_errors_total", "Number of heartbeats that could not be sent."),
		received:  counter("received_total", "Number of heartbeats received from speakers with the same key."),
		ownDeaths: counter("own_deaths_total", "Number of times that other speakers have taken this one for dead."),
		deaths:    counter("deaths_total", "Number of times that this speaker detected the death of a member."),
		rejected:  prometheus.NewCounterVec(prometheus.CounterOpts(opts("rejected_total", "Number of heartbeats that were rejected: malformed, another version, or another key.")), []string{"reason"}),
	}
	registry.MustRegister(m.rejected)
	for _, reason := range []error{errMalformed, errVersion, errKey} {
		m.rejected.WithLabelValues(reason.Error()) // begins at 0, so that Prometheus sees the first one, too
	}
	return m
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
