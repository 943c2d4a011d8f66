package view

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/probe"
)

func TestResolverAsksWhileALinkIsFencedAndForAMomentAfterThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fenced atomic.Pointer[map[string]bool]
		fenced.Store(&map[string]bool{})
		var mu sync.Mutex
		rounds, asked := 0, map[netip.Addr]int{}
		r := &Resolver{fenced: func() map[string]bool { return *fenced.Load() }, log: slog.New(slog.DiscardHandler),
			unresolved: func() (all []links.Neighbor, err error) {
				for i := range byte(20) {
					all = append(all, links.Neighbor{Link: "eth0", Local: netip.MustParseAddr("192.0.2.99"), Addr: netip.AddrFrom4([4]byte{192, 0, 2, i})})
				}
				return append(all, links.Neighbor{Link: "eth1", Local: netip.MustParseAddr("198.51.100.99"), Addr: netip.MustParseAddr("198.51.100.1")}), nil
			},
			ask: func(targets []probe.Target) []probe.Target {
				mu.Lock()
				defer mu.Unlock()
				rounds++
				for _, target := range targets {
					asked[target.Remote]++
					if target.Link != "eth0" || target.MAC != probe.Everyone {
						t.Errorf("%+v", target)
					}
				}
				return nil
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx) }()
		count := func() int {
			mu.Lock()
			defer mu.Unlock()
			return rounds
		}
		hosts := func() int {
			mu.Lock()
			defer mu.Unlock()
			return len(asked)
		}
		wait := func(d time.Duration) (n int) {
			before := count()
			time.Sleep(d)
			synctest.Wait()
			return count() - before
		}
		if n := wait(time.Minute); n != 0 {
			t.Errorf("asked %d times without a reason", n)
		}
		fenced.Store(&map[string]bool{"eth0": true})
		if n := wait(time.Second); n != 10 || hosts() != 20 {
			t.Errorf("asked %d times for %d hosts in a second", n, hosts())
		}
		fenced.Store(&map[string]bool{})
		if n := wait(time.Minute); n < 19 || n > 21 {
			t.Errorf("asked %d times after that", n)
		}
		fenced.Store(&map[string]bool{"eth0": true})
		wait(2 * slowAfter)
		if n := wait(time.Minute); n < 55 || n > 65 {
			t.Errorf("asked %d times a minute after two minutes", n)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
