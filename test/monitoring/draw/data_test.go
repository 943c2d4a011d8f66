package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

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

func TestAnnotationMarksTheTimeOfItsQuery(t *testing.T) {
	d := recorded(t)
	got, err := d.regions(t.Context(), []annotation{
		{Name: "no power", Expr: `up == 0`, Step: "5s", Enable: true, IconColor: "orange"}, {Name: "off", Expr: "up"}, {Name: "no query", Enable: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].to.Sub(got[0].from) != 10*time.Second || got[0].color != named["orange"] {
		t.Errorf("got %+v, want one time of 10 s in orange", got)
	}
}
