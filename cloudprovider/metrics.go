package cloudprovider

import (
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/component-base/metrics"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
)

// allocated is the result of an allocation that was not refused.
const allocated ipam.Reason = "Allocated"

// metricSet is what the CCM's /metrics says about addresses and configuration.
type metricSet struct {
	allocations *metrics.CounterVec
	durations   *metrics.Histogram
	loads       *metrics.CounterVec
	state       *stateCollector
}

// newMetrics returns metrics of the allocator, and of what counts returns: the
// Services that wait, and the orphans.
func newMetrics(allocator *ipam.Allocator, counts func() (waiting, orphans int)) *metricSet {
	return &metricSet{
		allocations: metrics.NewCounterVec(&metrics.CounterOpts{
			Name: "baremetal_ipam_allocations_total", StabilityLevel: metrics.ALPHA,
			Help: "Number of decisions, by result: allocated, or the reason of the refusal. A refusal is counted again only when its text changes.",
		}, []string{"result"}),
		durations: metrics.NewHistogram(&metrics.HistogramOpts{
			Name: "baremetal_ipam_allocation_duration_seconds", StabilityLevel: metrics.ALPHA,
			Help:    "Time from the first attempt for a Service until it was given addresses, in seconds.",
			Buckets: []float64{.0001, .001, .01, .1, 1, 10, 60, 600, 3600},
		}),
		loads: metrics.NewCounterVec(&metrics.CounterOpts{
			Name: "baremetal_config_loads_total", StabilityLevel: metrics.ALPHA,
			Help: "Number of changes of the ConfigMap, by result: ok or refused.",
		}, []string{"result"}),
		state: newStateCollector(allocator, counts),
	}
}

// register takes the two functions of a registry. What is counted before is lost.
func (m *metricSet) register(must func(...metrics.Registerable), customMust func(...metrics.StableCollector)) {
	must(m.allocations, m.durations, m.loads)
	customMust(m.state)
}

func (m *metricSet) count(result ipam.Reason) {
	m.allocations.WithLabelValues(strings.ToLower(string(result))).Inc()
}

func (m *metricSet) observe(d time.Duration) { m.durations.Observe(d.Seconds()) }

func (m *metricSet) configLoaded(state configmap.State) {
	result := "refused"
	if state.Problem == nil {
		result = "ok"
	}
	m.loads.WithLabelValues(result).Inc()
	m.state.config.Store(&state)
}

// stateCollector reads the state when it is scraped. A replica that does not
// lead has read no configuration, and says nothing about it.
type stateCollector struct {
	metrics.BaseStableCollector
	allocator *ipam.Allocator
	counts    func() (waiting, orphans int)
	config    atomic.Pointer[configmap.State]

	// The registry fills these in, so that they must stay the same.
	addresses, orphans, waiting, lastGood, generation *metrics.Desc
}

func newStateCollector(allocator *ipam.Allocator, counts func() (waiting, orphans int)) *stateCollector {
	gauge := func(name, help string, labels ...string) *metrics.Desc {
		return metrics.NewDesc(name, help, labels, nil, metrics.ALPHA, "")
	}
	return &stateCollector{
		allocator:  allocator,
		counts:     counts,
		addresses:  gauge("baremetal_ipam_addresses", "Number of addresses, by pool, family and state: usable (given out or not), used, resting (free, but used a moment ago).", "pool", "family", "state"),
		orphans:    gauge("baremetal_ipam_orphaned_addresses", "Number of addresses in use that no pool would give any more."),
		waiting:    gauge("baremetal_ipam_waiting_services", "Number of Services that do not get what they ask for."),
		lastGood:   gauge("baremetal_config_last_load_successful", "1 if the ConfigMap as it is now is in use, 0 if an older one is, or none. Of the leader only."),
		generation: gauge("baremetal_config_generation", "The resourceVersion of the ConfigMap that is in use, 0 for none. Of the leader only."),
	}
}

// DescribeWithStability implements metrics.StableCollector.
func (c *stateCollector) DescribeWithStability(ch chan<- *metrics.Desc) {
	for _, desc := range []*metrics.Desc{c.addresses, c.orphans, c.waiting, c.lastGood, c.generation} {
		ch <- desc
	}
}

// CollectWithStability implements metrics.StableCollector.
func (c *stateCollector) CollectWithStability(ch chan<- metrics.Metric) {
	gauge := func(desc *metrics.Desc, value float64, labels ...string) {
		ch <- metrics.NewLazyConstMetric(desc, metrics.GaugeValue, value, labels...)
	}
	for _, row := range c.allocator.Usage() {
		family := strings.ToLower(row.Family.String())
		gauge(c.addresses, float64(row.Usable), row.Pool, family, "usable")
		gauge(c.addresses, float64(row.Used), row.Pool, family, "used")
		gauge(c.addresses, float64(row.Resting), row.Pool, family, "resting")
	}
	waiting, orphans := c.counts()
	gauge(c.orphans, float64(orphans))
	gauge(c.waiting, float64(waiting))
	if state := c.config.Load(); state != nil {
		good := 0.0
		if state.Problem == nil {
			good = 1
		}
		gauge(c.lastGood, good)
		gauge(c.generation, float64(state.Generation))
	}
}
