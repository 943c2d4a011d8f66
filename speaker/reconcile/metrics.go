package reconcile

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

type metrics struct {
	plans   prometheus.Counter
	routed  *prometheus.GaugeVec // VIPs of BGP, by plan.BGPReason
	unowned *prometheus.GaugeVec // VIPs of layer 2 without an owner, by plan.Reason
	// The VIPs that this node owns: their slots by node, and those that are not spread by plan.SpreadReason.
	slots, fallbacks *prometheus.GaugeVec
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
	m.slots = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "baremetal", Subsystem: "spread", Name: "slots",
		Help: "Slots, of 256, of the flows to an address that this node announces, by the node that carries them."}, []string{"address", "node"})
	m.fallbacks = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "baremetal", Subsystem: "spread", Name: "fallbacks",
		Help: "Number of addresses that this node announces and that are not spread although their pool or Service asks for it, by reason."}, []string{"reason"})
	registry.MustRegister(m.plans, m.routed, m.unowned, m.slots, m.fallbacks)
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
	m.updateSpread(p)
	for reason, n := range routed {
		m.routed.WithLabelValues(string(reason)).Set(float64(n))
	}
	for reason, n := range unowned {
		m.unowned.WithLabelValues(string(reason)).Set(float64(n))
	}
}

func (m *metrics) updateSpread(p plan.Plan) {
	m.slots.Reset()
	fallbacks := map[plan.SpreadReason]int{plan.NotCapable: 0, plan.OneCandidate: 0, plan.MixedPolicies: 0}
	for _, d := range p.Decisions {
		if d.Owner != p.Node {
			continue
		}
		if _, counted := fallbacks[d.Spread]; counted {
			fallbacks[d.Spread]++
		}
		for _, c := range d.Carriers {
			m.slots.WithLabelValues(d.VIP.String(), c.Node).Set(float64(c.Slots))
		}
	}
	for reason, n := range fallbacks {
		m.fallbacks.WithLabelValues(string(reason)).Set(float64(n))
	}
}
