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

// metricSet holds the metrics about addresses and configuration on /metrics.
type metricSet struct {
	allocations *metrics.CounterVec
	durations   *metrics.Histogram
	losses      *metrics.CounterVec
	loads       *metrics.CounterVec
	state       *stateCollector
}

// newMetrics returns metrics of the allocator, and gauges of the two numbers that counts
// returns: Services that do not get what they ask for, and orphans.
func newMetrics(allocator *ipam.Allocator, counts func() (refused, orphans int)) *metricSet {
	return &metricSet{
		allocations: metrics.NewCounterVec(&metrics.CounterOpts{
			Name: "baremetal_ipam_allocations_total", StabilityLevel: metrics.ALPHA,
			Help: "Number of decisions, by result: allocated, or the reason of the refusal. The refusal of a Service is counted again only when its text changes.",
		}, []string{"result"}),
		durations: metrics.NewHistogram(&metrics.HistogramOpts{
			Name: "baremetal_ipam_allocation_duration_seconds", StabilityLevel: metrics.ALPHA,
			Help:    "Time from the first attempt for a Service until it got its addresses, in seconds.",
			Buckets: []float64{.0001, .001, .01, .1, 1, 10, 60, 600, 3600},
		}),
		losses: metrics.NewCounterVec(&metrics.CounterOpts{
			Name: "baremetal_ipam_lost_addresses_total", StabilityLevel: metrics.ALPHA,
			Help: "Number of addresses that Services have lost, by reason: reserved (a node or a gateway has the address), inuse (the Service cannot share it any more).",
		}, []string{"reason"}),
		loads: metrics.NewCounterVec(&metrics.CounterOpts{
			Name: "baremetal_config_loads_total", StabilityLevel: metrics.ALPHA,
			Help: "Number of changes of the ConfigMap, by result: ok or refused.",
		}, []string{"result"}),
		state: newStateCollector(allocator, counts),
	}
}

// register adds the metrics to a registry, with two of its functions. Counts from before
// the registration are lost. All counters begin at 0: Prometheus sees no growth in a counter that
// appears with its first count.
func (m *metricSet) register(must func(...metrics.Registerable), customMust func(...metrics.StableCollector)) {
	must(m.allocations, m.durations, m.losses, m.loads)
	customMust(m.state)
	for _, result := range []ipam.Reason{allocated, ipam.Exhausted, ipam.Quota, ipam.NoPool, ipam.InUse, ipam.Invalid, ipam.Reserved, ipam.Forbidden, ipam.Cooldown, reasonNotReady} {
		m.allocations.WithLabelValues(label(result))
	}
	for _, reason := range []ipam.Reason{ipam.Reserved, ipam.InUse} {
		m.losses.WithLabelValues(label(reason))
	}
	for _, result := range []string{"ok", "refused"} {
		m.loads.WithLabelValues(result)
	}
}

// label returns the value of a metric's label for a reason.
func label(r ipam.Reason) string { return strings.ToLower(string(r)) }

func (m *metricSet) count(result ipam.Reason) {
	m.allocations.WithLabelValues(label(result)).Inc()
}

func (m *metricSet) lost(reason ipam.Reason) {
	m.losses.WithLabelValues(label(reason)).Inc()
}

func (m *metricSet) observe(d time.Duration) { m.durations.Observe(d.Seconds()) }

func (m *metricSet) configLoaded(state configmap.State) {
	result := "refused"
	if state.Problem == nil {
		result = "ok"
	}
	m.loads.WithLabelValues(result).Inc()
}

// stateCollector reads the state when Prometheus scrapes it. A replica that does not lead
// has read no configuration, and has no metrics about it.
type stateCollector struct {
	metrics.BaseStableCollector
	allocator *ipam.Allocator
	counts    func() (refused, orphans int)
	config    atomic.Pointer[configmap.Watcher] // nil until the process leads

	// The registry writes to these objects, so they must not be replaced.
	addresses, orphans, waiting, loadSuccessful, resourceVersion *metrics.Desc
}

func newStateCollector(allocator *ipam.Allocator, counts func() (refused, orphans int)) *stateCollector {
	gauge := func(name, help string, labels ...string) *metrics.Desc {
		return metrics.NewDesc(name, help, labels, nil, metrics.ALPHA, "")
	}
	return &stateCollector{
		allocator:       allocator,
		counts:          counts,
		addresses:       gauge("baremetal_ipam_addresses", "Number of addresses, by pool, family and state: usable (in use or not), used, cooldown (free, but released a short time ago).", "pool", "family", "state"),
		orphans:         gauge("baremetal_ipam_orphaned_addresses", "Number of addresses in use that no pool would give any more."),
		waiting:         gauge("baremetal_ipam_waiting_services", "Number of Services that do not get what they ask for."),
		loadSuccessful:  gauge("baremetal_config_last_load_successful", "1 if the present content of the ConfigMap is in use, 0 if an older configuration is in use, or none. Only the leader has this metric."),
		resourceVersion: gauge("baremetal_config_resource_version", "The resourceVersion of the ConfigMap whose configuration is in use, 0 for none. Only the leader has this metric."),
	}
}

// DescribeWithStability implements metrics.StableCollector.
func (c *stateCollector) DescribeWithStability(ch chan<- *metrics.Desc) {
	for _, desc := range []*metrics.Desc{c.addresses, c.orphans, c.waiting, c.loadSuccessful, c.resourceVersion} {
		ch <- desc
	}
}

// CollectWithStability implements metrics.StableCollector.
func (c *stateCollector) CollectWithStability(ch chan<- metrics.Metric) {
	gauge := func(desc *metrics.Desc, value float64, labels ...string) {
		ch <- metrics.NewLazyConstMetric(desc, metrics.GaugeValue, value, labels...)
	}
	for _, usage := range c.allocator.Usage() {
		family := strings.ToLower(usage.Family.String())
		gauge(c.addresses, float64(usage.Usable), usage.Pool, family, "usable")
		gauge(c.addresses, float64(usage.Used), usage.Pool, family, "used")
		gauge(c.addresses, float64(usage.Cooldown), usage.Pool, family, "cooldown")
	}
	refused, orphans := c.counts()
	gauge(c.orphans, float64(orphans))
	gauge(c.waiting, float64(refused))
	watcher := c.config.Load()
	if watcher == nil {
		return
	}
	if state := watcher.State(); state.Config != nil || state.Problem != nil { // it has been read
		successful := 0.0
		if state.Problem == nil {
			successful = 1
		}
		gauge(c.loadSuccessful, successful)
		gauge(c.resourceVersion, float64(state.ResourceVersion))
	}
}
