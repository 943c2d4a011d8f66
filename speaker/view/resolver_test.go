package view

import (
	"context"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/probe"
)

func TestResolverAsksWhileFencedAndForAMomentAfterThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fenced atomic.Bool
		var asked atomic.Int64
		router := links.Neighbor{Link: "eth0", Local: netip.MustParseAddr("192.0.2.2"), Addr: netip.MustParseAddr("192.0.2.1")}
		r := &Resolver{fenced: fenced.Load, log: slog.New(slog.DiscardHandler),
			unresolved: func() ([]links.Neighbor, error) {
				all := make([]links.Neighbor, 100)
				for i := range all {
					all[i] = router
				}
				return all, nil
			},
			ask: func(targets []probe.Target) []probe.Target {
				if len(targets) != maxQuestions || targets[0] != (probe.Target{Link: "eth0", Local: router.Local, Remote: router.Addr, MAC: [6]byte{255, 255, 255, 255, 255, 255}}) {
					t.Errorf("%d targets: %+v", len(targets), targets[0])
				}
				asked.Add(1)
				return nil
			},
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx) }()
		wait := func(d time.Duration) (n int64) {
			before := asked.Load()
			time.Sleep(d)
			synctest.Wait()
			return asked.Load() - before
		}
		if n := wait(time.Minute); n != 0 {
			t.Errorf("asked %d times without a reason", n)
		}
		fenced.Store(true)
		if n := wait(time.Second); n != 10 {
			t.Errorf("asked %d times in a second while fenced", n)
		}
		fenced.Store(false)
		if n := wait(time.Minute); n < 19 || n > 21 {
			t.Errorf("asked %d times after that", n)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
