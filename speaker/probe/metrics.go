package probe

import "github.com/prometheus/client_golang/prometheus"

type metrics struct{ sent, unsent, answered prometheus.Counter }

func newMetrics(registry prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "baremetal", Subsystem: "probe", Name: name, Help: help})
		registry.MustRegister(c)
		return c
	}
	return &metrics{
		sent:     counter("sent_total", "Number of ARP requests and neighbor solicitations sent to watch the kernels of other nodes."),
		unsent:   counter("send_errors_total", "Number of such probes that could not be sent."),
		answered: counter("answered_total", "Number of answers to such probes."),
	}
}
