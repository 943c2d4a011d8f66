package heartbeat

import (
	"fmt"
	"time"
)

// Timing says how fast a dead member is detected.
type Timing struct {
	// Interval is the time between two heartbeats.
	Interval time.Duration
	// Misses is how many intervals may pass without a message.
	Misses int
}

// The timings that an operator can choose by name.
var (
	defaultTiming = Timing{Interval: 100 * time.Millisecond, Misses: 3}
	fastTiming    = Timing{Interval: 50 * time.Millisecond, Misses: 3}
	calmTiming    = Timing{Interval: 250 * time.Millisecond, Misses: 6}
)

// Detection is the time without a message after which a path expires.
func (t Timing) Detection() time.Duration { return t.Interval * time.Duration(t.Misses) }

// late is the time without a message after which a member is probed, so that a few
// lost packets do not make it look dead.
func (t Timing) late() time.Duration { return t.Interval * 3 / 2 }

// again is the time between two such probes.
func (t Timing) again() time.Duration { return t.Interval / 3 }

// ParseTiming returns the Timing of that name.
func ParseTiming(name string) (Timing, error) {
	switch name {
	case "default":
		return defaultTiming, nil
	case "fast":
		return fastTiming, nil
	case "calm":
		return calmTiming, nil
	}
	return Timing{}, fmt.Errorf("unknown value %q: write default (detects a dead node after %v), fast (%v) or calm (%v)", name, defaultTiming.Detection(), fastTiming.Detection(), calmTiming.Detection())
}
