package layer2

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// announcer runs test on an Announcer without links: it sends nothing, and decides all the same.
func announcer(t *testing.T, test func(a *Announcer)) {
	synctest.Test(t, func(t *testing.T) {
		a := New(slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		defer a.Close()
		test(a)
	})
}

func (a *Announcer) answersFor() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.entries)
}

func TestAHandedOverAddressIsAnsweredForUntilTheNewOwnerIsHeard(t *testing.T) {
	announcer(t, func(a *Announcer) {
		a.Set(nil, []Row{{vip4, Owner}, {vip6, Owner}})
		a.Set(nil, []Row{{vip4, Standby}, {vip6, Owner}})
		if a.answersFor() != 2 || a.Lingering() != 1 {
			t.Fatalf("answers for %d, %d of them lingering", a.answersFor(), a.Lingering())
		}
		a.claims <- claim{addr: vip4, mac: [6]byte(theirs), link: "eth0"}
		synctest.Wait()
		if a.answersFor() != 1 || a.Lingering() != 0 {
			t.Errorf("after the claim: answers for %d, %d of them lingering", a.answersFor(), a.Lingering())
		}
	})
}

func TestAHandOverEndsWhenNobodyIsHeard(t *testing.T) {
	announcer(t, func(a *Announcer) {
		a.Set(nil, []Row{{vip4, Owner}})
		a.Set(nil, []Row{{vip4, Standby}})
		time.Sleep(Linger - time.Millisecond)
		synctest.Wait()
		if a.answersFor() != 1 {
			t.Error("stopped too early")
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if a.answersFor() != 0 {
			t.Error("goes on")
		}
	})
}

func TestHandOverGoesOnAnsweringForAWhile(t *testing.T) {
	announcer(t, func(a *Announcer) {
		a.Set(nil, []Row{{vip4, Owner}, {vip6, Owner}})
		a.HandOver()
		if a.Lingering() != 2 {
			t.Errorf("%d linger", a.Lingering())
		}
		time.Sleep(Linger)
		synctest.Wait()
		if a.answersFor() != 0 {
			t.Error("goes on")
		}
	})
}

func TestAStandbyThatNeverOwnedStaysSilent(t *testing.T) {
	announcer(t, func(a *Announcer) {
		a.Set(nil, []Row{{vip4, Standby}})
		if a.answersFor() != 0 {
			t.Error("answers")
		}
	})
}

func TestAnAddressThatIsNotWantedStopsAtOnce(t *testing.T) {
	announcer(t, func(a *Announcer) {
		a.Set(nil, []Row{{vip4, Owner}})
		a.Set(nil, nil)
		if a.answersFor() != 0 {
			t.Error("answers")
		}
	})
}

func TestAClaimDoesNotTakeAnAddressFromItsOwner(t *testing.T) {
	announcer(t, func(a *Announcer) {
		a.Set(nil, []Row{{vip4, Owner}})
		a.claims <- claim{addr: vip4, mac: [6]byte(theirs), link: "eth0"}
		synctest.Wait()
		if a.answersFor() != 1 {
			t.Error("gave up")
		}
	})
}

func TestTheBurstIsAnnouncedAndThenARefresh(t *testing.T) {
	announcer(t, func(a *Announcer) {
		start := time.Now()
		a.Set(nil, []Row{{vip4, Owner}})
		a.Set(nil, []Row{{vip4, Owner}}) // the same again changes nothing
		for _, at := range burst {
			time.Sleep(time.Until(start.Add(at)) + time.Millisecond)
			synctest.Wait()
			a.mu.Lock()
			n := a.entries[vip4].burst
			a.mu.Unlock()
			want := 0
			for _, b := range burst {
				if b <= at {
					want++
				}
			}
			if n != want {
				t.Errorf("after %v: announced %d times, want %d", at, n, want)
			}
		}
		time.Sleep(refresh * 13 / 10)
		synctest.Wait()
		a.mu.Lock()
		defer a.mu.Unlock()
		if n := a.entries[vip4].burst; n != len(burst)+1 {
			t.Errorf("after a refresh: announced %d times", n)
		}
	})
}
