package cloudprovider

import (
	"strings"
	"sync/atomic"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
)

// allocated is the result of an allocation that was not refused.
const allocated ipam.Reason = "Allocated"

// metricSet is what the CCM's /metrics says about addresses and configuration.
type metricSet struct {
	allocations *metrics.CounterVec
	loads       *metrics.CounterVec
	state       *stateCollector
}

func newMetrics(allocator *ipam.Allocator) *metricSet {
	return &metricSet{
		allocations: metrics.NewCounterVec(&metrics.CounterOpts{
			Name: "baremetal_ipam_allocations_total", StabilityLevel: metrics.ALPHA,
			Help: "Number of allocations, by result: allocated, or the reason of the refusal.",
		}, []string{"result"}),
		loads: metrics.NewCounterVec(&metrics.CounterOpts{
			Name: "baremetal_config_loads_total", StabilityLevel: metrics.ALPHA,
			Help: "Number of changes of the ConfigMap, by result: ok or refused.",
		}, []string{"result"}),
		state: newStateCollector(allocator),
	}
}

func (m *metricSet) register() {
	legacyregistry.MustRegister(m.allocations, m.loads)
	legacyregistry.CustomMustRegister(m.state)
}

func (m *metricSet) count(result ipam.Reason) {
	m.allocations.WithLabelValues(strings.ToLower(string(result))).Inc()
}

func (m *metricSet) configLoaded(ok bool) {
	result := "refused"
	if ok {
		result = "ok"
	}
	m.loads.WithLabelValues(result).Inc()
	m.state.lastGood.Store(&ok)
}

func (m *metricSet) setOrphans(n int) { m.state.orphaned.Store(int64(n)) }

// stateCollector reads the state when it is scraped. A replica that does not
// lead has read no configuration, and says nothing about it.
type stateCollector struct {
	metrics.BaseStableCollector
	allocator *ipam.Allocator
	orphaned  atomic.Int64
	lastGood  atomic.Pointer[bool]

	// The registry fills these in, so that they must stay the same.
	addresses, orphans, config *metrics.Desc
}

func newStateCollector(allocator *ipam.Allocator) *stateCollector {
	return &stateCollector{
		allocator: allocator,
		addresses: metrics.NewDesc("baremetal_ipam_addresses",
			"Number of addresses, by pool, family and state: usable (given out or not), used, resting (free, but used a moment ago).",
			[]string{"pool", "family", "state"}, nil, metrics.ALPHA, ""),
		orphans: metrics.NewDesc("baremetal_ipam_orphaned_addresses",
			"Number of addresses in use that are in no pool any more.", nil, nil, metrics.ALPHA, ""),
		config: metrics.NewDesc("baremetal_config_last_load_successful",
			"1 if the ConfigMap as it is now is in use, 0 if an older one is, or none. Of the leader only.", nil, nil, metrics.ALPHA, ""),
	}
}

// DescribeWithStability implements metrics.StableCollector.
func (c *stateCollector) DescribeWithStability(ch chan<- *metrics.Desc) {
	ch <- c.addresses
	ch <- c.orphans
	ch <- c.config
}

// CollectWithStability implements metrics.StableCollector.
func (c *stateCollector) CollectWithStability(ch chan<- metrics.Metric) {
	for _, row := range c.allocator.Usage() {
		family := strings.ToLower(row.Family.String())
		for state, n := range map[string]uint64{"usable": row.Usable, "used": row.Used, "resting": row.Resting} {
			ch <- metrics.NewLazyConstMetric(c.addresses, metrics.GaugeValue, float64(n), row.Pool, family, state)
		}
	}
	ch <- metrics.NewLazyConstMetric(c.orphans, metrics.GaugeValue, float64(c.orphaned.Load()))
	if ok := c.lastGood.Load(); ok != nil {
		value := 0.0
		if *ok {
			value = 1
		}
		ch <- metrics.NewLazyConstMetric(c.config, metrics.GaugeValue, value)
	}
}
