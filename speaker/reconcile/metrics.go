package reconcile

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

type metrics struct {
	plans   prometheus.Counter
	routed  *prometheus.GaugeVec // VIPs of BGP, by plan.BGPReason
	unowned *prometheus.GaugeVec // VIPs of layer 2 without an owner, by plan.Reason
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		plans: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "baremetal", Subsystem: "speaker", Name: "plans_total", Help: "Number of plans made and carried out."}),
		routed: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "baremetal", Subsystem: "bgp", Name: "addresses",
			Help: "Number of addresses that are for BGP, by whether this node advertises them, or why not."}, []string{"reason"}),
		unowned: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "baremetal", Subsystem: "layer2", Name: "unowned",
			Help: "Number of addresses that are for layer 2 and that no node announces, as this node sees it, by reason."}, []string{"reason"}),
	}
	registry.MustRegister(m.plans, m.routed, m.unowned)
	return m
}

func (m *metrics) update(p plan.Plan) {
	m.plans.Inc()
	routed := map[plan.BGPReason]int{plan.Advertised: 0, plan.NoLocalEndpoint: 0, plan.Excluded: 0, plan.NotSelected: 0, plan.NoPeer: 0, plan.Withheld: 0, plan.NotReady: 0, plan.NoReadyEndpoint: 0}
	unowned := map[plan.Reason]int{plan.NoEndpoint: 0, plan.NoLink: 0, plan.NoCandidate: 0, plan.Fenced: 0, plan.NodeAddress: 0, plan.Unpublished: 0}
	for _, d := range p.Decisions {
		if _, counted := routed[d.BGP]; counted {
			routed[d.BGP]++
		}
		if _, counted := unowned[d.Reason]; counted && d.Owner == "" {
			unowned[d.Reason]++
		}
	}
	for reason, n := range routed {
		m.routed.WithLabelValues(string(reason)).Set(float64(n))
	}
	for reason, n := range unowned {
		m.unowned.WithLabelValues(string(reason)).Set(float64(n))
	}
}
