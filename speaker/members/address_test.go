package members

import (
	"bytes"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
)

// logBuffer keeps what is logged.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// count returns how many lines contain text.
func (b *logBuffer) count(text string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(b.text.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (b *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

// at returns the addresses at which a member sees the living members, with their names.
func at(m running) (all []string) {
	for _, o := range m.Others() {
		if !o.Lost {
			all = append(all, o.Name+" "+o.Addr.String())
		}
	}
	return all
}

// soon is much shorter than the 30 s for which memberlist keeps the address of a dead
// member, and long enough for a busy machine.
func soon(t *testing.T, since time.Time) {
	t.Helper()
	took := time.Since(since)
	t.Logf("%s: after %v", t.Name(), took.Round(time.Millisecond))
	if took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestNodeWithAnotherAddressIsBackSoon(t *testing.T) {
	for name, wait := range map[string]bool{"the others do not know yet that it was dead": false, "the others know that it is dead": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, all := loopbackNetwork(t, "s", "s", "s")
			for _, m := range all {
				eventuallyAlive(t, m, "node0", "node1", "node2")
			}
			all[2].die()
			if wait {
				eventuallyAlive(t, all[0], "node0", "node1")
				eventuallyAlive(t, all[1], "node0", "node1")
			}
			n.set("node2", "127.0.0.9")
			begun := time.Now()
			back := start(t, n.options("node2", "s"))
			eventually(t, func() []string { return at(all[0]) }, "node1 127.0.0.3", "node2 127.0.0.9")
			eventually(t, func() []string { return at(all[1]) }, "node0 127.0.0.2", "node2 127.0.0.9")
			eventually(t, func() []string { return at(back) }, "node0 127.0.0.2", "node1 127.0.0.3")
			soon(t, begun)
		})
	}
}

// An old speaker goes on answering at an address that its Node does not have any more.
func TestSpeakerAtItsNodesAddressWins(t *testing.T) {
	n, all := loopbackNetwork(t, "s", "s")
	eventuallyAlive(t, all[0], "node0", "node1")
	outdated := newNetwork(t)
	outdated.port = n.port
	outdated.set("node0", "127.0.0.2")
	outdated.set("node1", "127.0.0.3")
	outdated.set("node2", "127.0.0.4")
	n.set("node2", "127.0.0.4")
	start(t, outdated.options("node2", "s"))
	eventually(t, func() []string { return at(all[0]) }, "node1 127.0.0.3", "node2 127.0.0.4")

	n.set("node2", "127.0.0.9")
	begun := time.Now()
	start(t, n.options("node2", "s"))
	eventually(t, func() []string { return at(all[0]) }, "node1 127.0.0.3", "node2 127.0.0.9")
	eventually(t, func() []string { return at(all[1]) }, "node0 127.0.0.2", "node2 127.0.0.9")
	soon(t, begun)
}

func TestNewcomerDisplacesOnlyIfItsNodeHasTheAddress(t *testing.T) {
	old, addr := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.9")
	for name, tt := range map[string]struct {
		node  string // for which node both speak
		nodes map[netip.Addr]string
		want  bool
	}{
		"the Node has the new address":     {"node2", map[netip.Addr]string{addr: "node2"}, true},
		"the Node has the old address":     {"node2", map[netip.Addr]string{old: "node2"}, false},
		"the Node has both":                {"node2", map[netip.Addr]string{old: "node2", addr: "node2"}, false},
		"the Node is not known":            {"node2", nil, false},
		"another Node has the new address": {"node2", map[netip.Addr]string{addr: "node3"}, false},
		"another Node has the old address": {"node2", map[netip.Addr]string{old: "node3", addr: "node2"}, true},
		"it is about this node itself":     {"node1", map[netip.Addr]string{addr: "node1"}, false},
	} {
		o := newNetwork(t).options("node1", "s")
		o.NodeAddrs = func() map[netip.Addr]string { return maps.Clone(tt.nodes) }
		m := New(o)
		member := func(addr netip.Addr) *memberlist.Node {
			return &memberlist.Node{Name: tt.node, Addr: addr.AsSlice(), Meta: encode(Profile{}, 512)}
		}
		m.update(member(old), true)
		newcomers{m}.NotifyConflict(member(old), member(addr))
		refused := newcomers{m}.NotifyAlive(member(old)) != nil
		if m.isDisplaced(tt.node, old) != tt.want || refused != tt.want {
			t.Errorf("%s: displaced is %v, want %v; its message is refused: %v", name, !tt.want, tt.want, refused)
		}
		if err := (newcomers{m}).NotifyAlive(member(addr)); err != nil {
			t.Errorf("%s: the newcomer is refused: %v", name, err)
		}
	}
}

func TestMemberFollowsItsOwnAddress(t *testing.T) {
	n, all := loopbackNetwork(t, "s", "s")
	n.set("node2", "127.0.0.4")
	log := &logBuffer{}
	o := n.options("node2", "s")
	o.Log = log.logger()
	moves := start(t, o)
	profile := profiles[4]
	moves.SetProfile(profile)
	eventually(t, func() []string { return at(all[0]) }, "node1 127.0.0.3", "node2 127.0.0.4")

	n.set("node2", "127.0.0.9")
	eventually(t, func() []string { return []string{moves.Addr().String()} }, "127.0.0.9")
	begun := time.Now()
	for i, want := range []string{"node1 127.0.0.3", "node0 127.0.0.2"} {
		others := []string{want, "node2 127.0.0.9"}
		eventually(t, func() []string { return at(all[i]) }, others...)
	}
	eventually(t, func() []string { return at(moves) }, "node0 127.0.0.2", "node1 127.0.0.3")
	soon(t, begun)
	eventuallyAlive(t, moves, "node0", "node1", "node2")
	for _, o := range all[0].Others() {
		if o.Name == "node2" && !o.Profile.Equal(profile) {
			t.Errorf("the profile is %+v", o.Profile)
		}
	}
	if got := log.count("this node has another address"); got != 1 {
		t.Errorf("it is logged %d times", got)
	}
	for _, text := range []string{"speaker died", "speaker left"} {
		if log.count(text) > 0 {
			t.Errorf("the member that has moved says: %s", text)
		}
	}
	if err := moves.Leave(); err != nil {
		t.Errorf("it cannot leave: %v", err)
	}
	eventually(t, func() []string { return at(all[0]) }, "node1 127.0.0.3")
}

// A memberlist that has ended still detects deaths, because nothing answers it.
func TestEventsOfAnEndedListDoNotCount(t *testing.T) {
	m := New(newNetwork(t).options("node1", "s"))
	now, old := events{m, &atomic.Bool{}}, events{m, &atomic.Bool{}}
	node := func(addr string) *memberlist.Node {
		return &memberlist.Node{Name: "node2", Addr: netip.MustParseAddr(addr).AsSlice(), Meta: encode(Profile{}, 512)}
	}
	now.NotifyJoin(node("192.0.2.2"))
	old.ended.Store(true)
	old.NotifyLeave(node("192.0.2.2"))
	old.NotifyJoin(node("192.0.2.3"))
	old.NotifyUpdate(node("192.0.2.4"))
	if got := at(running{Members: m}); strings.Join(got, ", ") != "node2 192.0.2.2" {
		t.Errorf("got %v", got)
	}
	now.NotifyLeave(node("192.0.2.2"))
	if got := at(running{Members: m}); len(got) > 0 {
		t.Errorf("the present list does not count: %v", got)
	}
}

// The new memberlist has never known the dead member, and no third member tells of it.
func TestMemberThatHasMovedMissesTheDead(t *testing.T) {
	n, all := loopbackNetwork(t, "s", "s")
	eventuallyAlive(t, all[1], "node0", "node1")
	all[0].die()
	n.set("node1", "127.0.0.9")
	if err := all[1].moveTo(t.Context(), netip.MustParseAddr("127.0.0.9")); err != nil {
		t.Fatal(err)
	}
	if got := at(all[1]); len(got) != 1 {
		t.Errorf("directly after the move the others are %v", got)
	}
	eventually(t, func() []string { return at(all[1]) })
}

func TestMemberMovesOnlyIfItsNodeHasLostTheAddress(t *testing.T) {
	old, other := netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("127.0.0.9")
	for name, tt := range map[string]struct {
		first netip.Addr // the first InternalIP of the Node
		all   []netip.Addr
		want  netip.Addr
	}{
		"no change":                           {old, []netip.Addr{old}, netip.Addr{}},
		"another one":                         {other, []netip.Addr{other}, other},
		"another one first":                   {other, []netip.Addr{other, old}, netip.Addr{}},
		"the Node is gone":                    {netip.Addr{}, nil, netip.Addr{}},
		"the Node has no address any more":    {netip.Addr{}, nil, netip.Addr{}},
		"the Node has no InternalIP any more": {netip.Addr{}, []netip.Addr{other}, netip.Addr{}},
	} {
		o := newNetwork(t).options("node1", "s")
		o.Addr = netip.AddrPortFrom(old, 7946)
		o.Addresses = func() map[string]netip.Addr {
			if tt.first.IsValid() {
				return map[string]netip.Addr{"node1": tt.first}
			}
			return nil
		}
		o.NodeAddrs = func() map[netip.Addr]string {
			addrs := map[netip.Addr]string{}
			for _, a := range tt.all {
				addrs[a] = "node1"
			}
			return addrs
		}
		if got := New(o).otherOwnAddr(); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestMemberStaysIfTheNewAddressCannotBeUsed(t *testing.T) {
	_, all := loopbackNetwork(t, "s", "s")
	eventuallyAlive(t, all[0], "node0", "node1")
	if err := all[1].moveTo(t.Context(), netip.MustParseAddr("192.0.2.1")); err == nil || !strings.Contains(err.Error(), "listening on 192.0.2.1") {
		t.Errorf("got %v", err)
	}
	if all[1].Addr() != netip.MustParseAddr("127.0.0.3") {
		t.Errorf("it is at %v", all[1].Addr())
	}
	all[1].SetProfile(profiles[3]) // it still works
	eventually(t, func() []string {
		if others := all[0].Others(); len(others) == 1 && !others[0].Lost && others[0].Profile.Equal(profiles[3]) {
			return []string{"heard"}
		}
		return nil
	}, "heard")
}
