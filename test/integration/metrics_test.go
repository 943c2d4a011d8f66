package integration

import (
	"context"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

func TestSpeakerMetricsAreDocumented(t *testing.T) {
	f := setUp(t)
	page, err := os.ReadFile("../../docs/reference/metrics.md")
	f.must(err)
	f.router(cluster.RouterOptions{Daemon: "BIRD", BFD: 100 * time.Millisecond})
	f.pools(routedPools("both", ", bfd-profile: fast"))
	f.create(service("measured", labelled("routed")))
	f.assigned("measured")
	f.bfdUp()
	text, err := f.cluster.Node("node1").Get(context.Background(), "/metrics")
	f.must(err)
	metrics := regexp.MustCompile(`(?m)^# TYPE (baremetal_\w+) `).FindAllStringSubmatch(text, -1)
	if len(metrics) < 25 {
		f.Errorf("node1 serves only %d metrics of this project", len(metrics))
	}
	for _, m := range metrics {
		if !regexp.MustCompile("(?m)^\\| `" + m[1] + "` \\|").Match(page) {
			f.Errorf("%s has no row in docs/reference/metrics.md", m[1])
		}
	}
}
