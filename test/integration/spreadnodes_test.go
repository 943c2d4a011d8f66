package integration

import (
	"slices"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// These tests let the speaker of one more node start and leave. They come after those in spreadmoves_test.go, which restart
// the other speakers: a restarted speaker does not know for which addresses the kernel of the node that has left has
// rules (docs/concepts/spread.md, limits).

func TestSpreadLosesNoConnectionWhenANodeIsAdded(t *testing.T) {
	f := setUp(t)
	f.create(service("grows", spread))
	vip := f.spreads("grows", allNodes...)[0]
	talks := f.talks(cluster.OnSegment, vip)
	begun := time.Now()
	added := f.cluster.Node("worker")
	f.isExcluded(added, false)
	f.Cleanup(func() {
		f.isExcluded(added, true)
		added.Speaker().Stop()
		f.settled()
	})
	f.must(added.StartSpeaker(f.Context()))
	f.must(added.WaitReady(f.Context()))
	f.carriedBy(vip, append(slices.Clone(allNodes), added.Name)...)
	f.loseNone(talks, begun)
	begun = time.Now()
	f.isExcluded(added, true)
	f.carriedBy(vip, allNodes...)
	f.loseNone(talks, begun)
}

// The kernel of a node without a speaker has no rules for an address that becomes spread later.
func TestSpreadLosesNoConnectionAfterASpeakerHasLeft(t *testing.T) {
	f := setUp(t)
	gone, excluded := f.cluster.Node("worker"), f.cluster.Node("node2")
	f.isExcluded(gone, false)
	f.must(gone.StartSpeaker(f.Context()))
	f.Cleanup(func() {
		f.isExcluded(gone, true)
		gone.Speaker().Stop() // it does nothing if that was done
		f.settled()
	})
	f.must(gone.WaitReady(f.Context()))
	f.create(service("before", spread))
	vip := f.spreads("before", append(slices.Clone(allNodes), gone.Name)...)[0]
	gone.Speaker().Stop()
	f.carriedBy(vip, allNodes...)
	f.create(service("after", spread))
	vip = f.spreads("after", allNodes...)[0]
	talks := f.talks(cluster.OnSegment, vip)
	begun := time.Now()
	f.isExcluded(excluded, true)
	f.Cleanup(func() { f.isExcluded(excluded, false) })
	f.carriedBy(vip, others(excluded)...)
	f.loseNone(talks, begun)
	f.isExcluded(excluded, false)
	f.carriedBy(vip, allNodes...)
	f.loseNone(talks, begun)
}
