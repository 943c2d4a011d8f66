// Command draw draws the dashboard for Grafana with data that test/cmd/record has recorded. It is not Grafana: it
// evaluates the queries with Prometheus' own engine, and draws the panels itself, as one page of HTML and as a
// picture. It names the queries without data, and why they have none. hack/draw-dashboard runs it.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"html/template"
	"io"
	"os"
	"strings"
	"time"
)

func main() {
	var o settings
	flag.StringVar(&o.recording, "recording", "", "file of test/cmd/record")
	flag.StringVar(&o.dashboard, "dashboard", "../../manifests/monitoring/dashboard/cloud-provider-baremetal.json", "the dashboard")
	flag.StringVar(&o.html, "html", "dashboard.html", "where the page is written")
	flag.StringVar(&o.png, "png", "", "where a picture of the page is written; it needs Chromium")
	flag.IntVar(&o.width, "width", 1400, "width of the page, in pixels")
	nodes := flag.String("node", "", "nodes of the variable \"node\", separated by commas; empty: all")
	flag.Parse()
	if *nodes != "" {
		o.nodes = strings.Split(*nodes, ",")
	}
	if err := run(context.Background(), o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

type settings struct {
	recording, dashboard, html, png string
	width                           int
	nodes                           []string
}

// run draws the dashboard, and writes a report.
func run(ctx context.Context, o settings, report io.Writer) error {
	d, err := readDashboard(o.dashboard)
	if err != nil {
		return err
	}
	scrapes, err := readRecording(o.recording)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "draw-dashboard")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	db, err := openStorage(dir)
	if err != nil {
		return err
	}
	defer db.Close()
	if err := store(ctx, db, scrapes); err != nil {
		return err
	}
	engine := newEngine()
	defer engine.Close()
	recorded := &data{storage: db, engine: engine, from: scrapes[0].Time, to: scrapes[len(scrapes)-1].Time, scrapes: betweenScrapes(scrapes), variables: map[string]string{}}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			recorded.variables[v.Name] = chosen(nil, v.AllValue)
		}
	}
	if o.nodes != nil {
		recorded.variables["node"] = chosen(o.nodes, "")
	}
	drawnPage, err := recorded.page(ctx, d, o.width, report)
	if err != nil {
		return err
	}
	if err := writePage(drawnPage, o.html); err != nil {
		return err
	}
	if o.png == "" {
		return nil
	}
	return photograph(ctx, o.html, o.png, o.width, drawnPage.Height+headerHeight)
}

// headerHeight is the height of the header in page.html and of the space below the panels, in pixels.
const headerHeight = 52

// betweenScrapes returns the time between two scrapes of one instance, in whole seconds.
func betweenScrapes(scrapes []scrape) time.Duration {
	var times []time.Time
	for _, s := range scrapes {
		if s.Labels["instance"] == scrapes[0].Labels["instance"] {
			times = append(times, s.Time)
		}
	}
	if len(times) < 2 {
		return time.Second
	}
	return (times[len(times)-1].Sub(times[0]) / time.Duration(len(times)-1)).Round(time.Second)
}

// page draws all panels.
func (d *data) page(ctx context.Context, dash dashboard, width int, report io.Writer) (page, error) {
	p := page{Title: dash.Title, Height: pageHeight(dash.Panels)}
	p.Subtitle = fmt.Sprintf("%s UTC to %s, a scrape every %v", d.from.UTC().Format("2006-01-02 15:04:05"), d.to.UTC().Format("15:04:05"), d.scrapes)
	regions, err := d.regions(ctx, dash.Annotations.List)
	if err != nil {
		return p, err
	}
	for _, a := range dash.Annotations.List {
		if a.drawn() {
			p.Marks = append(p.Marks, legendEntry{a.Name, template.CSS(named[a.IconColor])})
		}
	}
	for _, one := range dash.Panels {
		at := place(one.GridPos, width-16)
		if !knownUnit(one.FieldConfig.Defaults.Unit) {
			return p, fmt.Errorf("%s has the unit %s, which this program does not know: add it to units.go", one.Title, one.FieldConfig.Defaults.Unit)
		}
		var all []series
		for _, t := range one.Targets {
			found, err := d.run(ctx, t, at.W)
			if err != nil {
				return p, fmt.Errorf("%s: %w", one.Title, err)
			}
			if len(found) == 0 {
				fmt.Fprintf(report, "no data: %s: %s\n    %s\n", one.Title, t.Expr, d.whyEmpty(ctx, t.Expr))
			}
			all = append(all, found...)
		}
		p.Panels = append(p.Panels, draw(one, at, all, chart{from: d.from, to: d.to, step: stepOf(d.to.Sub(d.from), at.W, d.scrapes), regions: regions}))
	}
	return p, nil
}

// regions returns the times that the annotations of the dashboard mark.
func (d *data) regions(ctx context.Context, annotations []annotation) (marked []region, err error) {
	for _, a := range annotations {
		if !a.drawn() {
			continue
		}
		step, err := time.ParseDuration(cmp.Or(a.Step, "1m"))
		if err != nil {
			return nil, fmt.Errorf("annotation %s: %w", a.Name, err)
		}
		query, err := d.text(a.Expr, step)
		if err != nil {
			return nil, fmt.Errorf("annotation %s: %w", a.Name, err)
		}
		found, err := d.exec(ctx, query, target{}, step)
		if err != nil {
			return nil, fmt.Errorf("annotation %s: %w", a.Name, err)
		}
		for _, s := range found {
			for _, part := range runs(s.points, step) {
				marked = append(marked, region{time.UnixMilli(part[0].T), time.UnixMilli(part[len(part)-1].T), named[a.IconColor]})
			}
		}
	}
	return marked, nil
}

func writePage(p page, path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := p.write(file); err != nil {
		file.Close()
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return file.Close()
}
