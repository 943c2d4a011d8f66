package heartbeat

import (
	"fmt"
	"time"
)

// Timing says how fast a dead member is detected.
type Timing struct {
	// Kernel says how the kernels of the members are watched.
	Kernel KernelTiming
	// Interval is the time between two heartbeats on a path on which the member's kernel is not
	// watched, and Misses how many intervals may pass without a message.
	Interval time.Duration
	Misses   int
	// SlowInterval and SlowMisses are the same for a path on which the kernel is watched.
	SlowInterval time.Duration
	SlowMisses   int
}

// KernelTiming says how fast a kernel that does not answer is detected.
type KernelTiming struct {
	// Interval is the time between two probes, Again the time between two probes after one
	// that has no answer.
	Interval, Again time.Duration
	// Detection is the time without an answer after which a kernel is dead, if Misses probes
	// have no answer. On a path that loses frames it takes more of them.
	Detection time.Duration
	Misses    int
}

// The timings that an operator can choose by name.
var (
	defaultTiming = Timing{
		Kernel:   KernelTiming{Interval: 20 * time.Millisecond, Again: 5 * time.Millisecond, Detection: 60 * time.Millisecond, Misses: 8},
		Interval: 100 * time.Millisecond, Misses: 3, SlowInterval: 250 * time.Millisecond, SlowMisses: 4,
	}
	fastTiming = Timing{
		Kernel:   KernelTiming{Interval: 10 * time.Millisecond, Again: 3 * time.Millisecond, Detection: 30 * time.Millisecond, Misses: 6},
		Interval: 50 * time.Millisecond, Misses: 3, SlowInterval: 250 * time.Millisecond, SlowMisses: 4,
	}
	calmTiming = Timing{
		Kernel:   KernelTiming{Interval: 100 * time.Millisecond, Again: 25 * time.Millisecond, Detection: 500 * time.Millisecond, Misses: 12},
		Interval: 250 * time.Millisecond, Misses: 6, SlowInterval: 500 * time.Millisecond, SlowMisses: 6,
	}
)

// Detection is the time without a message after which a path expires on which the member's
// kernel is not watched.
func (t Timing) Detection() time.Duration { return t.Interval * time.Duration(t.Misses) }

// SlowDetection is the same for a path on which the kernel is watched. After a freeze of this
// time other nodes may have replaced this one.
func (t Timing) SlowDetection() time.Duration { return t.SlowInterval * time.Duration(t.SlowMisses) }

// again is the shortest time between two messages that are sent out of turn, because a
// heartbeat is late or because the suspicions have changed.
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
	return Timing{}, fmt.Errorf("unknown value %q: write default (detects a dead node after %v), fast (%v) or calm (%v)",
		name, defaultTiming.Kernel.Detection, fastTiming.Kernel.Detection, calmTiming.Kernel.Detection)
}
