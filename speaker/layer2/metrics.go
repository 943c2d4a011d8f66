package layer2

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	answers, announcements, refused, conflicts, forged, errors *prometheus.CounterVec
	takeovers                                                  prometheus.Counter
}

func newMetrics(registry prometheus.Registerer, a *Announcer) *metrics {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "baremetal", Subsystem: "layer2", Name: name, Help: help}
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(opts(name, help), labels)
		registry.MustRegister(c)
		return c
	}
	m := &metrics{
		answers:       vec("answers_total", "Number of ARP and NDP requests answered.", "link", "family"),
		announcements: vec("announcements_total", "Number of gratuitous ARP and unsolicited neighbor advertisement frames, and of probes, sent.", "link", "family"),
		refused:       vec("refused_total", "Number of frames that passed the kernel's filter and were not answered, by reason.", "link", "reason"),
		conflicts:     vec("conflicts_total", "Number of times that a foreign host was found to have an address of this node.", "link"),
		forged:        vec("forged_total", "Number of frames with this node's own source address that give an address of this node to another host.", "link"),
		errors:        vec("errors_total", "Number of failures, by operation: open, filter, join, receive or send.", "link", "operation"),
		takeovers:     prometheus.NewCounter(opts("takeovers_total", "Number of times that this node has begun to announce an address.")),
	}
	registry.MustRegister(m.takeovers, entries{a})
	return m
}

// refusals returns the counters of a link, by verdict. A verdict that is not a refusal
// has no counter.
func (m *metrics) refusals(link string) (counters [verdicts]prometheus.Counter) {
	for v := range verdicts {
		if v != verdictAnswered && v != verdictClaim {
			counters[v] = m.refused.WithLabelValues(link, v.String())
		}
	}
	return counters
}

// forget drops the series of a link that is gone.
func (m *metrics) forget(link string) {
	for _, c := range []*prometheus.CounterVec{m.answers, m.announcements, m.refused, m.conflicts, m.forged, m.errors} {
		c.DeletePartialMatch(prometheus.Labels{"link": link})
	}
}

// entries collects the metrics of single addresses at each scrape. So the series of an
// address end with the address.
type entries struct{ a *Announcer }

var (
	addressesDesc = prometheus.NewDesc("baremetal_layer2_addresses", "Number of addresses that this node answers for.", nil, nil)
	ownerDesc     = prometheus.NewDesc("baremetal_layer2_owner", "1 for every address that this node announces.", []string{"vip"}, nil)
	conflictDesc  = prometheus.NewDesc("baremetal_layer2_conflict", "1 for every address of this node that a foreign host has, too.", []string{"vip", "link"}, nil)
)

func (entries) Describe(ch chan<- *prometheus.Desc) {
	ch <- addressesDesc
	ch <- ownerDesc
	ch <- conflictDesc
}

func (c entries) Collect(ch chan<- prometheus.Metric) {
	answered := 0
	for _, addr := range c.a.owned(&answered) {
		ch <- prometheus.MustNewConstMetric(ownerDesc, prometheus.GaugeValue, 1, addr)
	}
	ch <- prometheus.MustNewConstMetric(addressesDesc, prometheus.GaugeValue, float64(answered))
	for _, conflict := range c.a.Conflicts() {
		ch <- prometheus.MustNewConstMetric(conflictDesc, prometheus.GaugeValue, 1, conflict.Addr.String(), conflict.Link)
	}
}

// owned returns the addresses that this node announces, and counts those that it
// answers for.
func (a *Announcer) owned(answered *int) (addrs []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for addr, all := range a.entries {
		if slices.ContainsFunc(all, (*entry).answers) {
			*answered++
		}
		if a.announces(addr) {
			addrs = append(addrs, addr.String())
		}
	}
	return addrs
}
