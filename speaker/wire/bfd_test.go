package wire

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bfd"
)

// startRouter starts a BIRD that holds a BFD session with the node, every 100 ms.
func startRouter(t testing.TB, ipv4 bool) *bfdRouter {
	t.Helper()
	r := &bfdRouter{router: wireRouter(t, 0)}
	r.addr, r.node = r.addr4, r.node4
	if !ipv4 {
		r.addr, r.node = r.addr6, r.node6
	}
	r.bird(fmt.Sprintf(`protocol bfd watch {
	interface "node" { interval 100 ms; multiplier 3; };
	neighbor %s dev "node" local %s;
}
`, r.node, r.addr))
	return r
}

// bfdRouter is a router with its address of one family, and the node's.
type bfdRouter struct {
	*router
	addr, node netip.Addr
}

// watcher is a BFD engine and the failures that it has reported.
type watcher struct {
	*bfd.Engine
	failures atomic.Int32
	why      atomic.Value
}

func watchRouter(t testing.TB, r *bfdRouter) *watcher {
	t.Helper()
	w := &watcher{}
	w.Engine = bfd.New(bfd.Options{
		Log:     slog.New(slog.DiscardHandler),
		Changed: func() {},
		Failed: func(_ netip.Addr, why string) {
			w.why.Store(why)
			w.failures.Add(1)
		},
	})
	t.Cleanup(run(t, w.Run))
	w.set(t, r)
	eventually(t, "the session is up on both sides", func() bool {
		status, _ := w.Status(r.addr)
		return status.State == bfd.Up && strings.Contains(r.ask("show bfd sessions"), " Up ")
	})
	return w
}

func (w *watcher) set(t testing.TB, routers ...*bfdRouter) {
	t.Helper()
	var sessions []bfd.Session
	for _, r := range routers {
		sessions = append(sessions, bfd.Session{Peer: r.addr, Receive: 100 * time.Millisecond, Transmit: 100 * time.Millisecond, Multiplier: 3})
	}
	if err := w.Set(sessions); err != nil {
		t.Fatal(err)
	}
}

func TestBFDWithBIRD(t *testing.T) {
	for name, ipv4 := range map[string]bool{"IPv4": true, "IPv6": false} {
		t.Run(name+": a router that dies has failed", func(t *testing.T) {
			r := startRouter(t, ipv4)
			w := watchRouter(t, r)
			r.kill()
			eventually(t, "the failure is reported", func() bool { return w.failures.Load() == 1 })
			if why := w.why.Load(); why != "no packet from the peer for 300ms" {
				t.Errorf("the failure is %q", why)
			}
		})
		t.Run(name+": the session with a router that comes back is up again", func(t *testing.T) {
			r := startRouter(t, ipv4)
			w := watchRouter(t, r)
			r.ask("disable watch")
			eventually(t, "the failure is reported", func() bool { return w.failures.Load() == 1 })
			r.ask("enable watch")
			eventually(t, "the session is up again", func() bool {
				status, _ := w.Status(r.addr)
				return status.State == bfd.Up && status.Failures == 1
			})
		})
		t.Run(name+": the router hears that a session is ended on purpose", func(t *testing.T) {
			r := startRouter(t, ipv4)
			w := watchRouter(t, r)
			w.set(t)
			eventually(t, "the router knows", func() bool {
				sessions := r.ask("show bfd sessions")
				return strings.Contains(sessions, r.node.String()) && !strings.Contains(sessions, " Up ")
			})
			if failures := w.failures.Load(); failures != 0 {
				t.Errorf("%d failures", failures)
			}
		})
	}
}
