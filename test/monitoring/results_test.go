package monitoring

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
)

var labelValues = regexp.MustCompile("`([a-z_0-9]+)` = ((?:`[^`]+`(?:, )?)+)")

// series returns what Prometheus stores after some minutes of two speakers and a cluster manager that have
// every documented metric, in the language of promqltest. Counters grow, gauges are 1.
func series(t *testing.T) string {
	t.Helper()
	known := map[string][]string{} // the documented values of a metric's label
	for _, match := range metricRow.FindAllStringSubmatch(string(file(t, "docs/reference/metrics.md")), -1) {
		for _, metric := range quoted.FindAllStringSubmatch(match[1], -1) {
			for _, label := range labelValues.FindAllStringSubmatch(match[2], -1) {
				for _, value := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(label[2], -1) {
					known[metric[1]+"/"+label[1]] = append(known[metric[1]+"/"+label[1]], value[1])
				}
			}
		}
	}
	speakers := []string{
		`instance="192.0.2.1:7472",job="baremetal-speaker-metrics",namespace="baremetal-system",pod="baremetal-speaker-a",node="node1"`,
		`instance="192.0.2.2:7472",job="baremetal-speaker-metrics",namespace="baremetal-system",pod="baremetal-speaker-b",node="node2"`,
	}
	managers := []string{`instance="10.0.0.1:10258",job="baremetal-cloud-controller-manager-metrics",namespace="baremetal-system",pod="ccm-a"`}
	var b strings.Builder
	b.WriteString("load 1m\n")
	add := func(metric string, names []string) {
		programs := speakers
		switch {
		case strings.HasPrefix(metric, "baremetal_ipam_"), strings.HasPrefix(metric, "baremetal_dead_nodes_"):
			programs = managers
		case strings.HasPrefix(metric, "baremetal_config_"), !strings.HasPrefix(metric, "baremetal_"):
			programs = slices.Concat(speakers, managers)
		}
		own := []string{""}
		for _, name := range names {
			values := known[metric+"/"+name]
			if values == nil {
				values = []string{name + "-a", name + "-b"}
			}
			if slices.Contains(targetLabels, name) {
				name = "exported_" + name
			}
			var longer []string
			for _, before := range own {
				for _, value := range values {
					longer = append(longer, fmt.Sprintf(`%s,%s=%q`, before, name, value))
				}
			}
			own = longer
		}
		samples := "1+0x30"
		if strings.HasSuffix(metric, "_total") {
			samples = "0+60x30"
		}
		for _, target := range programs {
			for _, more := range own {
				fmt.Fprintf(&b, "  %s{%s%s} %s\n", metric, target, more, samples)
			}
		}
	}
	documented := documentedMetrics(t)
	for _, metric := range slices.Sorted(maps.Keys(documented)) {
		add(metric, documented[metric])
	}
	for _, metric := range foreign {
		add(metric, nil)
	}
	return b.String()
}

// A query without an error can still find nothing: the labels of two sides of a division may not match,
// or the labels of a legend may be gone after a sum.
func TestQueriesFindWhatThePanelsShow(t *testing.T) {
	storage := promqltest.LoadedStorage(t, series(t))
	engine := promqltest.NewTestEngine(t, false, 0, 1_000_000)
	run := func(q query) promql.Vector {
		text := strings.NewReplacer("$__rate_interval", "5m", "$node", ".*").Replace(q.expr)
		made, err := engine.NewInstantQuery(t.Context(), storage, nil, text, time.Unix(0, 0).Add(20*time.Minute))
		if err != nil {
			t.Fatalf("%s: %s: %v", q.place, text, err)
		}
		defer made.Close()
		result := made.Exec(t.Context())
		vector, err := result.Vector()
		if err != nil {
			t.Fatalf("%s: %s: %v", q.place, text, err)
		}
		return slices.Clone(vector)
	}
	_, queries := dashboardQueries(t)
	for _, q := range queries {
		found := run(q)
		if len(found) == 0 {
			t.Errorf("%s: %s finds nothing", q.place, q.expr)
		}
		for _, match := range legend.FindAllStringSubmatch(q.legend, -1) {
			for _, sample := range found {
				if sample.Metric.Get(match[1]) == "" {
					t.Errorf("%s: %s has no label %s for its legend: %s", q.place, q.expr, match[1], sample.Metric)
				}
			}
		}
		names := map[string]bool{}
		for _, sample := range found {
			name := legend.ReplaceAllStringFunc(q.legend, func(l string) string { return sample.Metric.Get(strings.Trim(l, "{}")) })
			if names[name] && q.legend != "" && q.legend != "__auto" {
				t.Errorf("%s: %s has several lines with the name %q", q.place, q.expr, name)
			}
			names[name] = true
		}
	}
	// All gauges are 1: these alerts fire, and each alert has the labels that its text names.
	fired := map[string]int{}
	for _, r := range rules(t) {
		found := run(query{r.Alert, r.Expr, ""})
		fired[r.Alert] = len(found)
		for _, match := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(r.Annotations["summary"], -1) {
			for _, sample := range found {
				if sample.Metric.Get(match[1]) == "" {
					t.Errorf("%s names the label %s in its text, and has only %s", r.Alert, match[1], sample.Metric)
				}
			}
		}
	}
	for alert, want := range map[string]int{
		"BaremetalPoolNearlyFull": 4, "BaremetalServicesWait": 1, "BaremetalAddressConflict": 4, "BaremetalAddressWithoutOwner": 5,
		"BaremetalConfigRefused": 0, "BaremetalBGPSessionDown": 0, "BaremetalSpeakerNotScraped": 0, "BaremetalHTTPFlood": 0,
	} {
		if fired[alert] != want {
			t.Errorf("%s fires %d times, want %d", alert, fired[alert], want)
		}
	}
}
