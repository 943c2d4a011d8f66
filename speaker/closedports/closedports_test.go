package closedports

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
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

// fakeKernel notes what it is told. Changes fail as long as there is no table.
type fakeKernel struct {
	mu      sync.Mutex
	calls   []string
	refuses error // what every call returns, if it is not nil
	table   bool
}

// set changes the kernel.
func (k *fakeKernel) set(change func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change()
}

func (k *fakeKernel) call(name string, needsTable bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = append(k.calls, name)
	if k.refuses != nil {
		return k.refuses
	}
	if needsTable && !k.table {
		return unix.ENOENT
	}
	k.table = k.table || name == "replace"
	return nil
}

func (k *fakeKernel) replace(contents) error     { return k.call("replace", false) }
func (k *fakeKernel) change(_, _ contents) error { return k.call("change", true) }
func (k *fakeKernel) refresh() error             { return k.call("refresh", true) }
func (k *fakeKernel) remove() error              { return k.call("remove", false) }

// took returns the calls since the last time.
func (k *fakeKernel) took() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	defer func() { k.calls = nil }()
	return strings.Join(k.calls, " ")
}

// logBuffer keeps a log that one goroutine writes and another one reads.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// simulate runs a Refuser on a fake kernel. tick lets a minute pass.
func simulate(t *testing.T, k *fakeKernel, test func(r *Refuser, log *logBuffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		r := newRefuser(Options{Log: slog.New(slog.NewTextHandler(&log, nil)), Metrics: prometheus.NewRegistry()}, k)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		test(r, &log)
		k.took()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func expect(t *testing.T, k *fakeKernel, what, want string) {
	t.Helper()
	synctest.Wait()
	if got := k.took(); got != want {
		t.Errorf("%s: the kernel was told %q, want %q", what, got, want)
	}
}

var (
	one = Wanted{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Links: []string{"eth0"}}
	two = Wanted{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::2")}, Links: []string{"eth0"}}
)

func TestKernelIsToldOnlyWhatIsNew(t *testing.T) {
	k := &fakeKernel{}
	simulate(t, k, func(r *Refuser, _ *logBuffer) {
		time.Sleep(2 * refreshInterval)
		expect(t, k, "before the first Set", "")
		r.Set(one)
		expect(t, k, "the first Set", "replace")
		r.Set(one)
		expect(t, k, "the same again", "")
		r.Set(two)
		expect(t, k, "one more", "change")
		r.Set(Wanted{Addrs: []netip.Addr{two.Addrs[1], two.Addrs[0], two.Addrs[0]}, Links: two.Links})
		expect(t, k, "the same in another order", "")
		time.Sleep(refreshInterval)
		expect(t, k, "a minute later", "refresh")
	})
	if k.took() != "remove" {
		t.Errorf("at the end the kernel was told %q", k.calls)
	}
}

func TestTableIsNotRemovedIfItWasNeverWritten(t *testing.T) {
	k := &fakeKernel{}
	simulate(t, k, func(*Refuser, *logBuffer) { synctest.Wait() })
	if calls := k.took(); calls != "" {
		t.Errorf("the kernel was told %q", calls)
	}
}

func TestTableThatIsGoneIsWrittenAgain(t *testing.T) {
	k := &fakeKernel{}
	simulate(t, k, func(r *Refuser, log *logBuffer) {
		r.Set(one)
		expect(t, k, "the first Set", "replace")
		k.set(func() { k.table = false }) // nft flush ruleset
		time.Sleep(refreshInterval)
		expect(t, k, "a minute later", "refresh replace")
		k.set(func() { k.table = false })
		r.Set(two)
		expect(t, k, "a change", "change replace")
		if n := testutil.ToFloat64(r.repairs); n != 2 {
			t.Errorf("%v repairs", n)
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "nft flush ruleset") {
			t.Errorf("%d warnings, want one that says what to look for: %s", n, log)
		}
	})
}

func TestFailureIsLoggedOnceWithAHint(t *testing.T) {
	k := &fakeKernel{refuses: unix.EPERM}
	simulate(t, k, func(r *Refuser, log *logBuffer) {
		r.Set(one)
		time.Sleep(10*refreshInterval + time.Second)
		synctest.Wait()
		if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "NET_ADMIN") {
			t.Errorf("%d warnings, want one that names NET_ADMIN: %s", n, log)
		}
		if n := testutil.ToFloat64(r.active); n != 0 {
			t.Errorf("the metric is %v", n)
		}
		k.set(func() { k.refuses = errors.New("operation not supported") })
		time.Sleep(refreshInterval)
		synctest.Wait()
		if !strings.Contains(log.String(), "nf_tables") {
			t.Errorf("the new problem is not in the log: %s", log)
		}
		k.set(func() { k.refuses = nil })
		time.Sleep(refreshInterval)
		synctest.Wait()
		if n := testutil.ToFloat64(r.active); n != 1 || !strings.Contains(log.String(), "packets for closed ports are refused") {
			t.Errorf("the metric is %v, and the log: %s", n, log)
		}
	})
}

func TestNetworksBecomeRangesThatDoNotTouch(t *testing.T) {
	for _, test := range []struct{ networks, want string }{
		{"", ""},
		{"192.0.2.0/24", "192.0.2.0-192.0.2.255"},
		{"192.0.2.128/25 192.0.2.7/32 192.0.2.130/31", "192.0.2.7-192.0.2.7 192.0.2.128-192.0.2.255"},
		{"192.0.2.0/25 192.0.2.128/25 192.0.3.0/24", "192.0.2.0-192.0.3.255"},
		{"192.0.2.64/26 192.0.2.0/24", "192.0.2.0-192.0.2.255"},
		{"2001:db8::/64 192.0.2.9/29 2001:db8::/64", "192.0.2.8-192.0.2.15 2001:db8::-2001:db8::ffff:ffff:ffff:ffff"},
		{"255.255.255.254/31 ::/128", "255.255.255.254-255.255.255.255 ::-::"},
	} {
		var networks []netip.Prefix
		for text := range strings.FieldsSeq(test.networks) {
			networks = append(networks, netip.MustParsePrefix(text))
		}
		var got []string
		for _, r := range ranges(networks) {
			got = append(got, r.first.String()+"-"+r.last.String())
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s became %s, want %s", test.networks, got, test.want)
		}
	}
}

func TestElementsAreAsTheKernelComparesThem(t *testing.T) {
	vip := netip.MustParseAddr("192.0.2.1")
	c := Wanted{
		Addrs: []netip.Addr{vip}, Networks: []netip.Prefix{netip.MustParsePrefix("255.255.255.254/31")},
		Taken: []Port{{netip.MustParseAddr("2001:db8::1"), 17, 443}}, Links: []string{"eth0", "a-name-that-is-too-long"},
	}.contents()
	for set, want := range map[string][]string{
		addrs4: {"\xc0\x00\x02\x01"}, addrs6: nil,
		networks4: {"\xff\xff\xff\xfe"}, // without an end: no address comes after it
		taken6:    {"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\x11\x00\x00\x00" + "\x01\xbb\x00\x00"},
		linkNames: {"a-name-that-is-\x00", "eth0" + strings.Repeat("\x00", 12)},
	} {
		var got []string
		for _, e := range c[set] {
			got = append(got, e.key)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", set, got, want)
		}
	}
}

func TestChangeTurnsOneTableIntoTheOther(t *testing.T) {
	a := Wanted{Addrs: two.Addrs, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/25")}, Links: []string{"eth0"}}.contents()
	b := Wanted{Addrs: one.Addrs, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Links: []string{"eth0", "eth1"}}.contents()
	for _, test := range []struct{ before, after contents }{{a, b}, {b, a}, {a, contents{}}, {contents{}, b}, {a, a}} {
		got := map[string]map[element]bool{}
		put := func(c contents, there bool) {
			for set, elements := range c {
				for _, e := range elements {
					if got[set] == nil {
						got[set] = map[element]bool{}
					}
					if got[set][e] == there {
						t.Errorf("%s: %q is removed though it is not there, or added twice", set, e.key)
					}
					got[set][e] = there
				}
			}
		}
		remove, add := change(test.before, test.after)
		put(test.before, true)
		put(remove, false)
		put(add, true)
		put(test.after, false) // fails for each element that is missing
		for set, elements := range got {
			for e, there := range elements {
				if there {
					t.Errorf("%s: %q is left over", set, e.key)
				}
			}
		}
	}
}
