package heartbeat

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// Prometheus' increase() does not see the first count of a counter that appears with it.
func TestRejectionsAreCountedFromZero(t *testing.T) {
	reasons := make(chan prometheus.Metric, 10)
	newMetrics(prometheus.NewRegistry(), nil).rejected.Collect(reasons)
	if len(reasons) != 3 {
		t.Errorf("%d reasons have a counter, want 3", len(reasons))
	}
}
