package monitoring

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

const dashboardFile = "manifests/monitoring/dashboard/cloud-provider-baremetal.json"

// panel is what the tests read of a panel.
type panel struct {
	ID          int
	Type, Title string
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct{ Expr, LegendFormat string }
}

type query struct{ place, expr, legend string }

// dashboardQueries returns the panels, and all queries of the dashboard.
func dashboardQueries(t *testing.T) (panels []panel, queries []query) {
	t.Helper()
	var d struct {
		Panels      []panel
		Annotations struct{ List []struct{ Name, Expr string } }
	}
	if err := json.Unmarshal(file(t, dashboardFile), &d); err != nil {
		t.Fatal(err)
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			queries = append(queries, query{p.Title, target.Expr, target.LegendFormat})
		}
	}
	for _, a := range d.Annotations.List {
		if a.Expr != "" {
			queries = append(queries, query{a.Name, a.Expr, ""})
		}
	}
	if len(d.Panels) < 20 || len(queries) < 30 {
		t.Fatalf("%d panels with %d queries: the test looks in the wrong place", len(d.Panels), len(queries))
	}
	return d.Panels, queries
}

// Grafana's own types of a dashboard accept the file: they know each panel and each option.
func TestDashboardIsAcceptedByGrafanasTypes(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	var d, unknown dashboard.Dashboard //lint:ignore SA1019 Grafana's sidecar loads dashboards of this version.
	if err := d.UnmarshalJSONStrict(file(t, dashboardFile)); !noError(err) {
		t.Fatal(err)
	}
	if err := d.Validate(); err != nil {
		t.Error(err)
	}
	if len(d.Panels) < 20 {
		t.Errorf("%d panels, want 20 or more", len(d.Panels))
	}
	if err := unknown.UnmarshalJSONStrict(bytes.Replace(file(t, dashboardFile), []byte(`"graphMode"`), []byte(`"graphmode"`), 1)); noError(err) {
		t.Error("an unknown option is accepted: the test checks nothing")
	}
}

// noError says whether Grafana's types return no error. They return an empty list of errors instead of nil.
func noError(err error) bool {
	list, ok := errors.AsType[cog.BuildErrors](err)
	return err == nil || ok && len(list) == 0
}

func TestDashboardOfTheChartIsTheSameFile(t *testing.T) {
	if !bytes.Equal(file(t, dashboardFile), file(t, "manifests/helm/files/dashboard.json")) {
		t.Errorf("manifests/helm/files/dashboard.json is not a copy of %s", dashboardFile)
	}
}

var (
	metricRow = regexp.MustCompile("(?m)^\\| (`baremetal_[^|]*) \\|([^|]*)\\|")
	quoted    = regexp.MustCompile("`([a-z0-9_]+)`")
	legend    = regexp.MustCompile(`{{(\w+)}}`)
)

// documentedMetrics returns the labels of each metric, from the reference. Tests of the programs
// check that the reference is true.
func documentedMetrics(t *testing.T) map[string][]string {
	t.Helper()
	metrics := map[string][]string{}
	for _, match := range metricRow.FindAllStringSubmatch(string(file(t, "docs/reference/metrics.md")), -1) {
		var names []string
		for part := range strings.SplitSeq(match[2], ";") { // `pool`; `state` = `usable`, `used`
			part, _, _ = strings.Cut(part, "=")
			for _, name := range quoted.FindAllStringSubmatch(part, -1) {
				names = append(names, name[1])
			}
		}
		for _, metric := range quoted.FindAllStringSubmatch(match[1], -1) {
			metrics[metric[1]] = names
		}
	}
	if len(metrics) < 60 || !slices.Contains(metrics["baremetal_ipam_addresses"], "family") {
		t.Fatalf("the reference has %d metrics: the test looks in the wrong place", len(metrics))
	}
	return metrics
}

// The labels that Prometheus adds with our ServiceMonitors. A label "node" of the metric itself is then
// called exported_node.
var targetLabels = []string{"instance", "job", "namespace", "pod", "node"}

// The metrics that are not of this project, with the programs that have them.
var foreign = []string{"process_resident_memory_bytes", "process_cpu_seconds_total", "up", "kube_daemonset_status_desired_number_scheduled"}

// used returns the metrics of a query, and the labels by which it selects and groups.
func used(t *testing.T, q query) (metrics, by []string) {
	t.Helper()
	text := strings.NewReplacer("$__rate_interval", "5m", "$node", ".*").Replace(q.expr)
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		t.Errorf("%s: %s: %v", q.place, q.expr, err)
		return nil, nil
	}
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			metrics = append(metrics, n.Name)
			for _, m := range n.LabelMatchers {
				if m.Name != model.MetricNameLabel {
					by = append(by, m.Name)
				}
			}
		case *parser.AggregateExpr:
			by = append(by, n.Grouping...)
		}
		return nil
	})
	return metrics, by
}

// A query for a metric or a label that does not exist shows an empty panel, and its alert never fires.
func TestQueriesUseMetricsAndLabelsThatExist(t *testing.T) {
	_, queries := dashboardQueries(t)
	for _, r := range rules(t) {
		queries = append(queries, query{r.Alert, r.Expr, ""})
	}
	documented := documentedMetrics(t)
	for _, q := range queries {
		metrics, by := used(t, q)
		var known []string
		for _, metric := range metrics {
			own, ok := documented[metric]
			if !ok && !slices.Contains(foreign, metric) {
				t.Errorf("%s: the metric %s does not exist", q.place, metric)
			}
			if metric == "kube_daemonset_status_desired_number_scheduled" {
				own = []string{"daemonset"}
			}
			for _, label := range own {
				if slices.Contains(targetLabels, label) {
					label = "exported_" + label
				}
				known = append(known, label)
			}
		}
		for _, match := range legend.FindAllStringSubmatch(q.legend, -1) {
			by = append(by, match[1])
		}
		for _, label := range by {
			if !slices.Contains(known, label) && !slices.Contains(targetLabels, label) {
				t.Errorf("%s: the label %s does not exist in %s", q.place, label, q.expr)
			}
		}
	}
}

// rate and increase have a meaning for counters only, and a counter by itself says nothing.
func TestDashboardTakesTheRateOfCountersOnly(t *testing.T) {
	_, queries := dashboardQueries(t)
	counters := 0
	for _, q := range queries {
		text := strings.NewReplacer("$__rate_interval", "5m", "$node", ".*").Replace(q.expr)
		expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
		if err != nil {
			t.Fatal(err)
		}
		parser.Inspect(expr, func(n parser.Node, path []parser.Node) error {
			selector, ok := n.(*parser.VectorSelector)
			if !ok {
				return nil
			}
			rated := false
			for _, parent := range path {
				if call, ok := parent.(*parser.Call); ok && slices.Contains([]string{"rate", "increase"}, call.Func.Name) {
					rated = true
				}
			}
			isCounter := strings.HasSuffix(selector.Name, "_total")
			if isCounter {
				counters++
			}
			if rated != isCounter {
				t.Errorf("%s: %s is a counter: %v; the query takes its rate: %v", q.place, selector.Name, isCounter, rated)
			}
			return nil
		})
	}
	if counters < 10 {
		t.Errorf("only %d counters: the test looks in the wrong place", counters)
	}
}

func TestDashboardPanelsDoNotOverlap(t *testing.T) {
	panels, _ := dashboardQueries(t)
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range panels {
		if ids[p.ID] {
			t.Errorf("%s: the id %d exists twice", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.GridPos.X+p.GridPos.W > 24 || p.GridPos.W == 0 || p.GridPos.H == 0 {
			t.Errorf("%s is at %+v; the grid has 24 columns", p.Title, p.GridPos)
		}
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				cell := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, ok := taken[cell]; ok {
					t.Fatalf("%s and %s overlap", p.Title, other)
				}
				taken[cell] = p.Title
			}
		}
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%s has no query", p.Title)
		}
	}
}
