package main

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
)

// data is the recording with Prometheus' engine, and what the user of Grafana would have chosen.
type data struct {
	storage   storage.Queryable
	engine    *promql.Engine
	from, to  time.Time
	scrapes   time.Duration     // between two scrapes
	variables map[string]string // of the dashboard
}

// series is a line of a panel, or a value.
type series struct {
	name   string
	labels labels.Labels
	points []promql.FPoint // times in ms
}

// last returns the newest value.
func (s series) last() float64 { return s.points[len(s.points)-1].F }

func newEngine() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{MaxSamples: 10_000_000, Timeout: time.Minute, EnableAtModifier: true, EnableNegativeOffset: true, Parser: parser.NewParser(parser.Options{})})
}

// run evaluates a query like Grafana: now, or as a line that is so many pixels wide.
func (d *data) run(ctx context.Context, t target, pixels int) ([]series, error) {
	step := stepOf(d.to.Sub(d.from), pixels, d.scrapes)
	query, err := d.text(t.Expr, step)
	if err != nil {
		return nil, err
	}
	return d.exec(ctx, query, t, step)
}

// text puts the variables into a query.
func (d *data) text(expr string, step time.Duration) (string, error) {
	values := intervals(step, d.to.Sub(d.from), d.scrapes)
	for name, value := range d.variables {
		values[name] = value
	}
	return substitute(expr, values)
}

func (d *data) exec(ctx context.Context, query string, t target, step time.Duration) (found []series, err error) {
	var q promql.Query
	if t.Instant {
		q, err = d.engine.NewInstantQuery(ctx, d.storage, nil, query, d.to)
	} else { // Grafana begins and ends at multiples of the step
		q, err = d.engine.NewRangeQuery(ctx, d.storage, nil, query, d.from.Truncate(step), d.to.Truncate(step), step)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", query, err)
	}
	defer q.Close()
	result := q.Exec(ctx)
	if result.Err != nil {
		return nil, fmt.Errorf("%s: %w", query, result.Err)
	}
	add := func(metric labels.Labels, points []promql.FPoint) {
		var numbers []promql.FPoint // NaN is drawn as a gap
		for _, p := range points {
			if !math.IsNaN(p.F) {
				numbers = append(numbers, p)
			}
		}
		if len(numbers) > 0 {
			found = append(found, series{legend(t.LegendFormat, query, metric), metric.Copy(), numbers})
		}
	}
	switch value := result.Value.(type) {
	case promql.Vector:
		for _, s := range value {
			add(s.Metric, []promql.FPoint{{T: s.T, F: s.F}})
		}
	case promql.Matrix:
		for _, s := range value {
			add(s.Metric, s.Floats)
		}
	default:
		return nil, fmt.Errorf("%s: the result is a %s, which no panel draws", query, value.Type())
	}
	return found, nil
}

// whyEmpty says why a query has found nothing: no program has the metric, no series has the labels, or the query
// filters all values.
func (d *data) whyEmpty(ctx context.Context, expr string) string {
	query, err := d.text(expr, d.scrapes)
	if err != nil {
		return err.Error()
	}
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		return err.Error()
	}
	reason := "the query keeps none of the values"
	parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
		selector, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		for _, try := range []struct{ query, reason string }{
			{selector.Name, "no program has the metric " + selector.Name + " in this run"},
			{selector.String(), "no series is " + selector.String()},
		} {
			found, err := d.exec(ctx, "count_over_time("+try.query+"["+fmt.Sprint(int(d.to.Sub(d.from)/time.Second)+1)+"s])", target{Instant: true}, 0)
			if err == nil && len(found) == 0 {
				reason = try.reason
				return nil
			}
		}
		return nil
	})
	return reason
}
