package integration

import (
	"context"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// The API server decides who may read the metrics. Health and debug pages cannot be reached
// from other hosts.
func TestMetricsAreForAllowedClientsOnly(t *testing.T) {
	f := setUp(t)
	node := f.cluster.Node("node1")
	f.kubectl("-n", "default", "create", "serviceaccount", "scraper")
	f.Cleanup(func() { f.kubectl("-n", "default", "delete", "serviceaccount", "scraper") })
	token := strings.TrimSpace(f.kubectl("-n", "default", "create", "token", "scraper"))
	gets := func(what, token string, want int, text string) {
		f.Helper()
		f.eventually(what, func() bool {
			status, page, err := node.Scrape(f.Context(), token)
			return err == nil && status == want && strings.Contains(page, text)
		})
	}
	gets("a client without a token is refused", "", http.StatusUnauthorized, "send the token")
	gets("a client with a wrong token is refused", "wrong", http.StatusUnauthorized, "send the token")
	gets("a client without the right is refused", token, http.StatusForbidden, "system:serviceaccount:default:scraper")
	f.kubectl("create", "clusterrolebinding", "scraper", "--clusterrole=baremetal-metrics-reader", "--serviceaccount=default:scraper")
	f.Cleanup(func() { f.kubectl("delete", "clusterrolebinding", "scraper", "--ignore-not-found") })
	gets("a client with the right gets the metrics", token, http.StatusOK, `baremetal_http_rejected_total{reason="forbidden"}`)
	if c, err := node.Dial(f.Context(), 7473); err == nil {
		c.Close()
		f.Error("the port of the health and debug pages can be reached from another host")
	}
	f.kubectl("delete", "clusterrolebinding", "scraper")
	f.must(f.cluster.WaitFor(f.Context(), "the right that was taken ends", 90*time.Second, func() bool {
		status, _, err := node.Scrape(f.Context(), token)
		time.Sleep(time.Second)
		return err == nil && status == http.StatusForbidden
	}))
}

// A host that opens 2,000 connections costs the speaker little, and nobody else notices.
func TestStrangerWithManyConnectionsCostsLittle(t *testing.T) {
	f := setUp(t)
	node := f.cluster.Node("node1")
	f.create(service("flooded"))
	vip := f.assigned("flooded")
	f.fetched(vip)
	_, err := node.Get(f.Context(), "/metrics")
	f.must(err)
	before, err := node.Speaker().Memory()
	f.must(err)
	lines := strings.Count(node.Speaker().Log(), "\n")
	open := 0
	for range 2000 {
		c, err := node.Dial(f.Context(), 7472)
		if err == nil {
			f.Cleanup(func() { c.Close() })
			open++
		}
	}
	after, err := node.Speaker().Memory()
	f.must(err)
	f.Logf("%d connections, the speaker has %d KB more", open, (after-before)>>10)
	if after-before > 8<<20 {
		f.Errorf("the speaker had %d KB and has %d KB", before>>10, after>>10)
	}
	text, err := node.Get(f.Context(), "/metrics") // from another address
	f.must(err)
	if refused := regexp.MustCompile(`baremetal_http_rejected_total\{reason="(connections|rate)"\} [1-9]`); !refused.MatchString(text) {
		f.Errorf("the refused connections are not counted:\n%s", grep(text, "rejected_total"))
	}
	if more := strings.Count(node.Speaker().Log(), "\n") - lines; more > 20 {
		f.Errorf("%d log lines", more)
	}
	f.stillRuns("flooded", vip)
}

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
