package layer2

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var foreign = [6]byte{2, 0, 0, 0, 0, 0x99}

// harness is an Announcer without links. It makes all decisions, but sends nothing.
type harness struct {
	*Announcer
	registry *prometheus.Registry
	forbid   atomic.Bool  // to answer
	changes  atomic.Int64 // how often Changed was called
	members  map[[6]byte]Member
}

func announcer(t *testing.T, test func(h *harness)) {
	synctest.Test(t, func(t *testing.T) {
		h := &harness{registry: prometheus.NewRegistry(), members: map[[6]byte]Member{[6]byte(theirs): {Name: "node2"}}}
		h.Announcer = New(Options{
			Log: slog.New(slog.DiscardHandler), Metrics: h.registry, Refresh: DefaultRefresh,
			MayAnswer: func() bool { return !h.forbid.Load() }, Changed: func() { h.changes.Add(1) },
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = h.Run(ctx) }()
		defer func() { cancel(); <-ended }()
		test(h)
	})
}

func (h *harness) set(assignments ...Assignment) {
	h.Set(nil, h.members, assignments)
	synctest.Wait()
}

func (h *harness) claim(mac [6]byte) { h.claimOf(claim{source: mac, sender: mac, link: "eth0"}) }

func (h *harness) claimOf(c claim) {
	c.addr = vip4
	h.claims <- c
	synctest.Wait()
}

func (h *harness) answersFor() (n int) {
	h.owned(&n)
	return n
}

func (h *harness) phase() phase {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.entry(vip4, "eth0"); e != nil {
		return e.phase
	}
	return 0
}

func (h *harness) announced() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.entry(vip4, "eth0").sent
}

func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var (
	owner   = Assignment{Addr: vip4, Role: Owner, Links: []string{"eth0"}}
	standby = Assignment{Addr: vip4, Role: Standby}
	fresh   = Assignment{Addr: vip4, Role: Owner, Links: []string{"eth0"}, Fresh: true}
	other   = Assignment{Addr: vip6, Role: Owner, Links: []string{"eth0"}}
)

func TestHandoverAnswersUntilTheNewOwnerIsHeard(t *testing.T) {
	announcer(t, func(h *harness) {
		h.set(owner, other)
		h.set(standby, other)
		if h.answersFor() != 2 || h.Lingering() != 1 {
			t.Fatalf("answers for %d, %d of them lingering", h.answersFor(), h.Lingering())
		}
		h.claim(foreign)
		if h.Lingering() != 1 {
			t.Error("a foreign host was treated as the new owner")
		}
		h.claim([6]byte(theirs))
		if h.answersFor() != 1 || h.Lingering() != 0 {
			t.Errorf("after the claim: answers for %d, %d of them lingering", h.answersFor(), h.Lingering())
		}
	})
}

func TestHandoverEndsAtOnceIfTheNewOwnerWasHeard(t *testing.T) {
	announcer(t, func(h *harness) {
		h.set(owner)
		wait(10 * time.Second)
		h.claim([6]byte(theirs))
		if h.answersFor() != 1 {
			t.Error("stopped before the plan has said so")
		}
		h.set(standby)
		if h.answersFor() != 0 {
			t.Error("goes on")
		}
	})
}

func TestHandoverExpiresIfNoNewOwnerIsHeard(t *testing.T) {
	announcer(t, func(h *harness) {
		h.set(owner)
		h.set(standby)
		wait(linger - time.Millisecond)
		if h.answersFor() != 1 {
			t.Error("stopped too early")
		}
		wait(2 * time.Millisecond)
		if h.answersFor() != 0 {
			t.Error("goes on")
		}
	})
}

func TestHandoverOfAllAddressesAnswersForAWhile(t *testing.T) {
	announcer(t, func(h *harness) {
		h.set(owner, other)
		h.HandOver()
		if h.Lingering() != 2 {
			t.Errorf("%d linger", h.Lingering())
		}
		wait(linger)
		if h.answersFor() != 0 {
			t.Error("goes on")
		}
	})
}

// The new owner announces all addresses within a moment. No announcement may be lost.
func TestHandoverOfHundredsOfAddressesIsHeard(t *testing.T) {
	announcer(t, func(h *harness) {
		var owners, standbys []Assignment
		for i := range 500 {
			as := Assignment{Addr: netip.AddrFrom4([4]byte{192, 0, 2 + byte(i>>8), byte(i)}), Role: Owner, Links: owner.Links}
			owners = append(owners, as)
			as.Role = Standby
			standbys = append(standbys, as)
		}
		h.set(owners...)
		h.set(standbys...)
		if h.Lingering() != 500 {
			t.Fatalf("%d linger", h.Lingering())
		}
		for _, as := range standbys {
			select {
			case h.claims <- claim{addr: as.Addr, source: [6]byte(theirs), sender: [6]byte(theirs), link: "eth0"}:
			default:
				t.Fatal("a claim is dropped")
			}
		}
		synctest.Wait()
		if h.Lingering() != 0 || h.answersFor() != 0 {
			t.Errorf("%d linger", h.Lingering())
		}
	})
}

func TestStandbyThatNeverOwnedDoesNotAnswer(t *testing.T) {
	announcer(t, func(h *harness) {
		h.set(standby)
		if h.answersFor() != 0 {
			t.Error("answers")
		}
	})
}

func TestAnnouncerStopsAtOnceForARemovedAddress(t *testing.T) {
	announcer(t, func(h *harness) {
		h.set(owner)
		h.set()
		if h.answersFor() != 0 {
			t.Error("answers")
		}
	})
}

func TestForgottenAddressIsNotHandedOver(t *testing.T) {
	announcer(t, func(h *harness) {
		h.set(owner, other)
		h.Forget()
		h.set(standby, other)
		if h.answersFor() != 1 || h.Lingering() != 0 {
			t.Errorf("answers for %d, %d of them lingering", h.answersFor(), h.Lingering())
		}
	})
}

func TestFreshAddressIsProbedBeforeItIsAnnounced(t *testing.T) {
	announcer(t, func(h *harness) {
		h.set(fresh)
		wait(probes*probePause - time.Millisecond)
		if h.answersFor() != 0 || h.announced() != probes {
			t.Errorf("answers for %d after %d probes", h.answersFor(), h.announced())
		}
		wait(2 * time.Millisecond)
		if h.answersFor() != 1 || len(h.Conflicts()) > 0 {
			t.Error("is not announced after the probes")
		}
	})
}

func TestConflictPreventsTheAnnouncementUntilItEnds(t *testing.T) {
	announcer(t, func(h *harness) {
		h.set(fresh)
		wait(50 * time.Millisecond)
		h.claim(foreign)
		found := h.Conflicts()
		if h.answersFor() != 0 || len(found) != 1 || found[0].MAC != "02:00:00:00:00:99" || found[0].Announced {
			t.Fatalf("answers for %d, conflicts %v", h.answersFor(), found)
		}
		wait(probeAgain + 50*time.Millisecond)
		h.claim(foreign) // still there
		if h.phase() != conflicting {
			t.Errorf("phase %d", h.phase())
		}
		changes := h.changes.Load()
		wait(probeAgain + probes*probePause + time.Millisecond)
		if h.answersFor() != 1 || len(h.Conflicts()) > 0 || h.changes.Load() == changes {
			t.Errorf("when the host is gone it answers for %d, conflicts %v, and has told %d changes", h.answersFor(), h.Conflicts(), h.changes.Load()-changes)
		}
	})
}

func TestConflictIsNeverWithAnotherSpeaker(t *testing.T) {
	announcer(t, func(h *harness) {
		h.set(fresh)
		wait(50 * time.Millisecond)
		h.claim([6]byte(theirs))
		if h.phase() != announcing || len(h.Conflicts()) > 0 {
			t.Errorf("while probing: phase %d, %v", h.phase(), h.Conflicts())
		}
		h.claim([6]byte(theirs))
		if h.phase() != announcing || len(h.Conflicts()) > 0 || h.LostHeard() > 0 {
			t.Errorf("while announcing: phase %d, %v, lost members heard %d", h.phase(), h.Conflicts(), h.LostHeard())
		}
	})
}

func TestConflictEndsWhenTheHostBecomesAMember(t *testing.T) {
	announcer(t, func(h *harness) {
		h.set(fresh)
		wait(50 * time.Millisecond)
		h.claim(foreign)
		h.members = map[[6]byte]Member{foreign: {Name: "node3"}}
		h.set(fresh)
		if h.phase() != announcing || len(h.Conflicts()) > 0 {
			t.Errorf("phase %d, %v", h.phase(), h.Conflicts())
		}
	})
}

func TestConflictAfterTheAnnouncementIsDefended(t *testing.T) {
	announcer(t, func(h *harness) {
		h.set(owner)
		wait(10 * time.Second)
		answered := func() time.Time {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.entry(vip4, "eth0").found.answered
		}
		h.claim(foreign)
		first := answered()
		if found := h.Conflicts(); first.IsZero() || len(found) != 1 || !found[0].Announced || h.answersFor() != 1 {
			t.Errorf("conflicts %v, answered at %v", found, first)
		}
		wait(defendInterval - time.Millisecond)
		h.claim(foreign)
		if answered() != first {
			t.Error("defended again too soon")
		}
		wait(time.Millisecond)
		h.claim(foreign)
		if answered() == first {
			t.Error("not defended again")
		}
		wait(contestedFor)
		if found := h.Conflicts(); len(found) > 0 {
			t.Errorf("still reported: %v", found)
		}
	})
}

func TestAnnouncerCorrectsALostMember(t *testing.T) {
	announcer(t, func(h *harness) {
		h.members = map[[6]byte]Member{[6]byte(theirs): {Name: "node2", Lost: true}}
		heard := ""
		h.options.Lost = func(name string) { heard = name }
		h.set(owner)
		h.claim([6]byte(theirs))
		h.mu.Lock()
		answered := h.entry(vip4, "eth0").found.answered
		h.mu.Unlock()
		if h.answersFor() != 1 || answered.IsZero() || h.LostHeard() != 1 || heard != "node2" || len(h.Conflicts()) > 0 {
			t.Errorf("answers for %d, corrected at %v, lost members heard %d, the last is %q, %v", h.answersFor(), answered, h.LostHeard(), heard, h.Conflicts())
		}
	})
}

func TestBurstIsFollowedByARefresh(t *testing.T) {
	announcer(t, func(h *harness) {
		start := time.Now()
		h.set(owner)
		h.set(owner) // the same again changes nothing
		for _, at := range burst {
			wait(time.Until(start.Add(at)) + time.Millisecond)
			want := 0
			for _, b := range burst {
				if b <= at {
					want++
				}
			}
			if n := h.announced(); n != want {
				t.Errorf("after %v: announced %d times, want %d", at, n, want)
			}
		}
		wait(DefaultRefresh * 13 / 10)
		if n := h.announced(); n != len(burst)+1 {
			t.Errorf("after a refresh: announced %d times", n)
		}
	})
}

func TestBurstIsTheLastAnnouncementWithoutRefresh(t *testing.T) {
	announcer(t, func(h *harness) {
		h.options.Refresh = 0
		h.set(owner)
		wait(48 * time.Hour)
		if n := h.announced(); n != len(burst) {
			t.Errorf("announced %d times", n)
		}
	})
}

func TestFencedAnnouncerAnnouncesNothing(t *testing.T) {
	announcer(t, func(h *harness) {
		h.forbid.Store(true)
		h.set(owner)
		wait(10 * time.Second)
		if n := h.announced(); n != 0 {
			t.Errorf("announced %d times", n)
		}
		h.forbid.Store(false)
		wait(fencedRetry)
		if n := h.announced(); n != 1 {
			t.Errorf("announced %d times when it may again", n)
		}
	})
}

func TestAnnouncementsOfManyAddressesAreSpread(t *testing.T) {
	announcer(t, func(h *harness) {
		var assignments []Assignment
		for addr := range manyVIPs() {
			assignments = append(assignments, Assignment{Addr: addr, Role: Owner, Links: []string{"eth0"}})
		}
		h.set(assignments...)
		announcedOnce := func() (n int) {
			h.mu.Lock()
			defer h.mu.Unlock()
			for _, all := range h.entries {
				n += min(1, all[0].sent)
			}
			return n
		}
		if n := announcedOnce(); n != roundSize {
			t.Errorf("%d announced at once", n)
		}
		wait(5 * time.Second) // also those of the burst that are due again
		if n := announcedOnce(); n != len(assignments) {
			t.Errorf("%d announced after 5 s", n)
		}
	})
}

func TestMetricsOfAnAddressAreRemovedWithIt(t *testing.T) {
	announcer(t, func(h *harness) {
		series := func() (names []string) {
			families, err := h.registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				for _, m := range f.GetMetric() {
					if strings.Contains(m.String(), vip4.String()) {
						names = append(names, f.GetName())
					}
				}
			}
			return names
		}
		h.set(owner)
		h.claim(foreign)
		if got := series(); !slices.Equal(got, []string{"baremetal_layer2_conflict", "baremetal_layer2_owner"}) {
			t.Errorf("%v", got)
		}
		h.set()
		if got := series(); len(got) > 0 {
			t.Errorf("afterwards %v", got)
		}
	})
}
