package main

import (
	"bytes"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
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

func TestNumberHasTheTextAndColorOfItsMapping(t *testing.T) {
	var p panel
	if err := json.Unmarshal([]byte(`{"type": "stat", "options": {"colorMode": "background"}, "fieldConfig": {"defaults": {
		"mappings": [{"options": {"0": {"text": "refused", "color": "red"}}}], "thresholds": {"steps": [{"color": "green", "value": null}]}, "noValue": "none"}}}`), &p); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		found             []series
		text, empty, back string
	}{
		{[]series{{points: []promql.FPoint{{F: 0}}}}, "refused", "", named["red"]},
		{[]series{{points: []promql.FPoint{{F: 7}}}}, "7", "", named["green"]},
		{nil, "", "none", ""},
	} {
		if got := draw(p, box{}, test.found, chart{}); got.Stat != test.text || got.Empty != test.empty || string(got.Background) != test.back {
			t.Errorf("%v is drawn as %+v", test.found, got)
		}
	}
}

func TestTableHasTheColumnsOfTheDashboard(t *testing.T) {
	var p panel
	if err := json.Unmarshal([]byte(`{"transformations": [{"id": "organize", "options": {
		"excludeByName": {"job": true}, "indexByName": {"vip": 0, "node": 1}, "renameByName": {"vip": "address"}}}]}`), &p); err != nil {
		t.Fatal(err)
	}
	columns, rows := table(p, []series{
		{labels: labels.FromStrings("node", "node2", "vip", "192.0.2.2", "job", "j")}, {labels: labels.FromStrings("node", "node1", "vip", "192.0.2.1", "job", "j")},
	})
	if !slices.Equal(columns, []string{"address", "node"}) || len(rows) != 2 || !slices.Equal(rows[0], []string{"192.0.2.1", "node1"}) {
		t.Errorf("got %v, %v", columns, rows)
	}
}

func TestSinglePointIsDrawnUnlessPointsAreNeverDrawn(t *testing.T) {
	c := chart{size: box{W: 400, H: 200}, from: time.Unix(0, 0), to: time.Unix(60, 0), step: 5 * time.Second, lines: []series{{points: []promql.FPoint{{T: 30_000, F: 1}}}}}
	for show, want := range map[string]bool{"auto": true, "never": false} {
		c.config.Custom.ShowPoints = show
		if got := strings.Contains(string(c.svg()), "<circle"); got != want {
			t.Errorf("showPoints %s: the point is drawn: %v, want %v", show, got, want)
		}
	}
}

func TestPictureIsWrittenWithItsMostFrequentColors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.png")
	full := image.NewRGBA(image.Rect(0, 0, 40, 40))
	for i := range 1600 {
		full.Set(i%40, i/40, color.RGBA{uint8(min(i, 300)), uint8(i / 300), 0, 255})
	}
	var text bytes.Buffer
	if err := png.Encode(&text, full); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := shrink(path); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got, err := png.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	small, ok := got.(*image.Paletted)
	if !ok || len(small.Palette) != 256 || got.At(39, 39) != full.At(39, 39) {
		t.Errorf("the picture is a %T, the last point is %v, want %v", got, got.At(39, 39), full.At(39, 39))
	}
}
