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
	lastGood    *metrics.Gauge
	usage       *usageCollector
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
		lastGood: metrics.NewGauge(&metrics.GaugeOpts{
			Name: "baremetal_config_last_load_successful", StabilityLevel: metrics.ALPHA,
			Help: "1 if the ConfigMap as it is now is in use, 0 if an older one is, or none.",
		}),
		usage: &usageCollector{allocator: allocator},
	}
}

func (m *metricSet) register() {
	legacyregistry.MustRegister(m.allocations, m.loads, m.lastGood)
	legacyregistry.CustomMustRegister(m.usage)
}

func (m *metricSet) count(result ipam.Reason) {
	m.allocations.WithLabelValues(strings.ToLower(string(result))).Inc()
}

func (m *metricSet) configLoaded(ok bool) {
	result, value := "refused", 0.0
	if ok {
		result, value = "ok", 1
	}
	m.loads.WithLabelValues(result).Inc()
	m.lastGood.Set(value)
}

func (m *metricSet) setOrphans(n int) { m.usage.orphans.Store(int64(n)) }

// usageCollector reads the allocator when it is scraped.
type usageCollector struct {
	metrics.BaseStableCollector
	allocator *ipam.Allocator
	orphans   atomic.Int64
}

func (*usageCollector) descs() (addresses, orphans *metrics.Desc) {
	addresses = metrics.NewDesc("baremetal_ipam_addresses",
		"Number of addresses, by pool, family and state: usable (given out or not), used, resting (free, but used a moment ago).",
		[]string{"pool", "family", "state"}, nil, metrics.ALPHA, "")
	orphans = metrics.NewDesc("baremetal_ipam_orphaned_addresses",
		"Number of addresses in use that are in no pool any more.", nil, nil, metrics.ALPHA, "")
	return addresses, orphans
}

// DescribeWithStability implements metrics.StableCollector.
func (u *usageCollector) DescribeWithStability(ch chan<- *metrics.Desc) {
	addresses, orphans := u.descs()
	ch <- addresses
	ch <- orphans
}

// CollectWithStability implements metrics.StableCollector.
func (u *usageCollector) CollectWithStability(ch chan<- metrics.Metric) {
	addresses, orphans := u.descs()
	for _, row := range u.allocator.Usage() {
		family := strings.ToLower(row.Family.String())
		for state, n := range map[string]uint64{"usable": row.Usable, "used": row.Used, "resting": row.Resting} {
			ch <- metrics.NewLazyConstMetric(addresses, metrics.GaugeValue, float64(n), row.Pool, family, state)
		}
	}
	ch <- metrics.NewLazyConstMetric(orphans, metrics.GaugeValue, float64(u.orphans.Load()))
}
