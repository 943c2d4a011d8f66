package integration

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

const spreadCondition = "lb.baremetal/Spread"

// spread asks that all nodes serve the addresses of the Service.
func spread(s *v1.Service) { annotated("lb.baremetal/spread", "true")(s) }

// spreads waits until these nodes, and no others, carry the connections to the addresses of a
// Service. It returns the addresses.
func (f *fixture) spreads(name string, nodes ...string) (vips []string) {
	f.Helper()
	vips = strings.Split(f.assigned(name), ",")
	f.says(name, spreadCondition, metav1.ConditionTrue, "Spread", "")
	for _, vip := range vips {
		f.carriedBy(vip, nodes...)
	}
	return vips
}

// carriedBy waits until these nodes, and no others, carry the connections of the client.
func (f *fixture) carriedBy(vip string, nodes ...string) {
	f.Helper()
	var carriers map[string]int
	var fails error
	err := f.cluster.Wait(context.Background(), fmt.Sprintf("%s is carried by %v", vip, nodes), func() bool {
		// With 40 connections, less than one in a million tests misses a node that carries a third.
		carriers, fails = f.cluster.Carried(context.Background(), cluster.OnSegment, vip, "80", 40)
		return fails == nil && slices.Equal(slices.Sorted(maps.Keys(carriers)), nodes)
	})
	if err != nil {
		f.Fatalf("%v; it is carried by %v, and the last error is %v", err, carriers, fails)
	}
}

// shares opens 1,000 connections to an address, and returns the percentage that each node carries.
func (f *fixture) shares(from, vip, port string) map[string]float64 {
	f.Helper()
	const n = 1000
	carriers, err := f.cluster.Carried(f.Context(), from, vip, port, n)
	f.must(err)
	shares := map[string]float64{}
	for node, count := range carriers {
		shares[node] = 100 * float64(count) / n
	}
	f.Logf("%d connections from the host %s to %s: %v", n, from, vip, carriers)
	return shares
}

// even checks that each of the three nodes carries between 25 and 42 percent.
func (f *fixture) even(shares map[string]float64) {
	f.Helper()
	for _, node := range allNodes {
		if shares[node] < 25 || shares[node] > 42 {
			f.Errorf("%s carries %.1f percent", node, shares[node])
		}
	}
	if len(shares) != len(allNodes) {
		f.Errorf("%d nodes carry connections", len(shares))
	}
}

var allNodes = []string{"node1", "node2", "node3"}

// restartSpeakers restarts all speakers, one after the other, with additional flags. They forget
// how often others failed.
func (f *fixture) restartSpeakers(flags ...string) {
	f.Helper()
	for _, n := range f.cluster.Nodes() {
		n.Speaker().Stop()
		f.must(n.StartSpeaker(context.Background(), flags...))
		f.must(n.WaitReady(context.Background()))
		f.settled()
	}
}

func TestSpreadSharesConnectionsEvenly(t *testing.T) {
	f := setUp(t)
	f.router(cluster.RouterOptions{Daemon: "BIRD"})
	f.create(service("even", spread, dual))
	for _, vip := range f.spreads("even", allNodes...) {
		for _, from := range []string{cluster.OnSegment, cluster.Outside} {
			f.even(f.shares(from, vip, "80"))
		}
	}
	f.says("even", spreadCondition, metav1.ConditionTrue, "Spread", "is spread over 3 nodes")
}

func TestSpreadFollowsThePoolAndTheAnnotation(t *testing.T) {
	f := setUp(t)
	f.pools(strings.Replace(cluster.DefaultPools, "  protocol: layer2\n", "  protocol: layer2\n  spread: true\n", 1))
	f.create(service("pooled"))
	vip := f.spreads("pooled", allNodes...)[0]
	f.kubectl("annotate", "service", "pooled", "lb.baremetal/spread=false")
	f.carriedBy(vip, f.announcer(vip).Name)
	f.eventually("the condition is gone", func() bool { return f.condition("pooled", spreadCondition) == nil })
	f.kubectl("annotate", "service", "pooled", "lb.baremetal/spread-")
	f.spreads("pooled", allNodes...)
	f.must(f.cluster.SetPools(f.Context(), cluster.DefaultPools))
	f.carriedBy(vip, f.announcer(vip).Name)
}

func TestSpreadServesTwoServicesWithOneAddress(t *testing.T) {
	f := setUp(t)
	f.create(service("first", spread, sharing("spread")))
	f.create(service("second", spread, sharing("spread"), port(v1.ProtocolTCP, 8080)))
	vip := f.spreads("first", allNodes...)[0]
	f.has("second", vip)
	f.says("second", spreadCondition, metav1.ConditionTrue, "Spread", "")
	f.even(f.shares(cluster.OnSegment, vip, "80"))
	f.even(f.shares(cluster.OnSegment, vip, "8080"))
	f.remove("first")
	f.even(f.shares(cluster.OnSegment, vip, "8080"))
}

func TestSpreadThatIsOffOnAllNodesFallsBackToOneOwner(t *testing.T) {
	f := setUp(t)
	f.restartSpeakers("--spread=off")
	f.Cleanup(func() { f.restartSpeakers() })
	f.create(service("alone", spread))
	vip := f.assigned("alone")
	f.says("alone", spreadCondition, metav1.ConditionFalse, "NotCapable", "--spread=off")
	f.says("alone", announced, metav1.ConditionTrue, "Announced", "")
	owner := f.owner(vip)
	f.carriedBy(vip, owner.Name)
	text, err := owner.Get(f.Context(), "/metrics")
	f.must(err)
	if !strings.Contains(text, "\nbaremetal_spread_fallbacks{reason=\"NotCapable\"} 1\n") {
		f.Errorf("the metric of the owner is missing:\n%s", grep(text, "baremetal_spread"))
	}
	f.restartSpeakers()
	f.spreads("alone", allNodes...)
}
