// Package wire tests the speaker's packages on real links of a network namespace of its
// own: what layer 2 sends and answers, frame by frame, and BGP and BFD with real routers.
package wire

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
)

// TestMain runs the tests in a network namespace, which ends with them. It skips them,
// and prints the reason, if they cannot run or should not.
func TestMain(m *testing.M) {
	const inside = "BAREMETAL_WIRE_INSIDE"
	if os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	flag.Parse()
	switch {
	case os.Getuid() != 0:
		fmt.Println("skipped: a network namespace needs root")
		return
	case testing.Short():
		fmt.Println("skipped: -short; make integration runs these tests")
		return
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		os.Exit(exit.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var (
	vip4     = netip.MustParseAddr("192.0.2.7")
	vip6     = netip.MustParseAddr("2001:db8::7")
	client4  = netip.MustParseAddr("192.0.2.1")
	client6  = netip.MustParseAddr("fe80::c")
	client   = net.HardwareAddr{2, 0, 0, 0, 0, 0xcc}
	everyone = net.HardwareAddr{255, 255, 255, 255, 255, 255}
	// wires matches the other ends of the node's links: the speaker must not use them.
	wires = regexp.MustCompile("^wire|^lo$")
)

func ip(t testing.TB, command string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(command)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v: %s", command, err, out)
	}
}

// plug makes a link of the node without an address. It returns the other end of the
// link's wire.
func plug(t testing.TB, name, mac string) *wire {
	t.Helper()
	ip(t, "link add "+name+" address "+mac+" type veth peer name wire-"+name)
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "wire-"+name).Run() }) // the test may have removed it
	ip(t, "link set wire-"+name+" up")
	ip(t, "link set "+name+" up")
	eventually(t, name+" has a carrier", func() bool {
		ls, err := links.List(wires, nil)
		return err == nil && has(name)(ls)
	})
	return tap(t, "wire-"+name)
}

// wire is one end of a wire. A test puts frames on it. It keeps the frames that arrive.
type wire struct {
	t    testing.TB
	conn *packet.Conn

	mu   sync.Mutex
	seen []frame
}

type frame struct {
	at    time.Time
	bytes []byte
}

func tap(t testing.TB, name string) *wire {
	t.Helper()
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, conn: conn}
	done := make(chan struct{})
	var closed atomic.Bool
	t.Cleanup(func() { closed.Store(true); conn.Close(); <-done })
	go func() {
		defer close(done)
		buffer := make([]byte, 2000)
		for !closed.Load() {
			n, _, err := conn.ReadFrom(buffer)
			if err != nil {
				continue // the link is down; the test may set it up again
			}
			if f := buffer[:n]; ours(f) {
				w.mu.Lock()
				w.seen = append(w.seen, frame{time.Now(), append([]byte{}, f...)})
				w.mu.Unlock()
			}
		}
	}()
	return w
}

// ours reports whether a frame is from the speaker. It leaves out the frames of the
// kernels of both ends and those of the test.
func ours(f []byte) bool {
	if len(f) < 14 || f[6] == client[0] && f[11] == client[5] {
		return false
	}
	isARP := f[12] == 0x08 && f[13] == 0x06
	isND := len(f) > 54 && f[12] == 0x86 && f[13] == 0xdd && f[20] == 58 && (f[54] == 135 || f[54] == 136) && f[62] == 0x20
	return isARP || isND // isND: the target is in 2000::/8; the kernel only has link-local targets
}

func (w *wire) put(f []byte) {
	w.t.Helper()
	if _, err := w.conn.WriteTo(f, &packet.Addr{HardwareAddr: net.HardwareAddr(f[:6])}); err != nil {
		w.t.Fatal(err)
	}
}

// since returns the frames that came after the first n.
func (w *wire) since(n int) []frame {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]frame{}, w.seen[n:]...)
}

func (w *wire) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen)
}

// answer puts a frame on the wire and returns the answer.
func (w *wire) answer(f []byte) []byte {
	w.t.Helper()
	n := w.count()
	w.put(f)
	eventually(w.t, "an answer", func() bool { return w.count() > n })
	return w.since(n)[0].bytes
}

// silence puts frames on the wire that must not be answered. The last frame is answered:
// then the speaker has handled the others, too.
func (w *wire) silence(what string, last []byte, frames ...[]byte) {
	w.t.Helper()
	n := w.count()
	for _, f := range frames {
		w.put(f)
	}
	w.answer(last)
	if got := w.since(n); len(got) > 1 {
		w.t.Errorf("%s: answered with %x", what, got[0].bytes)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// node is a speaker's layer 2.
type node struct {
	*layer2.Announcer
	t           testing.TB
	members     map[[6]byte]layer2.Member
	assignments []layer2.Assignment
}

func start(t testing.TB, refresh time.Duration, assignments ...layer2.Assignment) *node {
	t.Helper()
	n := &node{t: t, assignments: assignments, members: map[[6]byte]layer2.Member{}}
	n.Announcer = layer2.New(layer2.Options{
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Refresh: refresh,
		MayAnswer: func() bool { return true }, Changed: func() {},
	})
	t.Cleanup(run(t, n.Run))
	n.apply()
	return n
}

// run runs a part of the speaker until stop is called, which may be more than once.
func run(t testing.TB, part func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- part(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// apply does what the speaker does when a link has changed.
func (n *node) apply() {
	n.t.Helper()
	ls, err := links.List(wires, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	var on []layer2.Link
	for _, l := range ls {
		on = append(on, layer2.Link{Name: l.Name, Index: l.Index, MAC: l.MAC})
	}
	n.Set(on, n.members, n.assignments)
}

// applyWhen applies when the kernel reports a change.
func (n *node) applyWhen(what string, ok func([]links.Link) bool) {
	n.t.Helper()
	eventually(n.t, what, func() bool {
		ls, err := links.List(wires, nil)
		return err == nil && ok(ls)
	})
	n.apply()
}

func owner(addr netip.Addr, links ...string) layer2.Assignment {
	return layer2.Assignment{Addr: addr, Role: layer2.Owner, Links: links}
}

func has(name string) func([]links.Link) bool {
	return func(ls []links.Link) bool {
		for _, l := range ls {
			if l.Name == name {
				return true
			}
		}
		return false
	}
}

func hasNot(name string) func([]links.Link) bool {
	return func(ls []links.Link) bool { return !has(name)(ls) }
}

// settle waits until the first second of a burst is over.
func (w *wire) settle() {
	w.t.Helper()
	eventually(w.t, "the first three announcements", func() bool { return w.count() >= 3 })
}
