package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

func TestVariablesAreReplaced(t *testing.T) {
	values := map[string]string{"node": ".*", "__rate_interval": "20s"}
	for query, want := range map[string]string{
		`rate(a{node=~"$node"}[$__rate_interval])`:     `rate(a{node=~".*"}[20s])`,
		`rate(a{node=~"${node:regex}"}[${node}$node])`: `rate(a{node=~".*"}[.*.*])`,
		`a{b=~"c$"}`: `a{b=~"c$"}`,
	} {
		if got, err := substitute(query, values); err != nil || got != want {
			t.Errorf("%s becomes %s, %v; want %s", query, got, err, want)
		}
	}
	if _, err := substitute(`a{b="$nodes"}`, values); err == nil || !strings.Contains(err.Error(), "nodes") {
		t.Errorf("an unknown variable gives the error %v", err)
	}
}

func TestChosenNodesAreARegularExpression(t *testing.T) {
	for _, test := range []struct {
		nodes []string
		want  string
	}{{nil, ".*"}, {[]string{"node1"}, "node1"}, {[]string{"node1", "a.example"}, `(node1|a\\.example)`}} {
		if got := chosen(test.nodes, ".*"); got != test.want {
			t.Errorf("%v becomes %s, want %s", test.nodes, got, test.want)
		}
	}
}

func TestStepIsNearAPointForEachPixel(t *testing.T) {
	for _, test := range []struct {
		period  time.Duration
		scrapes time.Duration
		want    time.Duration
	}{
		{5 * time.Minute, 5 * time.Second, 5 * time.Second},
		{3 * time.Hour, 5 * time.Second, 20 * time.Second},
		{3 * time.Hour, 30 * time.Second, 30 * time.Second},
		{30 * 24 * time.Hour, 30 * time.Second, 2 * time.Hour},
	} {
		if got := stepOf(test.period, 450, test.scrapes); got != test.want {
			t.Errorf("%v gives the step %v, want %v", test.period, got, test.want)
		}
	}
}

func TestRateIntervalHasFourScrapes(t *testing.T) {
	got := intervals(5*time.Second, 3*time.Hour, 30*time.Second)
	if got["__rate_interval"] != "120s" || got["__interval"] != "5s" || got["__range"] != "10800s" {
		t.Errorf("got %v", got)
	}
	if got := intervals(10*time.Minute, 3*time.Hour, 30*time.Second); got["__rate_interval"] != "630s" {
		t.Errorf("got %v", got)
	}
}

func TestLegendHasTheValuesOfLabels(t *testing.T) {
	metric := labels.FromStrings("node", "node1", "family", "ipv4")
	for _, test := range []struct {
		format string
		metric labels.Labels
		want   string
	}{
		{"{{node}} {{ family }}", metric, "node1 ipv4"},
		{"dead: {{node}}", metric, "dead: node1"},
		{"{{pod}}", metric, ""},
		{"__auto", metric, `{family="ipv4", node="node1"}`},
		{"__auto", labels.EmptyLabels(), "max(a)"},
	} {
		if got := legend(test.format, "max(a)", test.metric); got != test.want {
			t.Errorf("%s gives %q, want %q", test.format, got, test.want)
		}
	}
}

func TestNumbersAreWrittenWithTheirUnit(t *testing.T) {
	none := 0
	for _, test := range []struct {
		unit     string
		value    float64
		decimals *int
		want     string
	}{
		{"none", 1234567, nil, "1234567"},
		{"short", 1234567, nil, "1.23 Mil"},
		{"short", 3, nil, "3"},
		{"short", 1.333, &none, "1"},
		{"percentunit", 0.25, nil, "25%"},
		{"percentunit", 0.008, nil, "0.8%"},
		{"bytes", 41 * 1024 * 1024, nil, "41 MiB"},
		{"Bps", 15300, nil, "15.3 kB/s"},
		{"pps", 0.1, nil, "0.1 p/s"},
		{"reqps", 12, nil, "12 req/s"},
	} {
		if got := format(test.unit, test.value, test.decimals); got != test.want {
			t.Errorf("%v %s is written %q, want %q", test.value, test.unit, got, test.want)
		}
	}
}

func TestColorIsThatOfTheHighestThreshold(t *testing.T) {
	one, two := 1.0, 2.0
	steps := []threshold{{"green", nil}, {"orange", &one}, {"red", &two}}
	for value, want := range map[float64]string{-1: "green", 0.9: "green", 1: "orange", 3: "red"} {
		if got := colorOf(steps, value); got != want {
			t.Errorf("%v is %s, want %s", value, got, want)
		}
	}
}

func TestPanelsAreBesideEachOther(t *testing.T) {
	left, right := place(gridPos{0, 1, 8, 8}, 1200), place(gridPos{8, 1, 16, 8}, 1200)
	if left.X != 0 || left.Y != 38 || left.H != 296 {
		t.Errorf("the left panel is at %+v", left)
	}
	if space := right.X - left.X - left.W; space < gap || space > gap+1 {
		t.Errorf("there are %d pixels between %+v and %+v", space, left, right)
	}
	if end := right.X + right.W; end < 1199 || end > 1200 {
		t.Errorf("the right panel ends at %d", end)
	}
	if got := pageHeight([]panel{{GridPos: gridPos{0, 0, 8, 2}}, {GridPos: gridPos{0, 2, 8, 8}}}); got != 10*38-gap {
		t.Errorf("the page is %d pixels high", got)
	}
}

func TestLegendIsBrokenIntoLines(t *testing.T) {
	for _, test := range []struct{ names, want int }{{0, 1}, {2, 1}, {5, 2}} {
		if got := legendRows(slices.Repeat([]string{"node1 ipv4"}, test.names), 300); got != test.want {
			t.Errorf("%d names need %d lines, want %d", test.names, got, test.want)
		}
	}
}

func TestAxisHasRoundNumbers(t *testing.T) {
	zero, one := 0.0, 1.0
	for _, test := range []struct {
		name      string
		low, high float64
		min, max  *float64
		whole     bool
		base      float64
		want      []float64
	}{
		{"a fixed minimum", 2, 10, &zero, nil, false, 1000, []float64{0, 5, 10}},
		{"fixed ends", 0.2, 0.3, &zero, &one, false, 1000, []float64{0, 0.2, 0.4, 0.6, 0.8, 1}},
		{"nothing but zeros", 0, 0, &zero, nil, true, 1000, []float64{0, 1}},
		{"whole numbers", 0, 3, &zero, nil, true, 1000, []float64{0, 1, 2, 3}},
		{"bytes", 0, 40 << 20, &zero, nil, false, 1024, []float64{0, 16 << 20, 32 << 20}},
	} {
		got := scaleOf(test.low, test.high, test.min, test.max, test.whole, test.base).ticks
		if len(got) != len(test.want) {
			t.Errorf("%s: lines at %v, want %v", test.name, got, test.want)
			continue
		}
		for i := range got {
			if diff := got[i] - test.want[i]; diff > 1e-9 || diff < -1e-9 {
				t.Errorf("%s: lines at %v, want %v", test.name, got, test.want)
				break
			}
		}
	}
}

func TestStackedLinesAreOnTopOfEachOther(t *testing.T) {
	tops, bottoms := stacked([]series{
		{points: []promql.FPoint{{T: 1, F: 2}, {T: 2, F: 3}}},
		{points: []promql.FPoint{{T: 2, F: 4}}},
	})
	if got := tops[1].points[0].F; got != 7 {
		t.Errorf("the second line is at %v, want 7", got)
	}
	if got := bottoms[1].points[0].F; got != 3 {
		t.Errorf("its area begins at %v, want 3", got)
	}
}

func TestLineIsBrokenWhereAPointIsMissing(t *testing.T) {
	got := runs([]promql.FPoint{{T: 0}, {T: 5000}, {T: 20000}}, 5*time.Second)
	if len(got) != 2 || len(got[0]) != 2 || len(got[1]) != 1 {
		t.Errorf("got %v", got)
	}
}

// recorded returns the data of a program that is scraped every 5 s. It has no power from the third scrape to the fifth.
func recorded(t *testing.T) *data {
	t.Helper()
	begin := time.Unix(1_700_000_000, 0)
	var scrapes []scrape
	for i := range 8 {
		s := scrape{Time: begin.Add(time.Duration(i) * 5 * time.Second), Labels: map[string]string{"instance": "a:1", "node": "node1"}, Up: i < 2 || i > 4}
		if s.Up {
			s.Page = "# TYPE requests_total counter\nrequests_total{node=\"node2\"} " + []string{"0", "10", "", "", "", "20", "30", "40"}[i] + "\n"
		}
		scrapes = append(scrapes, s)
	}
	db, err := openStorage(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := store(t.Context(), db, scrapes); err != nil {
		t.Fatal(err)
	}
	engine := newEngine()
	t.Cleanup(func() { engine.Close() })
	return &data{storage: db, engine: engine, from: begin, to: scrapes[7].Time, scrapes: betweenScrapes(scrapes), variables: map[string]string{"node": ".*"}}
}

func TestSeriesEndWhenTheirProgramIsNotScraped(t *testing.T) {
	d := recorded(t)
	found, err := d.run(t.Context(), target{Expr: `requests_total{node=~"$node"}`, LegendFormat: "{{node}} {{exported_node}}"}, 400)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].name != "node1 node2" {
		t.Fatalf("got %+v", found)
	}
	if parts := runs(found[0].points, d.scrapes); len(parts) != 2 || len(parts[0]) != 2 || len(parts[1]) != 3 {
		t.Errorf("the line has the parts %v, want one of 2 points and one of 3", parts)
	}
}

func TestReportSaysWhyAQueryHasNoData(t *testing.T) {
	d := recorded(t)
	dash := dashboard{Panels: []panel{{Type: "timeseries", Title: "P", GridPos: gridPos{0, 0, 8, 8}, Targets: []target{
		{Expr: "up"}, {Expr: "absent_total"}, {Expr: `sum(requests_total{node="node7"})`}, {Expr: "up > 5"},
	}}}}
	var report bytes.Buffer
	if _, err := d.page(t.Context(), dash, 1000, &report); err != nil {
		t.Fatal(err)
	}
	want := "no data: P: absent_total\n    no program has the metric absent_total in this run\n" +
		"no data: P: sum(requests_total{node=\"node7\"})\n    no series is requests_total{node=\"node7\"}\n" +
		"no data: P: up > 5\n    the query keeps none of the values\n"
	if report.String() != want {
		t.Errorf("the report is\n%s\nwant\n%s", &report, want)
	}
}

// The dashboard of the project uses nothing that this program does not draw.
func TestDashboardOfTheProjectIsDrawn(t *testing.T) {
	dash, err := readDashboard("../../../manifests/monitoring/dashboard/cloud-provider-baremetal.json")
	if err != nil {
		t.Fatal(err)
	}
	d := recorded(t)
	var html, report bytes.Buffer
	p, err := d.page(t.Context(), dash, 1400, &report)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.write(&html); err != nil {
		t.Fatal(err)
	}
	for _, one := range dash.Panels {
		if !strings.Contains(html.String(), "<h2>"+one.Title+"</h2>") {
			t.Errorf("the page has no panel %s", one.Title)
		}
	}
	for _, bad := range []string{"cannot draw", "ZgotmplZ", "http://", "https://"} {
		if strings.Contains(html.String(), bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
}
