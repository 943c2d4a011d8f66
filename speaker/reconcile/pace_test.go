package reconcile

import (
	"testing"
	"time"
)

func TestLoopRestsLongerWhenAPlanTakesLong(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct{ took, urgent, others time.Duration }{
		{ms, 5 * ms, 50 * ms},
		{10 * ms, 5 * ms, 50 * ms},
		{40 * ms, 20 * ms, 160 * ms},
		{90 * ms, 45 * ms, 360 * ms},
		{time.Minute, 50 * ms, 400 * ms},
	} {
		if urgent, others := rests(c.took); urgent != c.urgent || others != c.others {
			t.Errorf("after a plan that took %v: %v for urgent changes and %v for others, want %v and %v", c.took, urgent, others, c.urgent, c.others)
		}
	}
}
