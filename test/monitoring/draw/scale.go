package main

import (
	"math"
	"time"
)

// scale is an axis: its ends, and where it has lines.
type scale struct {
	min, max float64
	ticks    []float64
}

// scaleOf returns an axis for values from low to high. fixedMin and fixedMax are ends that the dashboard names.
// With whole, the lines are at whole numbers. base is 1000, or 1024 for bytes.
func scaleOf(low, high float64, fixedMin, fixedMax *float64, whole bool, base float64) scale {
	if fixedMin != nil {
		low = math.Min(*fixedMin, low)
	}
	if fixedMax != nil {
		high = *fixedMax
	}
	if high <= low {
		high = low + 1
	}
	s := scale{min: low, max: high}
	if fixedMax == nil {
		s.max += (high - low) * 0.1
	}
	if fixedMin == nil {
		s.min -= (high - low) * 0.1
	}
	step := niceStep((s.max-s.min)/5, base)
	if whole {
		step = math.Max(1, math.Round(step))
	}
	for n := math.Ceil(s.min / step); n*step <= s.max*(1+1e-9); n++ {
		s.ticks = append(s.ticks, n*step+0) // + 0: never -0
	}
	return s
}

// niceStep returns 1, 2 or 5 times a power of ten, not less than atLeast. With base 1024 it returns a power of two
// for large numbers.
func niceStep(atLeast, base float64) float64 {
	if base == 1024 && atLeast >= 1 {
		return math.Pow(2, math.Ceil(math.Log2(atLeast)))
	}
	power := math.Pow(10, math.Floor(math.Log10(atLeast)))
	for _, n := range []float64{1, 2, 5} {
		if n*power >= atLeast*(1-1e-9) {
			return n * power
		}
	}
	return 10 * power
}

// timeTicks returns the times at which a time axis has lines, about every eighth of the period.
func timeTicks(from, to time.Time) (ticks []time.Time) {
	step := time.Minute
	for _, s := range steps {
		if step = s; s >= to.Sub(from)/8 {
			break
		}
	}
	for t := from.Truncate(step).Add(step); t.Before(to); t = t.Add(step) {
		ticks = append(ticks, t)
	}
	return ticks
}
