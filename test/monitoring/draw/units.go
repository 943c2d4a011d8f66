package main

import (
	"fmt"
	"math"
	"strconv"
)

// unit says how Grafana writes the numbers of a unit.
type unit struct {
	factor   float64
	base     float64  // of the prefixes
	prefixes []string // the first one is for numbers below base
	suffix   string
}

var units = map[string]unit{
	"none":        {factor: 1},
	"short":       {factor: 1, base: 1000, prefixes: []string{"", " K", " Mil", " Bil", " Tri"}},
	"percentunit": {factor: 100, suffix: "%"},
	"bytes":       {factor: 1, base: 1024, prefixes: []string{" ", " Ki", " Mi", " Gi", " Ti"}, suffix: "B"},
	"Bps":         {factor: 1, base: 1000, prefixes: []string{" ", " k", " M", " G", " T"}, suffix: "B/s"},
	"pps":         {factor: 1, base: 1000, prefixes: []string{" ", " k", " M", " G", " T"}, suffix: "p/s"},
	"reqps":       {factor: 1, base: 1000, prefixes: []string{" ", " K", " Mil", " Bil", " Tri"}, suffix: "req/s"},
	"ops":         {factor: 1, base: 1000, prefixes: []string{" ", " K", " Mil", " Bil", " Tri"}, suffix: "ops/s"},
}

// knownUnit reports whether this program can write numbers of that unit.
func knownUnit(name string) bool {
	_, ok := units[name]
	return ok || name == ""
}

// format writes a value with its unit. decimals is the number of digits after the point; nil means as many as
// three digits need.
func format(name string, value float64, decimals *int) string {
	u, ok := units[name]
	if !ok {
		u = units["none"]
	}
	value *= u.factor
	prefix := ""
	if len(u.prefixes) > 0 {
		n := 0
		for math.Abs(value) >= u.base && n+1 < len(u.prefixes) {
			value /= u.base
			n++
		}
		prefix = u.prefixes[n]
	}
	digits := 0
	switch size := math.Abs(value); {
	case decimals != nil && prefix == "":
		digits = *decimals
	case value == math.Trunc(value) || size >= 100:
	case size >= 10:
		digits = 1
	case size >= 1:
		digits = 2
	default:
		digits = 3
	}
	if digits == 3 { // trailing zeros of small numbers say nothing
		short, _ := strconv.ParseFloat(fmt.Sprintf("%.3f", value), 64) // it was just written
		return strconv.FormatFloat(short, 'f', -1, 64) + prefix + u.suffix
	}
	return strconv.FormatFloat(value, 'f', digits, 64) + prefix + u.suffix
}

// colorOf returns the color of a value.
func colorOf(steps []threshold, value float64) string {
	color := "green"
	for _, s := range steps {
		if s.Value == nil || value >= *s.Value {
			color = s.Color
		}
	}
	return color
}
