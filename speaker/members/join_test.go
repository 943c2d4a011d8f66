package members

import (
	"errors"
	"fmt"
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

// On most nodes of this network there is no speaker, and a search must cost little all the same.
func TestSearchContactsFewMembersAndFirstThoseThatAreWanted(t *testing.T) {
	network := newNetwork(t)
	network.set("node0", "127.0.0.2")
	for i := range 60 {
		network.set(fmt.Sprint("missing", i), fmt.Sprint("127.0.1.", i+1))
	}
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
	// contacted returns the members that a search contacts.
	contacted := func() (names []string) {
		m.absent = map[string]absence{}
		var dials sync.WaitGroup
		m.findMissing(t.Context(), &dials)
		dials.Wait()
		for name := range m.absent {
			names = append(names, name)
		}
		return names
	}
	if got := contacted(); len(got) != searchContacts {
		t.Errorf("a search contacts %v, want %d members", got, searchContacts)
	}
	wanted := []string{"missing1", "missing11", "missing21", "missing31", "missing41", "missing51"}
	m.lookFor(wanted...)
	if got := contacted(); len(got) != len(wanted) || slices.ContainsFunc(wanted, func(name string) bool { return !slices.Contains(got, name) }) {
		t.Errorf("a search contacts %v, want %v", got, wanted)
	}
	if got := contacted(); len(got) != searchContacts {
		t.Errorf("the next search contacts %v, want %d members", got, searchContacts)
	}
}

func TestWantedMembersAreContactedFirst(t *testing.T) {
	m := New(newNetwork(t).options("node0", "s"))
	addrs := map[string]netip.Addr{}
	for i := range 100 {
		addrs[fmt.Sprint("node", i)] = netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
	}
	m.lookFor("node7", "node70", "unknown")
	got, wanted := m.inTurn(addrs)
	if wanted != 2 || len(got) != 100 {
		t.Fatalf("%d of %d members are wanted, want 2 of 100", wanted, len(got))
	}
	seen := map[string]bool{}
	for i, c := range got {
		if first := c.node == "node7" || c.node == "node70"; first != (i < 2) {
			t.Errorf("%s is contacted as number %d", c.node, i)
		}
		if c.addr != addrs[c.node] {
			t.Errorf("%s is contacted at %s", c.node, c.addr)
		}
		seen[c.node] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d of 100 members are contacted", len(seen))
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
