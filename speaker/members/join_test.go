package members

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func contacts(n int) []contact {
	var all []contact
	for i := range n {
		all = append(all, contact{node: fmt.Sprint("node", i)})
	}
	return all
}

func TestJoinContactsNoMoreMembersWhenEnoughHaveAnswered(t *testing.T) {
	var reached atomic.Int32
	var dials sync.WaitGroup
	done := contactSome(t.Context(), &dials, contacts(1000), func(contact) error { reached.Add(1); return nil })
	<-done
	dials.Wait()
	if n := reached.Load(); n < enoughAnswers || n > enoughAnswers+maxDials {
		t.Errorf("%d members were contacted, want from %d to %d", n, enoughAnswers, enoughAnswers+maxDials)
	}
}

func TestJoinContactsAllMembersUntilEnoughHaveAnswered(t *testing.T) {
	var reached atomic.Int32
	var dials sync.WaitGroup
	done := contactSome(t.Context(), &dials, contacts(200), func(contact) error {
		if reached.Add(1) == 200 {
			return nil
		}
		return errors.New("no answer")
	})
	<-done
	if n := reached.Load(); n != 200 {
		t.Errorf("the join ended after %d of 200 contacts, and the last one answers", n)
	}
	dials.Wait()
}

// listening returns a member that listens, and whose searches are begun by the test.
func listening(t *testing.T, network *network) *Members {
	t.Helper()
	m := New(network.options("node0", "s"))
	first, err := m.open(m.options.Addr)
	if err != nil {
		t.Fatal(err)
	}
	m.list.Store(first)
	t.Cleanup(func() {
		if err := m.closeList(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// contacted returns the members that do not answer, and that the call contacts.
func contacted(t *testing.T, m *Members, call func(context.Context, *sync.WaitGroup)) []string {
	t.Helper()
	m.absent = map[string]absence{}
	var dials sync.WaitGroup
	call(t.Context(), &dials)
	dials.Wait()
	return slices.Sorted(maps.Keys(m.absent))
}

// On most nodes of this network there is no speaker. A search costs little all the same, and each node
// has its turn.
func TestSearchesContactAllMissingMembersInTurn(t *testing.T) {
	network := newNetwork(t)
	network.set("node0", "127.0.0.2")
	for i := range 3 * maxSearch {
		network.set(fmt.Sprint("missing", i), fmt.Sprint("127.0.1.", i+1))
	}
	m := listening(t, network)
	seen := map[string]bool{}
	for range 3 {
		names := contacted(t, m, m.findMissing)
		if len(names) != maxSearch {
			t.Errorf("a search contacts %v, want %d members", names, maxSearch)
		}
		for _, name := range names {
			seen[name] = true
		}
	}
	if len(seen) != 3*maxSearch {
		t.Errorf("three searches contact %d of %d missing members", len(seen), 3*maxSearch)
	}
	names := contacted(t, m, m.findMissing)
	network.set("new", "127.0.2.1")
	m.LookFor(names[0], names[1])
	if again := contacted(t, m, m.findMissing); !slices.Contains(again, names[0]) || !slices.Contains(again, names[1]) || !slices.Contains(again, "new") || slices.Contains(again, names[2]) {
		t.Errorf("after %v, with a new node, the next search contacts %v, and %v are wanted", names, again, names[:2])
	}
	if again := contacted(t, m, m.findMissing); slices.Contains(again, names[0]) {
		t.Errorf("%s was wanted for one search, and the next one contacts %v", names[0], again)
	}
}

func TestLivingMembersShareASearch(t *testing.T) {
	for _, c := range []struct{ missing, wanted, alive, want int }{
		{0, 0, 5, 0},
		{3, 0, 1, 3},
		{50, 0, 50, 4},
		{500, 0, 50, 10},
		{999, 0, 1, 16},
		{50, 7, 50, 7},
		{50, 40, 50, 16},
	} {
		if got := searched(c.missing, c.wanted, c.alive); got != c.want {
			t.Errorf("%d missing, of which %d are wanted, and %d living members: a search contacts %d, want %d", c.missing, c.wanted, c.alive, got, c.want)
		}
	}
}

func TestRejoinContactsMembersThatWereHereFirst(t *testing.T) {
	network := newNetwork(t)
	network.set("node0", "127.0.0.2")
	network.set("known", "127.0.3.1")
	network.set("lost", "127.0.3.2")
	for i := range 2 * maxRejoin {
		network.set(fmt.Sprint("missing", i), fmt.Sprint("127.0.1.", i+1))
	}
	m := listening(t, network)
	m.others["known"], m.others["lost"] = Member{Name: "known"}, Member{Name: "lost", Lost: true}
	m.LookFor("missing7", "unknown")
	contacts, wanted := m.inTurn(m.otherAddresses, true)
	second, third := contacts[1].node, contacts[2].node
	if wanted != 1 || contacts[0].node != "missing7" || min(second, third) != "known" || max(second, third) != "lost" || len(contacts) != 2+2*maxRejoin {
		t.Errorf("%d of %d are wanted, first are %v", wanted, len(contacts), contacts[:3])
	}
	if names := contacted(t, m, m.rejoinSome); len(names) != maxRejoin || !slices.Contains(names, "known") || !slices.Contains(names, "lost") {
		t.Errorf("a rejoin contacts %d members, want %d with those that were here: %v", len(names), maxRejoin, names)
	}
}

// Its Node has another address already, so it may have come back there.
func TestDeadMemberWithAnotherAddressIsLookedForFirst(t *testing.T) {
	network := newNetwork(t)
	network.set("node0", "127.0.0.2")
	network.set("moved", "127.0.3.1")
	for i := range 2 * maxSearch {
		network.set(fmt.Sprint("missing", i), fmt.Sprint("127.0.1.", i+1))
	}
	m := listening(t, network)
	m.others["moved"] = Member{Name: "moved", Addr: netip.MustParseAddr("127.0.3.9")}
	m.others["moves"] = Member{Name: "moves", Addr: netip.MustParseAddr("127.0.3.8")}
	network.set("moves", "127.0.3.8")
	m.died("moved")
	m.died("moves")
	if contacts, wanted := m.inTurn(m.missing, false); wanted != 1 || contacts[0].node != "moved" {
		t.Errorf("%d are wanted, first is %v", wanted, contacts[0])
	}
	network.set("moves", "127.0.3.2") // it has another address after its death only
	if contacts, _ := m.inTurn(m.missing, false); contacts[1].node != "moves" {
		t.Errorf("first are %v", contacts[:2])
	}
	select {
	case <-m.search.C():
	default:
		t.Error("no search begins")
	}
}

// Speakers that start at the same time contact different members, so that they become one list.
func TestManyMembersBecomeOneList(t *testing.T) {
	network := newNetwork(t)
	var names []string
	for i := range 40 {
		names = append(names, fmt.Sprint("node", i))
		network.set(names[i], fmt.Sprint("127.0.0.", i+2))
	}
	var all []running
	for _, name := range names {
		o := network.options(name, "s")
		o.ProbeInterval = 10 * time.Second // 40 members in one process, with the race detector, answer late
		all = append(all, start(t, o))
	}
	slices.Sort(names)
	for _, m := range all {
		eventuallyAlive(t, m, names...)
	}
}
