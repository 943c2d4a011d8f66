package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// talks opens 200 connections to an address that talk every 100 ms, and closes them at the end of the
// test.
func (f *fixture) talks(from, vip string) *cluster.Talks {
	f.Helper()
	talks, err := f.cluster.StartTalks(f.Context(), from, vip, 200, 100*time.Millisecond)
	f.must(err)
	f.Cleanup(talks.Stop)
	f.Logf("the nodes carry %v", talks.Carriers())
	return talks
}

// goesOn waits until every connection is lost, or goes on after everything that was done.
func (f *fixture) goesOn(talks *cluster.Talks) {
	f.Helper()
	now := time.Now()
	f.eventually("all connections go on", func() bool { return talks.GoOn(now, 5) })
}

// loseNone checks that no connection is lost, except those that these nodes carried.
func (f *fixture) loseNone(talks *cluster.Talks, since time.Time, except ...string) {
	f.Helper()
	f.goesOn(talks)
	lost := talks.Lost()
	f.Logf("%d connections lost, longest stall of the others %v", len(lost), talks.LongestStall(since).Round(time.Millisecond))
	for _, t := range talks.Stalled(since, time.Second) {
		f.Logf("a long stall: %v", t)
	}
	wrong := slices.DeleteFunc(lost, func(t *cluster.Talk) bool { return slices.Contains(except, t.Carrier) })
	for i, t := range wrong {
		f.Errorf("a connection is lost (%d of %d): %v; the nodes know of it:\n%s", i+1, len(wrong), t.Err(), t.Known())
		if i == 5 {
			break
		}
	}
}

// isExcluded says that a node gets the label that excludes it from load balancers, or loses it.
func (f *fixture) isExcluded(n *cluster.Node, excluded bool) {
	f.Helper()
	label := v1.LabelNodeExcludeBalancers + "-"
	if excluded {
		label = v1.LabelNodeExcludeBalancers + "="
	}
	f.kubectl("label", "node", n.Name, label, "--overwrite")
}

// others returns the names of the nodes without that node.
func others(n *cluster.Node) []string {
	return slices.DeleteFunc(slices.Clone(allNodes), func(name string) bool { return name == n.Name })
}

// forgetFailures restarts the speakers, so that no node is suppressed for its failures in another test.
// Nodes that fail carry flows again after two seconds. At its end, the test should restart the speakers.
func (f *fixture) forgetFailures() {
	f.Helper()
	f.restartSpeakers("--failback-after=2s")
}

func TestSpreadLosesNoConnectionWhenNothingDies(t *testing.T) {
	f := setUp(t)
	f.Cleanup(func() { f.restartSpeakers() })
	ctx := context.Background()
	start := func(f *fixture, nodes ...*cluster.Node) {
		for _, n := range nodes {
			f.must(n.StartSpeaker(ctx, "--failback-after=2s"))
			f.must(n.WaitReady(ctx))
		}
		f.settled()
	}
	for i, move := range []struct {
		name string
		do   func(f *fixture, vip string, announcer *cluster.Node)
	}{
		{"every speaker is restarted", func(f *fixture, _ string, _ *cluster.Node) {
			for _, n := range f.cluster.Nodes() {
				n.Speaker().Stop()
				start(f, n)
			}
		}},
		{"all speakers are restarted at once", func(f *fixture, vip string, announcer *cluster.Node) {
			for _, n := range f.cluster.Nodes() {
				n.Speaker().Stop()
			}
			// The first one finds no member, and takes all addresses and flows.
			first := f.cluster.Node(others(announcer)[0])
			f.must(first.StartSpeaker(ctx, "--failback-after=2s"))
			f.carriedBy(vip, first.Name)
			start(f, announcer, f.cluster.Node(others(announcer)[1]))
		}},
		{"a speaker is stopped for some time", func(f *fixture, vip string, announcer *cluster.Node) {
			announcer.Speaker().Stop()
			f.carriedBy(vip, others(announcer)...)
			start(f, announcer)
		}},
		{"the announcer's speaker is killed", func(f *fixture, vip string, announcer *cluster.Node) {
			announcer.Speaker().Kill()
			f.carriedBy(vip, others(announcer)...)
			start(f, announcer)
		}},
		{"another speaker is killed", func(f *fixture, vip string, announcer *cluster.Node) {
			other := f.cluster.Node(others(announcer)[0])
			other.Speaker().Kill()
			f.carriedBy(vip, others(other)...)
			start(f, other)
		}},
		{"the announcer's speaker hangs", func(f *fixture, vip string, announcer *cluster.Node) {
			announcer.Speaker().Freeze()
			f.carriedBy(vip, others(announcer)...)
			announcer.Speaker().Thaw()
			f.settled()
		}},
		{"every node is excluded, one after the other", func(f *fixture, vip string, _ *cluster.Node) {
			for _, n := range f.cluster.Nodes() {
				f.isExcluded(n, true)
				f.carriedBy(vip, others(n)...)
				f.isExcluded(n, false)
				f.carriedBy(vip, allNodes...)
			}
		}},
		{"the announcer is drained", func(f *fixture, vip string, announcer *cluster.Node) {
			f.kubectl("drain", announcer.Name, "--ignore-daemonsets", "--force")
			f.announcer(vip)
			f.fetched(vip)
			f.kubectl("uncordon", announcer.Name)
		}},
	} {
		f.Run(move.name, func(f *fixture) {
			f.forgetFailures()
			// A node drops segments of a connection if it has an old one of the same addresses and
			// ports. So each move has an address of its own.
			name := fmt.Sprint("planned", i)
			f.create(service(name, spread))
			vip := f.spreads(name, allNodes...)[0]
			talks := f.talks(cluster.OnSegment, vip)
			probe, err := f.cluster.StartProbe(vip)
			f.must(err)
			defer probe.Stop()
			begun := time.Now()
			move.do(f, vip, f.announcer(vip))
			f.carriedBy(vip, allNodes...)
			f.loseNone(talks, begun)
			f.opensAll(probe, begun)
		})
	}
}

// opensAll checks that all new connections could be opened. One in some ten thousand fails in these
// namespaces without any cause that is known.
func (f *fixture) opensAll(probe *cluster.Probe, since time.Time) {
	f.Helper()
	attempts := probe.Attempts(since)
	failed := slices.DeleteFunc(slices.Clone(attempts), func(a cluster.Attempt) bool { return a.OK })
	f.Logf("%d of %d new connections failed", len(failed), len(attempts))
	if len(failed) > 1 {
		for _, a := range failed {
			f.Errorf("a connection failed that was opened %v after the begin", a.Start.Sub(since).Round(time.Millisecond))
		}
	}
}

// conntrack calls the end of a connection that it does not know invalid, not new.
func TestSpreadEndsConnectionsWhoseSlotsHaveMoved(t *testing.T) {
	f := setUp(t)
	f.create(service("ended", spread))
	vip := f.spreads("ended", allNodes...)[0]
	talks, err := f.cluster.StartTalks(f.Context(), cluster.OnSegment, vip, 100, 100*time.Millisecond)
	f.must(err)
	carrier := f.cluster.Node(others(f.announcer(vip))[0])
	f.isExcluded(carrier, true)
	f.Cleanup(func() { f.isExcluded(carrier, false) })
	f.carriedBy(vip, others(carrier)...)
	talks.Stop()
	var open string
	err = f.cluster.Wait(context.Background(), "all connections have ended", func() bool {
		out, err := cluster.Namespaced(f.Context(), cluster.OnSegment, "ss", "-Htan", "exclude", "time-wait", "dst", vip).CombinedOutput()
		open = string(out)
		return err == nil && strings.TrimSpace(open) == ""
	})
	if err != nil {
		f.Errorf("%v; %d have not:\n%s", err, strings.Count(open, "\n"), open)
	}
}

// The announcer has all connections when an address becomes spread.
func TestSpreadLosesNoConnectionWhenItIsSwitchedOn(t *testing.T) {
	f := setUp(t)
	f.create(service("switched"))
	vip := f.assigned("switched")
	f.fetched(vip)
	talks := f.talks(cluster.OnSegment, vip)
	begun := time.Now()
	f.kubectl("annotate", "service", "switched", "lb.baremetal/spread=true")
	f.carriedBy(vip, allNodes...)
	f.loseNone(talks, begun)
}

// A node that cannot hand on ends the way of a segment, and may have connections itself.
func TestSpreadLosesNoConnectionBesideANodeThatIsOff(t *testing.T) {
	f := setUp(t)
	f.Cleanup(func() { f.restartSpeakers() })
	f.create(service("mixed", spread))
	vip := f.spreads("mixed", allNodes...)[0]
	talks := f.talks(cluster.OnSegment, vip)
	begun := time.Now()
	off, excluded := f.cluster.Node("node3"), f.cluster.Node("node2")
	off.Speaker().Stop()
	f.must(off.StartSpeaker(f.Context(), "--spread=off"))
	f.must(off.WaitReady(f.Context()))
	f.settled()
	f.carriedBy(vip, others(off)...)
	f.isExcluded(excluded, true)
	f.Cleanup(func() { f.isExcluded(excluded, false) })
	f.carriedBy(vip, "node1")
	f.loseNone(talks, begun)
	f.isExcluded(excluded, false)
	f.carriedBy(vip, others(off)...)
	f.loseNone(talks, begun)
}

func TestSpreadLosesOnlyConnectionsOfTheDeadAnnouncer(t *testing.T) {
	f := setUp(t)
	f.Cleanup(func() { f.restartSpeakers() })
	for _, family := range []v1.IPFamily{v1.IPv4Protocol, v1.IPv6Protocol} {
		f.Run(string(family), func(f *fixture) {
			f.forgetFailures()
			f.create(service("dies", spread, families(v1.IPFamilyPolicySingleStack, family)))
			vip := f.spreads("dies", allNodes...)[0]
			talks := f.talks(cluster.OnSegment, vip)
			dead := f.announcer(vip)
			f.must(dead.Kill())
			died := time.Now()
			f.Cleanup(func() { f.must(dead.Revive()); f.settled() })
			f.announcer(vip, dead)
			f.loseNone(talks, died, dead.Name)
			// The announcer carries a third of the slots. Less than one test in 100,000 has half of the connections there.
			if goOn := 200 - len(talks.Lost()); goOn < 100 {
				f.Errorf("%d of 200 connections go on", goOn)
			}
			if stall := talks.LongestStall(died); stall > time.Second {
				f.Errorf("the longest stall is %v", stall)
			}
			f.carriedBy(vip, others(dead)...)

			// The node returns with the slots that it had.
			lost := len(talks.Lost())
			f.must(dead.Revive())
			back := time.Now()
			f.settled()
			f.carriedBy(vip, allNodes...)
			f.loseNone(talks, back, dead.Name)
			if now := len(talks.Lost()); now != lost {
				f.Errorf("%d connections are lost after the node has returned", now-lost)
			}
		})
	}
}

// A router that hashes anew sends the connections of all nodes to other nodes.
func TestSpreadKeepsConnectionsOfARouterThatHashesAnew(t *testing.T) {
	f := setUp(t)
	f.forgetFailures()
	f.Cleanup(func() { f.restartSpeakers() })
	r := f.router(cluster.RouterOptions{Daemon: "FRR", BFD: 100 * time.Millisecond})
	f.pools(spreadBoth)
	f.create(service("rehashed"))
	vip := f.spreads("rehashed", allNodes...)[0]
	f.routedOver(r, vip, allNodes...)
	f.bfdUp()
	talks := f.talks(cluster.Outside, vip)
	dead := f.cluster.Node("node2")
	f.must(dead.Kill())
	died := time.Now()
	f.Cleanup(func() { f.must(dead.Revive()); f.settled() })
	f.routedOver(r, vip, others(dead)...)
	f.loseNone(talks, died, dead.Name)
}

// spreadBoth is a configuration with a pool that is announced on the segment and to the router.
var spreadBoth = fmt.Sprintf(`peers:
- {name: router, my-asn: %d, peer-asn: %d, peer-address: %s, bfd-profile: fast}
bfd-profiles:
- {name: fast, receive-interval: 100, transmit-interval: 100, detect-multiplier: 3}
address-pools:
- {name: default, protocol: both, spread: true, addresses: [192.168.120.200-192.168.120.250]}
`, cluster.NodesASN, cluster.RouterASN, cluster.RouterIPv4)
