package bgp

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bfd"
)

// collector makes the metrics from the Status at each scrape. So the series of a peer end
// with the peer.
type collector struct{ a *Announcer }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("baremetal_"+name, help, append([]string{"peer"}, labels...), nil)
}

var (
	upDesc       = desc("bgp_session_up", "1 if the BGP session with the peer is up.")
	stateDesc    = desc("bgp_session_state", "1 for the state that the session is in, of RFC 4271, section 8.2.2.", "state")
	sinceDesc    = desc("bgp_session_since_seconds", "Unix time at which the session came up or went down.")
	upsDesc      = desc("bgp_session_ups_total", "Number of times that the session has come up.")
	downsDesc    = desc("bgp_session_downs_total", "Number of times that the session has gone down.")
	problemDesc  = desc("bgp_session_problem", "1 for a peer whose session is not up, with the reason in words.", "problem")
	prefixesDesc = desc("bgp_prefixes", "Number of prefixes that are advertised to the peer.")
	withheldDesc = desc("bgp_prefixes_withheld", "Number of prefixes that are not advertised to the peer, because the node has no address of their family for a next hop, or because the peer does not accept the family.")
	bfdUpDesc    = desc("bfd_session_up", "1 if the BFD session with the peer is up.")
	bfdFailDesc  = desc("bfd_failures_total", "Number of times that the BFD session was up and its detection time expired.")
	foreignDesc  = prometheus.NewDesc("baremetal_bfd_packets_discarded_total", "Number of BFD packets that belong to no session. Packets that the kernel drops for their TTL are not counted.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{upDesc, stateDesc, sinceDesc, upsDesc, downsDesc, problemDesc, prefixesDesc, withheldDesc, bfdUpDesc, bfdFailDesc, foreignDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.a.Status() {
		gauge := func(d *prometheus.Desc, value float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append([]string{s.Peer}, labels...)...)
		}
		count := func(d *prometheus.Desc, value uint64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), s.Peer)
		}
		gauge(upDesc, one(s.Up))
		gauge(stateDesc, 1, s.State)
		if !s.Since.IsZero() {
			gauge(sinceDesc, float64(s.Since.UnixMilli())/1000)
		}
		count(upsDesc, s.Ups)
		count(downsDesc, s.Downs)
		gauge(prefixesDesc, float64(s.Prefixes))
		gauge(withheldDesc, float64(s.Withheld))
		if !s.Up && s.Problem != "" {
			gauge(problemDesc, 1, s.Problem)
		}
		if s.BFD != nil {
			gauge(bfdUpDesc, one(s.BFD.State == bfd.Up))
			count(bfdFailDesc, s.BFD.Failures)
		}
	}
	ch <- prometheus.MustNewConstMetric(foreignDesc, prometheus.CounterValue, float64(c.a.discarded()))
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
