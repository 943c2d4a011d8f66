package spread

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"
)

// fakeKernel notes what it is told.
type fakeKernel struct {
	mu    sync.Mutex
	calls []string
	fails map[string]error // by method
	has   elements         // what the sets have
}

func (k *fakeKernel) call(method, text string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, text)
	return k.fails[method]
}

func (k *fakeKernel) fail(method string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fails = map[string]error{method: err}
}

// said returns the calls since the last time.
func (k *fakeKernel) said() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	calls := k.calls
	k.calls = nil
	return slices.DeleteFunc(calls, func(c string) bool { return c == "check" })
}

func (k *fakeKernel) check() error { return k.call("check", "check") }
func (k *fakeKernel) replace(r *ruleset) error {
	k.mu.Lock()
	k.has = maps.Clone(r.elements)
	k.mu.Unlock()
	return k.call("replace", "replace")
}

// count returns how many elements a set has.
func (k *fakeKernel) count(set setName) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.has[set])
}

// change does what the kernel does, and fails where the kernel would fail.
func (k *fakeKernel) change(d difference) error {
	text := fmt.Sprintf("change -%d +%d", total(d.remove), total(d.add))
	if len(d.gone)+len(d.fresh) > 0 {
		text += fmt.Sprintf(", flows -%d +%d", len(d.gone), len(d.fresh))
	}
	k.mu.Lock()
	for name, remove := range d.remove {
		if k.has[name] = without(k.has[name], remove); len(k.has[name]) == 0 {
			delete(k.has, name)
		}
	}
	for name, add := range d.add {
		k.has[name] = slices.SortedFunc(slices.Values(slices.Concat(k.has[name], add)), element.compare)
	}
	for _, f := range d.gone {
		for _, s := range f.sets() {
			delete(k.has, setName{s.family, s.name})
		}
	}
	k.mu.Unlock()
	return k.call("change", text)
}
func (k *fakeKernel) refresh() error { return k.call("refresh", "refresh") }
func (k *fakeKernel) remove() error  { return k.call("remove", "remove") }

// running runs a test with a Spreader in a bubble of its own time.
func running(t *testing.T, test func(t *testing.T, s *Spreader, k *fakeKernel, log *bytes.Buffer)) {
	synctest.Test(t, func(t *testing.T) {
		k, log := &fakeKernel{}, &bytes.Buffer{}
		s := newSpreader(Options{Log: slog.New(slog.NewTextHandler(log, nil)), Metrics: prometheus.NewRegistry(), Changed: func() {}}, k)
		done := make(chan error)
		go func() { done <- s.Run(t.Context()) }()
		t.Cleanup(func() { <-done })
		synctest.Wait()
		test(t, s, k, log)
	})
}

func expect(t *testing.T, k *fakeKernel, what string, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := k.said(); !slices.Equal(got, want) {
		t.Errorf("%s: the kernel was told %q, want %q", what, got, want)
	}
}

func TestSpreaderWritesOnlyWhatHasChanged(t *testing.T) {
	running(t, func(t *testing.T, s *Spreader, k *fakeKernel, log *bytes.Buffer) {
		s.Set(wanted())
		expect(t, k, "nothing, with tables of an earlier speaker", "remove")
		if !s.HasRules() {
			t.Error("it says that the kernel has no rules")
		}
		s.Set(wanted())
		expect(t, k, "nothing again")
		s.Set(wanted(VIP{vip, "eth0", false, false, table(neighbour, 2)}))
		expect(t, k, "the first address", "replace")
		s.Set(wanted(VIP{vip, "eth0", false, false, table(neighbour, 2)}))
		expect(t, k, "the same")
		time.Sleep(youth)
		expect(t, k, "it is not young any more", "change -0 +128")
		s.Set(wanted(VIP{vip, "eth0", false, false, table(other, 2)}))
		expect(t, k, "another node", "change -128 +128")
		if got := testutil.ToFloat64(s.active); got != 1 {
			t.Errorf("active is %v", got)
		}
		s.Set(wanted())
		expect(t, k, "nothing any more", "remove")
		if got := testutil.ToFloat64(s.active); got != 0 {
			t.Errorf("active is %v at the end", got)
		}
	})
}

// When an address becomes spread, its announcer has all connections.
func TestSpreaderForwardsNothingForAYoungAddress(t *testing.T) {
	running(t, func(t *testing.T, s *Spreader, k *fakeKernel, log *bytes.Buffer) {
		s.Set(wanted(VIP{vip, "eth0", false, false, table(neighbour, 2)}))
		expect(t, k, "an address that was spread before the speaker began", "replace")
		slots := func() int { return k.count(setName{netdev, flows{number: 2}.slotsSet()}) }
		both := wanted(VIP{vip, "eth0", false, false, table(neighbour, 2)}, VIP{vip.Next(), "eth0", false, false, table(neighbour, 4)})
		s.Set(both)
		expect(t, k, "one more address", "change -0 +2, flows -0 +1")
		if n := slots(); n != 0 {
			t.Errorf("%d slots of the new address go elsewhere at once", n)
		}
		if n := k.count(setName{netdev, flows{number: 1}.slotsSet()}); n != 128 {
			t.Errorf("%d slots of the old address go elsewhere", n)
		}
		time.Sleep(youth)
		expect(t, k, "some time later", "change -0 +64")
		time.Sleep(2 * youth)
		expect(t, k, "nothing is new")
	})
}

func TestSpreaderRepairsItsTables(t *testing.T) {
	running(t, func(t *testing.T, s *Spreader, k *fakeKernel, log *bytes.Buffer) {
		s.Set(wanted(VIP{vip, "eth0", false, false, table(neighbour, 2)}))
		expect(t, k, "the first address", "replace")
		time.Sleep(refreshInterval)
		expect(t, k, "a minute later", "refresh")
		k.fail("refresh", unix.ENOENT) // another program has removed the tables
		time.Sleep(refreshInterval)
		expect(t, k, "the tables are gone", "refresh", "replace")
	})
}

func TestSpreaderSaysWhyItCannotSpread(t *testing.T) {
	running(t, func(t *testing.T, s *Spreader, k *fakeKernel, log *bytes.Buffer) {
		k.fail("check", fmt.Errorf("checking: %w", unix.EPERM))
		time.Sleep(refreshInterval)
		synctest.Wait()
		if got := s.Obstacle(); !strings.Contains(got, "NET_ADMIN") {
			t.Errorf("obstacle: %q", got)
		}
		k.fail("", nil)
		time.Sleep(refreshInterval)
		synctest.Wait()
		if got := s.Obstacle(); got != "" {
			t.Errorf("obstacle: %q", got)
		}
	})
}

func TestSpreaderLogsAFailureOnce(t *testing.T) {
	running(t, func(t *testing.T, s *Spreader, k *fakeKernel, log *bytes.Buffer) {
		k.fail("replace", errors.New("no memory"))
		s.Set(wanted(VIP{vip, "eth0", false, false, table(neighbour, 2)}))
		time.Sleep(2 * retryInterval)
		expect(t, k, "it tries again", "replace", "replace", "replace")
		if s.HasRules() {
			t.Error("it says that the kernel has the rules")
		}
		if n := strings.Count(log.String(), "flows cannot be spread"); n != 1 {
			t.Errorf("%d warnings: %s", n, log)
		}
	})
}
