package spread

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/tablewatch"
)

// logText is a log that a test reads while the Spreader writes.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// running runs a test with a Spreader in a bubble of its own time.
func running(t *testing.T, test func(t *testing.T, s *Spreader, k *fakeKernel, log *logText)) {
	runningOn(t, &fakeKernel{}, test)
}

// runningOn does the same with a kernel that may have rules.
func runningOn(t *testing.T, k *fakeKernel, test func(t *testing.T, s *Spreader, k *fakeKernel, log *logText)) {
	synctest.Test(t, func(t *testing.T) {
		log := &logText{}
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
	running(t, func(t *testing.T, s *Spreader, k *fakeKernel, log *logText) {
		s.Set(wanted())
		expect(t, k, "nothing, with tables of an earlier speaker", "remove")
		if !s.Status().HasRules {
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
	running(t, func(t *testing.T, s *Spreader, k *fakeKernel, log *logText) {
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
	running(t, func(t *testing.T, s *Spreader, k *fakeKernel, log *logText) {
		s.Set(wanted(VIP{vip, "eth0", false, true, table(neighbour, 2)}))
		expect(t, k, "the first address", "replace")
		time.Sleep(refreshInterval)
		expect(t, k, "a minute later", "refresh")
		k.flush()
		time.Sleep(refreshInterval)
		expect(t, k, "the tables are gone", "refresh", "replace")
		k.flush()
		s.Set(wanted(VIP{vip, "eth0", false, true, table(other, 2)}))
		expect(t, k, "the tables are gone when slots move", "change -128 +128", "replace")
	})
}

// A program that removes the rules again and again breaks connections, and must be found.
func TestSpreaderNamesWhatRemovesItsTables(t *testing.T) {
	running(t, func(t *testing.T, s *Spreader, k *fakeKernel, log *logText) {
		s.Set(wanted(VIP{vip, "eth0", false, true, table(neighbour, 2)}))
		synctest.Wait()
		s.Repair()
		synctest.Wait()
		if got := testutil.ToFloat64(s.repairs); got != 0 || strings.Contains(log.String(), "WARN") {
			t.Errorf("%v repairs of tables that are there: %s", got, log)
		}
		for range 100 {
			k.flush()
			s.Repair()
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if got := testutil.ToFloat64(s.repairs); got != 100 {
			t.Errorf("%v repairs", got)
		}
		if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "nft flush ruleset") || !strings.Contains(log.String(), "no such file") {
			t.Errorf("%d warnings: %s", n, log)
		}
		time.Sleep(tablewatch.RepairLogInterval)
		k.flush()
		s.Repair()
		synctest.Wait()
		if !strings.Contains(log.String(), "more=99") {
			t.Errorf("later: %s", log)
		}
	})
}

func TestSpreaderSaysWhyItCannotSpread(t *testing.T) {
	running(t, func(t *testing.T, s *Spreader, k *fakeKernel, log *logText) {
		k.fail("check", fmt.Errorf("checking: %w", unix.EPERM))
		time.Sleep(refreshInterval + retryInterval)
		synctest.Wait()
		if got := s.Status().Obstacle; !strings.Contains(got, "NET_ADMIN") {
			t.Errorf("obstacle: %q", got)
		}
		k.fail("", nil)
		time.Sleep(refreshInterval)
		synctest.Wait()
		if got := s.Status().Obstacle; got != "" {
			t.Errorf("obstacle: %q", got)
		}
	})
}

// An obstacle removes the rules, and breaks connections.
func TestSpreaderLooksAgainBeforeAnObstacleCounts(t *testing.T) {
	running(t, func(t *testing.T, s *Spreader, k *fakeKernel, log *logText) {
		k.fail("check", unix.ENOBUFS)
		time.Sleep(refreshInterval)
		synctest.Wait()
		k.fail("", nil)
		time.Sleep(refreshInterval)
		synctest.Wait()
		k.fail("check", unix.ENOBUFS)
		time.Sleep(refreshInterval)
		synctest.Wait()
		if got := s.Status().Obstacle; got != "" || strings.Contains(log.String(), "cannot") {
			t.Errorf("obstacle %q: %s", got, log)
		}
		time.Sleep(retryInterval)
		synctest.Wait()
		if s.Status().Obstacle == "" {
			t.Error("no obstacle, although the look fails again")
		}
	})
}

func TestFirstLookOfASpreaderCounts(t *testing.T) {
	k := &fakeKernel{}
	k.fail("check", fmt.Errorf("checking: %w", unix.EOPNOTSUPP))
	runningOn(t, k, func(t *testing.T, s *Spreader, k *fakeKernel, log *logText) {
		if got := s.Status().Obstacle; !strings.Contains(got, "5.7 or later") {
			t.Errorf("obstacle: %q", got)
		}
	})
}

func TestHintFitsTheErrorOfTheKernel(t *testing.T) {
	for err, want := range map[error]string{
		unix.EPERM: "NET_ADMIN", unix.EMSGSIZE: "net.core.wmem_max", unix.ENOMEM: "memory", os.ErrDeadlineExceeded: "overloaded", unix.EEXIST: "",
	} {
		if got := hint(fmt.Errorf("writing the tables: %w", err)); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%v: %q", err, got)
		}
	}
}

// While the speaker is fenced or has no configuration, it sets nothing.
func TestSpreaderKeepsTheRulesOfTheSpeakerBefore(t *testing.T) {
	runningOn(t, &fakeKernel{exists: true, alive: true}, func(t *testing.T, s *Spreader, k *fakeKernel, log *logText) {
		if !s.Status().HandsOn || s.Status().HasRules {
			t.Errorf("at the start: %+v", s.Status())
		}
		expect(t, k, "at the start", "refresh")
		time.Sleep(2 * refreshInterval)
		expect(t, k, "two minutes later", "refresh", "refresh")
		k.flush()
		time.Sleep(refreshInterval)
		expect(t, k, "another program has removed them", "refresh")
		if s.Status().HandsOn {
			t.Error("it says that it hands on without rules")
		}
		time.Sleep(refreshInterval)
		expect(t, k, "there is nothing to refresh")
		s.Set(wanted(VIP{vip, "eth0", false, true, table(neighbour, 2)}))
		expect(t, k, "it knows what is wanted", "replace")
		if !s.Status().HandsOn || !s.Status().HasRules {
			t.Errorf("with rules: %+v", s.Status())
		}
	})
}

func TestSpreaderDoesNotHandOnWithoutRules(t *testing.T) {
	for name, k := range map[string]*fakeKernel{"a new node": {}, "no speaker for long": {exists: true}} {
		runningOn(t, k, func(t *testing.T, s *Spreader, k *fakeKernel, log *logText) {
			if s.Status().HandsOn {
				t.Errorf("%s: it says that it hands on", name)
			}
			time.Sleep(refreshInterval)
			expect(t, k, name)
		})
	}
}

func TestSpreaderHandsOnWithTheRulesThatAreLeft(t *testing.T) {
	running(t, func(t *testing.T, s *Spreader, k *fakeKernel, log *logText) {
		s.Set(wanted(VIP{vip, "eth0", false, true, table(neighbour, 2)}))
		synctest.Wait()
		k.fail("replace", unix.ENOMEM)
		s.Set(wanted(VIP{vip, "eth1", false, true, table(neighbour, 2)}))
		synctest.Wait()
		if st := s.Status(); st.HasRules || !st.HandsOn || !strings.Contains(st.Problem, "memory") {
			t.Errorf("the write has failed: %+v", st)
		}
		k.expire()
		time.Sleep(retryInterval)
		synctest.Wait()
		if st := s.Status(); st.HandsOn {
			t.Errorf("the rules have ended: %+v", st)
		}
	})
}

func TestSpreaderIsSilentWithoutRightsIfNothingIsSpread(t *testing.T) {
	for _, refused := range []error{unix.EPERM, unix.EOPNOTSUPP} {
		k := &fakeKernel{}
		k.fail("remove", fmt.Errorf("removing the tables: %w", refused))
		runningOn(t, k, func(t *testing.T, s *Spreader, k *fakeKernel, log *logText) {
			s.Set(wanted())
			time.Sleep(time.Minute)
			expect(t, k, refused.Error(), "remove")
			if strings.Contains(log.String(), "WARN") {
				t.Errorf("%v: %s", refused, log)
			}
		})
	}
}

func TestSpreaderLogsAFailureOnce(t *testing.T) {
	running(t, func(t *testing.T, s *Spreader, k *fakeKernel, log *logText) {
		k.fail("replace", errors.New("no memory"))
		s.Set(wanted(VIP{vip, "eth0", false, false, table(neighbour, 2)}))
		time.Sleep(2 * retryInterval)
		expect(t, k, "it tries again", "replace", "replace", "replace")
		if s.Status().HasRules {
			t.Error("it says that the kernel has the rules")
		}
		if n := strings.Count(log.String(), "flows cannot be spread"); n != 1 {
			t.Errorf("%d warnings: %s", n, log)
		}
	})
}
