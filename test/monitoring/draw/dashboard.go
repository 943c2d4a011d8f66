package main

import (
	"encoding/json"
	"fmt"
	"os"
)

// dashboard is what this program reads of the file for Grafana.
type dashboard struct {
	Title       string
	Panels      []panel
	Annotations struct{ List []annotation }
	Templating  struct{ List []variable }
}

// panel is one panel, or a row, which is the heading of the panels below it.
type panel struct {
	ID              int
	Type, Title     string
	GridPos         gridPos
	FieldConfig     struct{ Defaults fieldConfig }
	Options         options
	Targets         []target
	Transformations []struct {
		ID      string
		Options organize
	}
}

// gridPos is the place of a panel in a grid of 24 columns.
type gridPos struct{ X, Y, W, H int }

// target is a query of a panel.
type target struct {
	Expr, LegendFormat, RefID, Format string
	Instant                           bool
}

type fieldConfig struct {
	Unit       string
	Decimals   *int
	Min, Max   *float64
	NoValue    string
	Thresholds struct{ Steps []threshold }
	Mappings   []struct {
		Options map[string]struct{ Text, Color string }
	}
	Custom struct {
		LineInterpolation, ShowPoints string
		FillOpacity, LineWidth        float64
		Stacking                      struct{ Mode string }
	}
}

// threshold gives a color to values from Value on. The first one has no Value.
type threshold struct {
	Color string
	Value *float64
}

type options struct {
	ColorMode string
	Legend    struct{ ShowLegend bool }
}

// organize orders, hides and renames the columns of a table.
type organize struct {
	ExcludeByName map[string]bool
	IndexByName   map[string]int
	RenameByName  map[string]string
}

// annotation is a query. Where it finds something, a line is drawn in all time series.
type annotation struct {
	Name, Expr, IconColor, Step string
	Enable                      bool
}

// drawn reports whether the annotation is a query, and switched on.
func (a annotation) drawn() bool { return a.Expr != "" && a.Enable }

type variable struct {
	Name, Type, AllValue string
	Query                any
}

// readDashboard reads the file for Grafana.
func readDashboard(path string) (d dashboard, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return d, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(d.Panels) == 0 {
		return d, fmt.Errorf("%s has no panels: name the file of a dashboard for Grafana", path)
	}
	return d, nil
}
