package integration

import (
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// seenBy opens n connections to an address, and returns how many of them each pod answered. It checks
// that each pod saw the client's address.
func (f *fixture) seenBy(from, vip, client string, n int) map[string]int {
	f.Helper()
	pods := map[string]int{}
	for range n {
		p := f.page(from, vip)
		if p.Client != client {
			f.Fatalf("the pod %s saw the address %s, want %s", p.Pod, p.Client, client)
		}
		pods[p.Pod]++
	}
	return pods
}

// page gets the page of a pod.
func (f *fixture) page(from, vip string) cluster.Page {
	f.Helper()
	text, err := f.cluster.FetchFrom(f.Context(), from, vip, "80")
	f.must(err)
	p, err := cluster.ParsePage(text)
	f.must(err)
	return p
}

func TestSpreadKeepsClientAddressesWithLocalPolicy(t *testing.T) {
	f := setUp(t)
	f.router(cluster.RouterOptions{Daemon: "BIRD"})
	f.runOn("weight1", "weighted", "node1")
	f.runOn("weight2", "weighted", "node2")
	f.runOn("weight2b", "weighted", "node2")
	f.create(service("weighted", spread, local("weighted"), dual))
	vips := f.spreads("weighted", "node1", "node2")
	for i, vip := range vips {
		for from, clients := range map[string][]string{
			cluster.OnSegment: {"192.168.120.100", "fd00:120::100"},
			cluster.Outside:   {"172.31.0.100", "fd00:130::100"},
		} {
			pods := f.seenBy(from, vip, clients[i], 1000)
			f.Logf("%s to %s: %v", from, vip, pods)
			for _, pod := range []string{"weight1", "weight2", "weight2b"} {
				if pods[pod] < 250 || pods[pod] > 420 {
					f.Errorf("%s to %s: the pod %s answered %d of 1000 connections", from, vip, pod, pods[pod])
				}
			}
		}
	}
	f.kubectl("delete", "pod", "weight1")
	f.says("weighted", spreadCondition, "False", "OneCandidate", "")
	for _, vip := range vips {
		f.carriedBy(vip, "node2")
	}
}

func TestSpreadLosesNoConnectionWhenEndpointsAreAdded(t *testing.T) {
	f := setUp(t)
	f.runOn("scaled1", "scaled", "node1")
	f.runOn("scaled2", "scaled", "node2")
	f.create(service("scaled", spread, local("scaled")))
	vip := f.spreads("scaled", "node1", "node2")[0]
	talks := f.talks(cluster.OnSegment, vip)
	begun := time.Now()
	f.runOn("scaled3", "scaled", "node3")
	f.carriedBy(vip, allNodes...)
	f.loseNone(talks, begun)
	begun = time.Now()
	f.kubectl("delete", "pod", "scaled3")
	f.carriedBy(vip, "node1", "node2")
	f.loseNone(talks, begun)
}

// A pod that is gone takes its connections along. All others go on.
func TestSpreadLosesOnlyConnectionsOfARemovedPod(t *testing.T) {
	f := setUp(t)
	for _, node := range allNodes {
		f.runOn("shrinks-"+node, "shrinks", node)
	}
	f.create(service("shrinks", spread, local("shrinks")))
	vip := f.spreads("shrinks", allNodes...)[0]
	talks := f.talks(cluster.OnSegment, vip)
	announcer, begun := f.announcer(vip), time.Now()
	f.kubectl("delete", "pod", "shrinks-"+announcer.Name)
	f.carriedBy(vip, others(announcer)...)
	f.loseNone(talks, begun, announcer.Name)
}
