package main

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
)

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// page is the drawn dashboard.
type page struct {
	Title, Subtitle string
	Marks           []legendEntry // the annotations
	Height          int
	Panels          []drawn
}

// drawn is a panel with its content: one of the fields after Background.
type drawn struct {
	Type, Title string
	Box         box
	Background  template.CSS
	Empty, Stat string
	Chart       template.HTML
	Legend      []legendEntry
	Bars        []bar
	Columns     []string
	Rows        [][]string
}

type legendEntry struct {
	Name  string
	Color template.CSS
}

type bar struct {
	Name, Text string
	Percent    float64
	Color      template.CSS
}

func (p page) write(w io.Writer) error { return pageTemplate.Execute(w, p) }

// titleHeight and legendLine are heights in page.html, in pixels.
const titleHeight, legendLine = 32, 18

// draw draws a panel with what its queries have found.
func draw(p panel, at box, found []series, c chart) drawn {
	d := drawn{Type: p.Type, Title: p.Title, Box: at}
	config := p.FieldConfig.Defaults
	switch {
	case p.Type == "row":
	case len(found) == 0:
		d.Empty = cmp.Or(config.NoValue, "No data")
	case p.Type == "stat":
		value := found[0].last()
		d.Stat = format(config.Unit, value, config.Decimals)
		color := colorOf(config.Thresholds.Steps, value)
		for _, m := range config.Mappings {
			if mapped, ok := m.Options[fmt.Sprint(value)]; ok {
				d.Stat, color = mapped.Text, cmp.Or(mapped.Color, color)
			}
		}
		if p.Options.ColorMode == "background" {
			d.Background = template.CSS(named[color])
		}
	case p.Type == "bargauge":
		for _, s := range found {
			color := template.CSS(named[colorOf(config.Thresholds.Steps, s.last())])
			part := 100.0
			if config.Max != nil {
				part = min(100, 100*s.last() / *config.Max)
			}
			d.Bars = append(d.Bars, bar{s.name, format(config.Unit, s.last(), config.Decimals), part, color})
		}
	case p.Type == "table":
		d.Columns, d.Rows = table(p, found)
	case p.Type == "timeseries":
		d.timeSeries(p, found, c)
	default:
		d.Empty = "this program cannot draw a panel of the type " + p.Type
	}
	return d
}

func (d *drawn) timeSeries(p panel, found []series, c chart) {
	legendHeight := 0
	if p.Options.Legend.ShowLegend {
		var names []string
		for i, s := range found {
			names = append(names, s.name)
			d.Legend = append(d.Legend, legendEntry{s.name, template.CSS(lineColor(i))})
		}
		legendHeight = min(legendLine*legendRows(names, d.Box.W-20), d.Box.H*35/100)
	}
	c.size = box{W: d.Box.W - 4, H: d.Box.H - titleHeight - legendHeight - 6}
	c.config, c.lines = p.FieldConfig.Defaults, found
	d.Chart = c.svg()
}

// table returns the columns and rows of a table: the labels of the series, in the order that the dashboard says.
func table(p panel, found []series) (columns []string, rows [][]string) {
	var o organize
	for _, t := range p.Transformations {
		if t.ID == "organize" {
			o = t.Options
		}
	}
	all := map[string]bool{}
	for _, s := range found {
		for name := range s.labels.Map() {
			all[name] = !o.ExcludeByName[name]
		}
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(all)), func(name string) bool { return !all[name] })
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(o.IndexByName[a], o.IndexByName[b]) })
	for _, name := range names {
		columns = append(columns, cmp.Or(o.RenameByName[name], name))
	}
	for _, s := range found {
		var row []string
		for _, name := range names {
			row = append(row, s.labels.Get(name))
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b []string) int { return strings.Compare(strings.Join(a, "\x00"), strings.Join(b, "\x00")) })
	return columns, rows
}
