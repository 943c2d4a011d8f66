package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"os"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb"
)

// scrape is one scrape of one program. test/cmd/record writes them.
type scrape struct {
	Time   time.Time
	Labels map[string]string // that Prometheus adds to each sample
	Up     bool              // false: Prometheus did not get the page
	Page   string
}

// readRecording reads the scrapes of a file of test/cmd/record, in the order of their times.
func readRecording(path string) (scrapes []scrape, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := gzip.NewReader(bufio.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	for lines := json.NewDecoder(text); ; {
		var s scrape
		err := lines.Decode(&s)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		scrapes = append(scrapes, s)
	}
	if len(scrapes) == 0 {
		return nil, fmt.Errorf("%s has no scrapes: record again", path)
	}
	slices.SortStableFunc(scrapes, func(a, b scrape) int { return a.Time.Compare(b.Time) })
	return scrapes, nil
}

// openStorage opens Prometheus' database in a directory.
func openStorage(dir string) (*tsdb.DB, error) {
	return tsdb.Open(dir, slog.New(slog.DiscardHandler), nil, tsdb.DefaultOptions(), nil)
}

// store writes the scrapes into Prometheus' database, like Prometheus: when a series is missing in a scrape, it
// writes that the series has ended.
func store(ctx context.Context, db *tsdb.DB, scrapes []scrape) error {
	known := map[string]map[string]labels.Labels{} // the series of the last scrape of each instance
	for _, s := range scrapes {
		instance := s.Labels["instance"]
		app := db.Appender(ctx)
		found, err := storePage(app, s)
		if err != nil {
			return errors.Join(fmt.Errorf("storing the scrape of %s at %s: %w", instance, s.Time, err), app.Rollback())
		}
		for key, series := range known[instance] {
			if _, ok := found[key]; ok {
				continue
			}
			if _, err := app.Append(0, series, s.Time.UnixMilli(), math.Float64frombits(value.StaleNaN)); err != nil {
				return errors.Join(err, app.Rollback())
			}
		}
		known[instance] = found
		if err := app.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// storePage writes the samples of one scrape, and "up". It returns the series of the page.
func storePage(app storage.Appender, s scrape) (found map[string]labels.Labels, err error) {
	found = map[string]labels.Labels{}
	up := 0.0
	if s.Up {
		up = 1
	}
	at := s.Time.UnixMilli()
	if _, err := app.Append(0, withTarget(labels.FromStrings(model.MetricNameLabel, "up"), s.Labels), at, up); err != nil {
		return nil, err
	}
	for parser := textparse.NewPromParser([]byte(s.Page), labels.NewSymbolTable(), false); s.Up; {
		entry, err := parser.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if entry != textparse.EntrySeries {
			continue
		}
		_, _, sample := parser.Series()
		var own labels.Labels
		parser.Labels(&own)
		series := withTarget(own, s.Labels)
		if _, err := app.Append(0, series, at, sample); err != nil {
			return nil, err
		}
		found[series.String()] = series
	}
	return found, nil
}

// withTarget adds the labels of the target to a series. A label of the series with the same name is called
// exported_… then.
func withTarget(own labels.Labels, target map[string]string) labels.Labels {
	b := labels.NewBuilder(own)
	for _, name := range slices.Sorted(maps.Keys(target)) {
		if before := own.Get(name); before != "" {
			b.Set("exported_"+name, before)
		}
		b.Set(name, target[name])
	}
	return b.Labels()
}
