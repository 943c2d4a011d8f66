package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// A frame comes from the client, is forwarded by the announcer, and handed on three times at most.
const mostSteps = 5

// mostByTTL is the limit while speakers do not know all MAC addresses of each other: a frame that is handed
// on can be forwarded once more by a node that does not know its sender. The first hand-over sets the TTL
// to 8, and each step takes one.
const mostByTTL = 10

// strays sends 300 segments of connections that do not exist, from ports from first on, and checks that
// none of them is forwarded too often.
func (f *fixture) strays(count *cluster.FrameCount, vip string, first uint16, most int) {
	f.Helper()
	var ports []uint16
	for i := range uint16(300) {
		ports = append(ports, first+i)
	}
	f.must(f.cluster.SendStray(vip, ports...))
	var frames map[uint16]int
	f.eventually("all segments are on the segment", func() (all bool) {
		var err error
		frames, err = count.ByPort()
		f.must(err)
		for _, port := range ports {
			if frames[port] == 0 {
				return false
			}
		}
		return true
	})
	sent := time.Now()
	f.eventually("a loop would have gone round", func() bool { return time.Since(sent) > time.Second })
	frames, err := count.ByPort()
	f.must(err)
	times := map[int]int{}
	for _, port := range ports {
		times[frames[port]]++
		if frames[port] > most {
			f.Errorf("the segment from port %d was forwarded %d times", port, frames[port])
		}
	}
	f.Logf("segments by how often they were forwarded: %v", times)
}

func TestSpreadForwardsNoFrameInALoop(t *testing.T) {
	f := setUp(t)
	f.Cleanup(func() { f.restartSpeakers() })
	f.create(service("loops", spread))
	vip := f.spreads("loops", allNodes...)[0]
	count, err := f.cluster.CountFrames(vip)
	f.must(err)
	f.Cleanup(func() { f.must(count.Stop()) })
	f.Run("the tables agree", func(f *fixture) { f.strays(count, vip, 20000, mostSteps) })

	announcer := f.announcer(vip)
	stale, excluded := f.cluster.Node(others(announcer)[0]), f.cluster.Node(others(announcer)[1])
	for _, test := range []struct {
		name            string
		stale, excluded *cluster.Node
		first           uint16
	}{
		{"the table of another node is stale", stale, excluded, 21000},
		{"the table of the announcer is stale", announcer, excluded, 22000},
		{"the table of a node is stale, and the announcer is excluded", stale, announcer, 23000},
	} {
		f.Run(test.name, func(f *fixture) {
			f.forgetFailures()
			f.carriedBy(vip, allNodes...)
			talks := f.talks(cluster.OnSegment, vip)
			begun := time.Now()
			test.stale.Speaker().Freeze()
			f.Cleanup(func() { test.stale.Speaker().Thaw(); f.settled() })
			f.carriedBy(vip, others(test.stale)...)
			f.isExcluded(test.excluded, true)
			f.Cleanup(func() { f.isExcluded(test.excluded, false) })
			f.eventually("the speakers that run know of it", func() bool {
				for _, n := range f.cluster.Nodes() {
					if n == test.stale {
						continue
					}
					plan, err := n.Get(f.Context(), "/debug/plan")
					_, candidates, _ := strings.Cut(grep(plan, vip+" "), "candidates=")
					candidates, _, _ = strings.Cut(candidates, " ")
					if err != nil || strings.Contains(candidates, test.excluded.Name) {
						return false
					}
				}
				return true
			})
			f.strays(count, vip, test.first, mostSteps)
			f.fetched(vip)
			f.loseNone(talks, begun)
		})
	}
}

// The rules of a speaker that has ended stay in the kernel of its node.
func TestSpreadForwardsNoFrameInALoopWhenASpeakerEnds(t *testing.T) {
	f := setUp(t)
	f.Cleanup(func() { f.restartSpeakers() })
	for i, end := range []struct {
		name string
		of   func(p *cluster.Process)
	}{{"killed", (*cluster.Process).Kill}, {"stopped", (*cluster.Process).Stop}} {
		f.Run(end.name, func(f *fixture) {
			f.forgetFailures()
			name := fmt.Sprint("ends", i)
			f.create(service(name, spread))
			vip := f.spreads(name, allNodes...)[0]
			count, err := f.cluster.CountFrames(vip)
			f.must(err)
			f.Cleanup(func() { f.must(count.Stop()) })
			talks := f.talks(cluster.OnSegment, vip)
			begun, ended := time.Now(), f.cluster.Node(others(f.announcer(vip))[0])
			end.of(ended.Speaker())
			f.Cleanup(func() { f.must(ended.StartSpeaker(context.Background())); f.settled() })
			f.carriedBy(vip, others(ended)...)
			f.strays(count, vip, 24000, mostByTTL)
			f.loseNone(talks, begun)
		})
	}
}
