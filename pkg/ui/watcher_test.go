package ui

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// script is a source that says one report after the other, and then the last one again and again.
type script struct {
	mu      sync.Mutex
	reports []Report
	err     error
	looks   int
}

func (s *script) Look(context.Context) (Report, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	if s.err != nil {
		return Report{}, s.err
	}
	return s.reports[min(s.looks, len(s.reports))-1], nil
}

func (s *script) Explain(_ context.Context, addr netip.Addr) (string, error) {
	if addr == vip2 {
		return "", errors.New("no Service has " + addr.String())
	}
	return addr.String() + " is announced by node a", nil
}

func (s *script) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looks
}

func TestSourceIsAskedOnlyWhileAPageIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &script{reports: []Report{{Speakers: []Speaker{answers("a", nil)}}}}
		w := newWatcher(source, "c", time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { w.run(ctx) })
		expect := func(when string, want int) {
			t.Helper()
			synctest.Wait()
			if got := source.count(); got != want {
				t.Errorf("%s: the source was asked %d times, want %d", when, got, want)
			}
		}
		time.Sleep(time.Hour)
		expect("before a page is open", 0)
		closeFirst := w.open()
		closeSecond := w.open()
		time.Sleep(10*time.Second + time.Millisecond)
		expect("after 10 s with two pages", 11)
		closeFirst()
		time.Sleep(10 * time.Second)
		expect("after 10 s with one page", 21)
		closeSecond()
		time.Sleep(time.Hour)
		expect("after an hour without a page", 21)
		w.open()
		expect("after another page", 22)
		cancel()
		wg.Wait()
	})
}

func TestStateKeepsAddressesWhenNobodyAnswers(t *testing.T) {
	good := Report{Time: noon, Speakers: []Speaker{answers("a", []string{"b"}, layer2("a", vip1, "a")), answers("b", []string{"a"}, layer2("b", vip1, "a"))}}
	lost := Report{Time: noon.Add(time.Second), Speakers: []Speaker{silent("a"), silent("b")}}
	moved := Report{Time: noon.Add(time.Minute), Speakers: []Speaker{silent("a"), answers("b", nil, layer2("b", vip1, "b"))}}

	s := watched{}.next("c", good, nil)
	s = s.next("c", lost, nil)
	if len(s.update.Addresses) != 1 || !strings.Contains(s.update.Stale, "no speaker answers") || len(s.update.Moves) != 0 {
		t.Errorf("without speakers: %+v", s.update)
	}
	s = s.next("c", Report{}, errors.New("the API server does not answer"))
	if len(s.update.Addresses) != 1 || s.update.Stale != "the API server does not answer" || s.update.Time != lost.Time {
		t.Errorf("without an API server: %+v", s.update)
	}
	s = s.next("c", moved, nil)
	if s.update.Stale != "" || len(s.update.Moves) != 2 || s.update.Moves[1].Text != "192.0.2.1 moved from a to b" || s.update.Moves[1].After != noon {
		t.Errorf("after all is back: %+v", s.update)
	}
}

func TestVersionChangesOnlyWithThePicture(t *testing.T) {
	report := Report{Time: noon, Speakers: []Speaker{answers("a", nil, layer2("a", vip1, "a"))}}
	first := watched{}.next("c", report, nil)
	report.Time = noon.Add(time.Second)
	second := first.next("c", report, nil)
	if second.version != first.version || second.update.Time != report.Time {
		t.Errorf("the time alone changed the version from %d to %d", first.version, second.version)
	}
	report.Problems = []Problem{{What: "typo"}}
	if third := second.next("c", report, nil); third.version == second.version {
		t.Error("a problem changed nothing")
	}
}

func TestPictureThatCannotBeSentIsSaid(t *testing.T) {
	s := answers("a", nil)
	report := Report{Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), Speakers: []Speaker{s}}
	if got := string((watched{}).next("c", report, nil).data); !strings.Contains(got, "the picture cannot be sent") {
		t.Errorf("sent %s", got)
	}
}

// slow is a source that takes long to look.
type slow struct {
	script
	takes time.Duration
}

func (s *slow) Look(ctx context.Context) (Report, error) {
	time.Sleep(s.takes)
	return s.script.Look(ctx)
}

func TestPauseAfterALookIsAsLongAsTheLook(t *testing.T) {
	for takes, want := range map[time.Duration]int{0: 60, 500 * time.Millisecond: 40, 5 * time.Second: 6} {
		synctest.Test(t, func(t *testing.T) {
			source := &slow{script: script{reports: []Report{{}}}, takes: takes}
			w := newWatcher(source, "c", time.Second)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute-time.Millisecond)
			defer cancel()
			defer w.open()()
			w.run(ctx)
			if got := source.count(); got != want {
				t.Errorf("a look that takes %v: %d looks in a minute, want %d", takes, got, want)
			}
		})
	}
}
