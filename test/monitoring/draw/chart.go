package main

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql"
)

// palette are the colors of lines, in the order of the series.
var palette = []string{"#73BF69", "#F2CC0C", "#8AB8FF", "#FF780A", "#F2495C", "#5794F2", "#B877D9", "#705DA0", "#37872D", "#FADE2A", "#447EBC", "#C15C17"}

// named are the colors that dashboards have by name.
var named = map[string]string{"green": "#73BF69", "orange": "#FF9830", "red": "#F2495C", "yellow": "#FADE2A", "blue": "#5794F2"}

func lineColor(n int) string { return palette[n%len(palette)] }

// region is a time that an annotation marks.
type region struct {
	from, to time.Time
	color    string
}

// chart is the picture of one time series panel.
type chart struct {
	size     box
	from, to time.Time
	step     time.Duration
	config   fieldConfig
	lines    []series
	regions  []region
}

const leftMargin, bottomMargin, topMargin = 64, 22, 6

// stacked returns the lines, each on top of the lines before it, and where the area of each begins.
func stacked(lines []series) (tops, bottoms []series) {
	sum := map[int64]float64{}
	for _, l := range lines {
		top, bottom := l, l
		top.points, bottom.points = nil, nil
		for _, p := range l.points {
			bottom.points = append(bottom.points, promql.FPoint{T: p.T, F: sum[p.T]})
			sum[p.T] += p.F
			top.points = append(top.points, promql.FPoint{T: p.T, F: sum[p.T]})
		}
		tops, bottoms = append(tops, top), append(bottoms, bottom)
	}
	return tops, bottoms
}

// runs splits points where one is missing: Grafana draws no line there.
func runs(points []promql.FPoint, step time.Duration) (parts [][]promql.FPoint) {
	for i, p := range points {
		if i == 0 || p.T-points[i-1].T > step.Milliseconds()*3/2 {
			parts = append(parts, nil)
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], p)
	}
	return parts
}

// svg draws the chart.
func (c chart) svg() template.HTML {
	tops, bottoms := c.lines, []series(nil)
	if c.config.Custom.Stacking.Mode == "normal" {
		tops, bottoms = stacked(c.lines)
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, l := range tops {
		for _, p := range l.points {
			low, high = math.Min(low, p.F), math.Max(high, p.F)
		}
	}
	base := 1000.0
	if units[c.config.Unit].base == 1024 {
		base = 1024
	}
	axis := scaleOf(low, high, c.config.Min, c.config.Max, c.config.Decimals != nil && *c.config.Decimals == 0, base)
	x := func(ms int64) float64 {
		return leftMargin + float64(ms-c.from.UnixMilli())/float64(c.to.Sub(c.from).Milliseconds())*float64(c.size.W-leftMargin-8)
	}
	y := func(v float64) float64 {
		return topMargin + (axis.max-v)/(axis.max-axis.min)*float64(c.size.H-topMargin-bottomMargin)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg width="%d" height="%d">`, c.size.W, c.size.H)
	for _, r := range c.regions {
		x1, x2 := x(r.from.UnixMilli()), x(r.to.UnixMilli())
		fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s" opacity="0.10"/>`, x1, topMargin, x2-x1, c.size.H-topMargin-bottomMargin, r.color)
		for _, at := range []float64{x1, x2} {
			fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="%s" stroke-dasharray="4 3"/>`, at, at, topMargin, c.size.H-bottomMargin, r.color)
		}
	}
	for _, tick := range axis.ticks {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`,
			leftMargin, c.size.W-8, y(tick), y(tick), leftMargin-6, y(tick)+4, template.HTMLEscapeString(format(c.config.Unit, tick, c.config.Decimals)))
	}
	for _, tick := range timeTicks(c.from, c.to) {
		at := x(tick.UnixMilli())
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`,
			at, at, topMargin, c.size.H-bottomMargin, at, c.size.H-6, tick.UTC().Format("15:04:05"))
	}
	for i, l := range tops {
		var under []promql.FPoint
		if bottoms != nil {
			under = bottoms[i].points
		}
		c.line(&b, l.points, under, lineColor(i), x, func(v float64) float64 { return y(min(max(v, axis.min), axis.max)) }, axis.min)
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

// line draws one line with its area. under is where the area begins, or nil if it begins at the axis.
func (c chart) line(b *strings.Builder, points, under []promql.FPoint, color string, x func(int64) float64, y func(float64) float64, floor float64) {
	done := 0
	for _, part := range runs(points, c.step) {
		if len(part) == 1 && c.config.Custom.ShowPoints != "never" {
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="2.5" fill="%s"/>`, x(part[0].T), y(part[0].F), color)
		}
		path := c.path(part, x, y)
		fmt.Fprintf(b, `<path d="M%s" fill="none" stroke="%s" stroke-width="%g"/>`, path, color, max(1, c.config.Custom.LineWidth))
		bottom := []promql.FPoint{{T: part[0].T, F: floor}, {T: part[len(part)-1].T, F: floor}}
		if under != nil {
			bottom = under[done : done+len(part)]
		}
		done += len(part)
		fmt.Fprintf(b, `<path d="M%s L%s Z" fill="%s" opacity="%g"/>`, path, backwards(c.path(bottom, x, y)), color, c.config.Custom.FillOpacity/100)
	}
}

// path returns the corners of a line.
func (c chart) path(points []promql.FPoint, x func(int64) float64, y func(float64) float64) string {
	var corners []string
	for i, p := range points {
		if i > 0 && c.config.Custom.LineInterpolation == "stepAfter" {
			corners = append(corners, fmt.Sprintf("%.1f,%.1f", x(p.T), y(points[i-1].F)))
		}
		corners = append(corners, fmt.Sprintf("%.1f,%.1f", x(p.T), y(p.F)))
	}
	return strings.Join(corners, " ")
}

// backwards turns the order of corners around.
func backwards(path string) string {
	corners := strings.Fields(path)
	for i, j := 0, len(corners)-1; i < j; i, j = i+1, j-1 {
		corners[i], corners[j] = corners[j], corners[i]
	}
	return strings.Join(corners, " ")
}
