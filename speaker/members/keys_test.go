package members

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

func secrets(text ...string) (all [][]byte) {
	for _, s := range text {
		all = append(all, []byte(s))
	}
	return all
}

func TestKeysOfMemberlistAreThoseThatWereSet(t *testing.T) {
	var k keys
	k.set(secrets("a"))
	// memberlist reads the keys all the time, without a lock. The race detector sees if
	// they are overwritten.
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
				for _, key := range k.ring.GetKeys() {
					_ = memberlist.ValidateKey(key)
				}
			}
		}
	}()
	defer func() { close(stop); <-ended }()
	sets := [][]string{{"a", "b"}, {"b", "a"}, {"b"}, {"a", "b", "c", "d"}, {"c", "a", "d"}, {"d"}, {"d"}, {"e", "f"}, {"f", "d"}}
	for _, set := range slices.Repeat(sets, 200) {
		k.set(secrets(set...))
		got := k.ring.GetKeys()
		if len(got) != len(set) || k.count() != len(set) || !bytes.Equal(got[0], encryptionKey([]byte(set[0]))) {
			t.Fatalf("%v: %d keys, or another one is the first", set, len(got))
		}
		for _, s := range set {
			if !slices.ContainsFunc(got, func(key []byte) bool { return bytes.Equal(key, encryptionKey([]byte(s))) }) {
				t.Errorf("%v: the key %s is missing", set, s)
			}
		}
	}
}

// A speaker uses these keys at each step, whether an operator rotates the key in three
// steps or replaces it at once; see pkg/memberkey.
func TestKeysChangeInAnyOrderAndNoMemberIsLost(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			t.Parallel()
			_, all := loopbackNetwork(t, "old", "old", "old")
			for _, m := range all {
				eventuallyAlive(t, m, "node0", "node1", "node2")
			}
			// Every member hears the others: they hear of its new profile, and it of theirs.
			n := 0
			heardAgain := func() {
				t.Helper()
				n++
				want := Profile{Links: []Link{{Name: fmt.Sprint("eth", n)}}}
				for _, m := range all {
					m.SetProfile(want)
				}
				for _, m := range all {
					eventually(t, func() []string {
						heard := 0
						for _, o := range m.Others() {
							if !o.Lost && o.Profile.Equal(want) {
								heard++
							}
						}
						return []string{fmt.Sprint(heard)}
					}, "2")
				}
			}
			for _, keys := range [][]string{{"old", "new"}, {"new", "old"}, {"new"}} {
				for _, i := range order {
					all[i].SetKeys(secrets(keys...))
					heardAgain()
				}
			}
			for _, m := range all {
				if rejected := m.guard.rejections(otherKey); rejected > 0 || m.Returned() > 0 {
					t.Errorf("%d messages were rejected for their key, members were declared dead %d times", rejected, m.Returned())
				}
			}
		})
	}
}

func TestMemberThatMovesKeepsItsNewKeys(t *testing.T) {
	n, all := loopbackNetwork(t, "old", "old")
	for _, m := range all {
		m.SetKeys(secrets("new"))
	}
	n.set("node1", "127.0.0.9")
	eventually(t, func() []string { return at(all[0]) }, "node1 127.0.0.9")
}

func TestOldKeyIsWorthNothingAfterARotation(t *testing.T) {
	n, all := loopbackNetwork(t, "old", "old")
	for _, m := range all {
		m.SetKeys(secrets("new"))
	}
	n.set("node2", "127.0.0.4")
	thief := start(t, n.options("node2", "old"))
	<-thief.Joined()
	eventuallyAlive(t, thief, "node2")
	eventuallyAlive(t, all[0], "node0", "node1")
	if all[0].guard.rejections(otherKey) == 0 {
		t.Error("the rejected key is not counted")
	}
}

func TestSenderWithAnotherKeyIsNamed(t *testing.T) {
	n := newNetwork(t)
	n.set("node0", "127.0.0.2")
	n.set("node1", "127.0.0.3")
	senders := make(chan netip.Addr, 1)
	o := n.options("node0", "new")
	o.OtherKey = func(from netip.Addr) {
		select {
		case senders <- from:
		default:
		}
	}
	start(t, o)
	start(t, n.options("node1", "old"))
	select {
	case from := <-senders:
		if from != netip.MustParseAddr("127.0.0.3") {
			t.Errorf("the sender is %s", from)
		}
	case <-time.After(30 * time.Second):
		t.Error("no sender is named")
	}
}
