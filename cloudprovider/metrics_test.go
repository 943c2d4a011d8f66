package cloudprovider

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/legacyregistry"

	"github.com/baremetal-lb/cloud-provider-baremetal/cloudprovider/deadnodes"
)

func TestClusterManagerServesItsBuildInfo(t *testing.T) {
	if _, err := Factory(&Options{Log: slog.Default()})(nil); err != nil {
		t.Fatal(err)
	}
	families, err := legacyregistry.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "baremetal_build_info" {
			return
		}
	}
	t.Error("baremetal_build_info is not in the registry that upstream serves")
}

func TestMetricsCanBeScrapedAndAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, onePool("10.0.0.1-10.0.0.9"), svc("a", time.Hour, "10.0.0.1"))
	registry := metrics.NewKubeRegistry()
	r.cloud.metrics.register(registry.MustRegister, registry.CustomMustRegister)
	r.cloud.deadMetrics.Register(registry.MustRegister)
	<-r.cloud.adopted
	b, err := r.client.CoreV1().Services("default").Create(context.Background(), svc("b", 0), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.eventually("b is in the cache", func() bool { _, err := r.cloud.services.Services("default").Get("b"); return err == nil })
	r.mustEnsure(b, "10.0.0.2")
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	gauges := map[string]float64{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "baremetal_") {
			continue
		}
		if !strings.Contains(string(page), "| `"+f.GetName()+"` |") {
			t.Errorf("%s is not in docs/reference/metrics.md", f.GetName())
		}
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			if m.GetGauge() != nil {
				gauges[name] = m.GetGauge().GetValue()
			}
			if h := m.GetHistogram(); h != nil && h.GetSampleCount() != 1 && strings.HasPrefix(name, "baremetal_ipam_") {
				t.Errorf("%s has %d samples", name, h.GetSampleCount())
			}
		}
	}
	want := map[string]float64{
		"baremetal_dead_nodes_speakers":                0,
		"baremetal_ipam_addresses ipv4 default usable": 9, "baremetal_ipam_addresses ipv4 default used": 2, "baremetal_ipam_addresses ipv4 default cooldown": 0,
		"baremetal_ipam_orphaned_addresses": 0, "baremetal_ipam_waiting_services": 0, "baremetal_config_last_load_successful": 1, "baremetal_config_resource_version": 0,
	}
	if !maps.Equal(gauges, want) {
		t.Errorf("got %v", gauges)
	}
}

// Prometheus' increase() does not see the first count of a counter that appears with it.
func TestCountersExistBeforeTheirFirstCount(t *testing.T) {
	page, err := os.ReadFile("../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	registry := metrics.NewKubeRegistry()
	newMetrics(nil, nil).register(registry.MustRegister, func(...metrics.StableCollector) {})
	deadnodes.NewMetrics().Register(registry.MustRegister)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				got[f.GetName()] = append(got[f.GetName()], l.GetValue())
			}
		}
	}
	for _, name := range []string{"baremetal_ipam_allocations_total", "baremetal_ipam_lost_addresses_total", "baremetal_config_loads_total", "baremetal_dead_nodes_withheld_total", "baremetal_dead_nodes_pods_total"} {
		_, row, _ := strings.Cut(string(page), "\n| `"+name+"` | ")
		row, _, _ = strings.Cut(row, " |")
		_, values, _ := strings.Cut(row, " = ")
		want := strings.Split(strings.ReplaceAll(values, "`", ""), ", ")
		slices.Sort(want)
		slices.Sort(got[name])
		if !slices.Equal(got[name], want) {
			t.Errorf("%s begins with the labels %v, want %v as in docs/reference/metrics.md", name, got[name], want)
		}
	}
}
