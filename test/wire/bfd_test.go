package wire

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bfd"
)

// router is a BIRD in a network namespace of its own, at the other end of a wire.
type router struct {
	t    testing.TB
	cmd  *exec.Cmd
	ctl  string
	log  string
	addr netip.Addr
}

// startRouter starts a BIRD at 198.51.100.1 and 2001:db8:51::1 that holds a BFD
// session with the node, 198.51.100.2 and 2001:db8:51::2, every 100 ms.
func startRouter(t testing.TB, ipv4 bool) *router {
	t.Helper()
	r := &router{t: t, addr: netip.MustParseAddr("198.51.100.1")}
	neighbor := `neighbor 198.51.100.2 dev "router0" local 198.51.100.1;`
	if !ipv4 {
		r.addr = netip.MustParseAddr("2001:db8:51::1")
		neighbor = `neighbor 2001:db8:51::2 dev "router0" local 2001:db8:51::1;`
	}
	dir := t.TempDir()
	r.ctl, r.log = filepath.Join(dir, "ctl"), filepath.Join(dir, "log")
	config := filepath.Join(dir, "bird.conf")
	text := fmt.Sprintf(`log "%s" all;
router id 198.51.100.1;
protocol device { scan time 1; }
protocol bfd watch {
	interface "router0" { interval 100 ms; multiplier 3; };
	%s
}
`, r.log, neighbor)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.Command("bird", "-f", "-c", config, "-s", r.ctl)
	r.cmd.Stderr = os.Stderr
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.kill)
	ip(t, "link add uplink type veth peer name router0")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "uplink").Run() }) // it is gone with the router's namespace
	ip(t, fmt.Sprintf("link set router0 netns %d", r.cmd.Process.Pid))
	ip(t, "addr add 198.51.100.2/24 dev uplink")
	ip(t, "addr add 2001:db8:51::2/64 dev uplink nodad")
	ip(t, "link set uplink up")
	for _, command := range []string{"addr add 198.51.100.1/24 dev router0", "addr add 2001:db8:51::1/64 dev router0 nodad", "link set router0 up"} {
		args := append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", r.cmd.Process.Pid), "ip"}, strings.Fields(command)...)
		if out, err := exec.Command("nsenter", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", command, err, out)
		}
	}
	return r
}

// kill ends the router without a goodbye.
func (r *router) kill() {
	_ = r.cmd.Process.Kill() // it may have ended
	_ = r.cmd.Wait()         // how it ended is known
}

// ask returns what the router answers to a command.
func (r *router) ask(command ...string) string {
	out, err := exec.Command("birdc", append([]string{"-s", r.ctl}, command...)...).CombinedOutput()
	if err != nil {
		return err.Error() // it may not listen yet
	}
	return string(out)
}

// watcher is a BFD engine and what it has told.
type watcher struct {
	*bfd.Engine
	failures atomic.Int32
	why      atomic.Value
}

func watchRouter(t testing.TB, r *router) *watcher {
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
	t.Cleanup(w.Close)
	w.set(t, r)
	eventually(t, "the session is up on both sides", func() bool {
		status, _ := w.Status(r.addr)
		return status.State == bfd.Up && strings.Contains(r.ask("show", "bfd", "sessions"), " Up ")
	})
	return w
}

func (w *watcher) set(t testing.TB, routers ...*router) {
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
			eventually(t, "the failure is told", func() bool { return w.failures.Load() == 1 })
			if why := w.why.Load(); why != "the peer was silent for 300ms" {
				t.Errorf("the failure is %q", why)
			}
		})
		t.Run(name+": a router that comes back is met again", func(t *testing.T) {
			r := startRouter(t, ipv4)
			w := watchRouter(t, r)
			r.ask("disable", "watch")
			eventually(t, "the failure is told", func() bool { return w.failures.Load() == 1 })
			r.ask("enable", "watch")
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
				sessions := r.ask("show", "bfd", "sessions")
				return strings.Contains(sessions, r.nodes()) && !strings.Contains(sessions, " Up ")
			})
			if failures := w.failures.Load(); failures != 0 {
				t.Errorf("%d failures", failures)
			}
		})
	}
}

// nodes returns the address of the node, as the router has it.
func (r *router) nodes() string {
	if r.addr.Is4() {
		return "198.51.100.2"
	}
	return "2001:db8:51::2"
}
