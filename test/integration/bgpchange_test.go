package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

func TestBGPRouterSendsNothingToADeadNode(t *testing.T) {
	f := setUp(t)
	for _, daemon := range daemons {
		f.Run(daemon, func(f *fixture) {
			r := f.router(cluster.RouterOptions{Daemon: daemon, BFD: 100 * time.Millisecond})
			f.pools(routedPools("bgp", ", bfd-profile: fast"))
			f.create(service("dying", labelled("routed")))
			vip := f.assigned("dying")
			f.routedOver(r, vip, "node1", "node2", "node3")
			f.bfdUp()
			dead := f.cluster.Node("node2")
			f.must(dead.Kill())
			f.Cleanup(func() { f.must(dead.Revive()); f.settled() })
			f.routedOver(r, vip, "node1", "node3")
			for range 50 {
				_, err := r.Fetch(f.Context(), vip)
				f.must(err)
			}
			f.must(dead.Revive())
			f.routedOver(r, vip, "node1", "node2", "node3")
		})
	}
}

// When the routes change, the router hashes connections to other nodes. A connection
// that is being opened at that moment may reach a node that does not know it, and fail.
func TestRollingRestartLosesNoConnection(t *testing.T) {
	f := setUp(t)
	for _, test := range []struct {
		name   string
		router cluster.RouterOptions
		peer   string
		lost   int // connections that each restart may cost at most
	}{
		{"withdrawn routes", cluster.RouterOptions{Daemon: "FRR"}, "", 2},
		{"graceful restart", cluster.RouterOptions{Daemon: "FRR", Graceful: true}, ", graceful-restart: 60s", 0},
		{"graceful restart and BFD", cluster.RouterOptions{Daemon: "BIRD", Graceful: true, BFD: 100 * time.Millisecond}, ", graceful-restart: 60s, bfd-profile: fast", 0},
	} {
		f.Run(test.name, func(f *fixture) {
			r := f.router(test.router)
			f.pools(routedPools("bgp", test.peer))
			f.create(service("rolling", labelled("routed")))
			vip := f.assigned("rolling")
			f.routedOver(r, vip, "node1", "node2", "node3")
			if test.router.BFD > 0 {
				f.bfdUp()
			}
			f.eventually("a page", func() bool { _, err := r.Fetch(f.Context(), vip); return err == nil })
			probe, err := r.StartProbe(vip)
			f.must(err)
			defer probe.Stop()
			begun := time.Now()
			for _, n := range f.cluster.Nodes() {
				n.Speaker().Stop()
				if test.router.Graceful {
					f.routedOver(r, vip, "node1", "node2", "node3")
				} else {
					f.routedOver(r, vip, slices.DeleteFunc([]string{"node1", "node2", "node3"}, func(name string) bool { return name == n.Name })...)
				}
				f.must(n.StartSpeaker(context.Background()))
				f.must(n.WaitReady(context.Background()))
				f.eventually("the session of "+n.Name+" is up", func() bool {
					text, err := n.Get(context.Background(), "/metrics")
					return err == nil && strings.Contains(text, `baremetal_bgp_session_up{peer="router"} 1`)
				})
				f.routedOver(r, vip, "node1", "node2", "node3")
				f.settled()
			}
			n := len(probe.Attempts(begun))
			f.eventually("100 more connections", func() bool { return len(probe.Attempts(begun)) > n+100 })
			failed := 0
			for _, a := range probe.Attempts(begun) {
				if !a.OK {
					failed++
				}
			}
			f.Logf("%d connections, %d failed", len(probe.Attempts(begun)), failed)
			if failed > test.lost*len(f.cluster.Nodes()) {
				f.Errorf("%d connections failed", failed)
			}
		})
	}
}

func TestDrainedNodeWithdrawsItsRoutes(t *testing.T) {
	f := setUp(t)
	r := f.router(cluster.RouterOptions{Daemon: "FRR", Graceful: true})
	f.pools(routedPools("bgp", ", graceful-restart: 60s"))
	f.create(service("drained", labelled("routed")))
	vip := f.assigned("drained")
	f.routedOver(r, vip, "node1", "node2", "node3")
	probe, err := r.StartProbe(vip)
	f.must(err)
	defer probe.Stop()
	begun := time.Now()
	n := f.cluster.Node("node1")
	f.kubectl("drain", n.Name, "--ignore-daemonsets", "--force")
	f.Cleanup(func() { f.kubectl("uncordon", n.Name) })
	f.routedOver(r, vip, "node1", "node2", "node3") // a drained node still forwards until it is shut down
	n.Speaker().Stop()
	f.Cleanup(func() {
		f.must(n.StartSpeaker(context.Background()))
		f.must(n.WaitReady(context.Background()))
		f.settled()
	})
	f.routedOver(r, vip, "node2", "node3")
	attempts := len(probe.Attempts(begun))
	f.eventually("100 more connections", func() bool { return len(probe.Attempts(begun)) > attempts+100 })
	if failed := slices.DeleteFunc(probe.Attempts(begun), func(a cluster.Attempt) bool { return a.OK }); len(failed) > 2 {
		f.Errorf("%d connections failed", len(failed))
	}
}

// The kubelet says so in the condition Ready when the machine shuts down. The speaker then
// gets a SIGTERM, as in every other restart.
func TestNodeThatShutsDownWithdrawsItsRoutes(t *testing.T) {
	f := setUp(t)
	r := f.router(cluster.RouterOptions{Daemon: "FRR", Graceful: true})
	f.pools(routedPools("bgp", ", graceful-restart: 300s"))
	f.create(service("shutdown", labelled("routed")))
	vip := f.assigned("shutdown")
	f.routedOver(r, vip, "node1", "node2", "node3")
	n := f.cluster.Node("node1")
	ready := func(status, reason, message string) {
		f.kubectl("patch", "node", n.Name, "--subresource=status", "-p", fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":%q,"reason":%q,"message":%q}]}}`, status, reason, message))
	}
	ready("False", "KubeletNotReady", "node is shutting down")
	f.Cleanup(func() { ready("True", "StandIn", "") })
	f.routedOver(r, vip, "node1", "node2", "node3") // it still forwards
	n.Speaker().Stop()
	f.Cleanup(func() {
		f.must(n.StartSpeaker(context.Background()))
		f.must(n.WaitReady(context.Background()))
		f.settled()
	})
	f.routedOver(r, vip, "node2", "node3")
}

func TestBGPRouterGetsAllRoutesAgainAfterARestart(t *testing.T) {
	f := setUp(t)
	r := f.router(cluster.RouterOptions{Daemon: "BIRD"})
	f.pools(routedPools("bgp", ""))
	f.create(service("told", labelled("routed")))
	vip := f.assigned("told")
	f.routedOver(r, vip, "node1", "node2", "node3")
	r.Kill()
	f.must(r.Forget())
	f.routedOver(r, vip)
	f.eventually("/debug/bgp of node2 names the problem", func() bool {
		text, err := f.cluster.Node("node2").Get(context.Background(), "/debug/bgp")
		return err == nil && !strings.Contains(text, "ESTABLISHED") && strings.Contains(text, "problem=")
	})
	f.event("Node", "node2", "BGPSessionDown", "closed the connection without a NOTIFICATION")
	f.must(r.Restart(f.Context()))
	f.routedOver(r, vip, "node1", "node2", "node3")
	f.eventually("a page", func() bool { _, err := r.Fetch(f.Context(), vip); return err == nil })
}

// A pool that is removed must not take the traffic of its Services away, whether a
// speaker knew the pool or has been restarted since.
func TestOrphanOfABGPPoolStaysReachable(t *testing.T) {
	f := setUp(t)
	r := f.router(cluster.RouterOptions{Daemon: "FRR"})
	f.pools(routedPools("bgp", ""))
	f.create(service("orphan", labelled("routed")))
	vip := f.assigned("orphan")
	f.routedOver(r, vip, "node1", "node2", "node3")
	f.eventually("a page", func() bool { _, err := r.Fetch(f.Context(), vip); return err == nil })
	probe, err := r.StartProbe(vip)
	f.must(err)
	defer probe.Stop()
	begun := time.Now()

	withPool := routedPools("bgp", "")
	f.pools(withPool[:strings.Index(withPool, "- name: routed")])
	f.event("Service", "orphan", "AddressOutsidePools", vip+" is in no pool")
	for _, n := range f.cluster.Nodes() {
		f.eventually(n.Name+" advertises the orphan", func() bool {
			text, err := n.Get(context.Background(), "/debug/plan")
			return err == nil && strings.Contains(text, vip+" services=default/orphan pool=none ") && strings.Contains(text, " bgp=Advertised")
		})
	}
	f.routedOver(r, vip, "node1", "node2", "node3")
	n := len(probe.Attempts(begun))
	f.eventually("100 more connections", func() bool { return len(probe.Attempts(begun)) > n+100 })
	for _, a := range probe.Attempts(begun) {
		if !a.OK {
			f.Errorf("a connection failed %v after the probe began", a.Start.Sub(begun))
		}
	}

	restarted := f.cluster.Node("node2")
	restarted.Speaker().Stop()
	f.routedOver(r, vip, "node1", "node3")
	f.must(restarted.StartSpeaker(context.Background()))
	f.routedOver(r, vip, "node1", "node2", "node3")
}
