package members

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// running is a member whose Run runs. die ends it without a goodbye.
type running struct {
	*Members
	die func()
}

// network is what the API server says about the nodes of a test.
type network struct {
	port uint16

	mu    sync.Mutex
	addrs map[string]netip.Addr
}

func newNetwork(t *testing.T) *network {
	return &network{port: freePort(t), addrs: map[string]netip.Addr{}}
}

// set gives a node an address.
func (n *network) set(name, addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addrs[name] = netip.MustParseAddr(addr)
}

func (n *network) addresses() map[string]netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.addrs)
}

func (n *network) nodeAddrs() map[netip.Addr]string {
	addrs := map[netip.Addr]string{}
	for name, addr := range n.addresses() {
		addrs[addr] = name
	}
	return addrs
}

// options returns those of a member on a node.
func (n *network) options(name, secret string) Options {
	return Options{
		Name: name, Addr: netip.AddrPortFrom(n.addresses()[name], n.port), Keys: [][]byte{[]byte(secret)},
		Addresses: n.addresses, NodeAddrs: n.nodeAddrs, Changed: func() {}, ProbeInterval: 200 * time.Millisecond,
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	}
}

// start runs a member.
func start(t *testing.T, o Options) running {
	t.Helper()
	m := New(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := m.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	die := func() { cancel(); <-ended }
	t.Cleanup(die)
	return running{m, die}
}

// loopback starts members on 127.0.0.2, .3, … with the same port.
func loopback(t *testing.T, secrets ...string) (all []running) {
	t.Helper()
	_, all = loopbackNetwork(t, secrets...)
	return all
}

func loopbackNetwork(t *testing.T, secrets ...string) (n *network, all []running) {
	t.Helper()
	n = newNetwork(t)
	for i := range secrets {
		n.set(fmt.Sprint("node", i), fmt.Sprint("127.0.0.", i+2))
	}
	for i, secret := range secrets {
		all = append(all, start(t, n.options(fmt.Sprint("node", i), secret)))
	}
	for _, m := range all {
		select {
		case <-m.Joined():
		case <-time.After(30 * time.Second):
			t.Fatal("the first join does not end")
		}
	}
	return n, all
}

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T) uint16 {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).AddrPort().Port()
}

func eventuallyAlive(t *testing.T, m running, want ...string) {
	t.Helper()
	eventually(t, m.alive, want...)
}

func eventually(t *testing.T, get func() []string, want ...string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !slices.Equal(get(), want); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got %v, want %v", get(), want)
		}
	}
}

func TestMembersFindEachOtherAndDetectLeaving(t *testing.T) {
	all := loopback(t, "s", "s", "s")
	for _, m := range all {
		eventuallyAlive(t, m, "node0", "node1", "node2")
	}
	if err := all[2].Leave(); err != nil {
		t.Fatal(err)
	}
	eventuallyAlive(t, all[0], "node0", "node1")
	all[1].die()
	eventuallyAlive(t, all[0], "node0")
}

// Without a version the others would believe the last profile of the speaker that ran there before, and
// elect one that does not announce yet.
func TestNewMemberIsFencedAndSaysSince(t *testing.T) {
	all := loopback(t, "s", "s")
	eventuallyAlive(t, all[0], "node0", "node1")
	if p := all[0].Others()[0].Profile; !p.Fenced || p.Version == 0 {
		t.Errorf("%+v", p)
	}
}

func TestProfileReachesTheOtherMembers(t *testing.T) {
	all := loopback(t, "s", "s")
	eventuallyAlive(t, all[0], "node0", "node1")
	for _, p := range profiles {
		all[1].SetProfile(p)
		eventually(t, func() []string {
			if others := all[0].Others(); len(others) == 1 && others[0].Profile.Equal(p) {
				return []string{"heard"}
			}
			return nil
		}, "heard")
	}
}

func TestMemberIsLostWhenItDiesButNotWhenItLeaves(t *testing.T) {
	all := loopback(t, "s", "s", "s")
	for _, m := range all { // a member that knows no other tells nobody that it leaves
		eventuallyAlive(t, m, "node0", "node1", "node2")
	}
	lost := func() (names []string) {
		for _, o := range all[0].Others() {
			if o.Lost {
				names = append(names, o.Name)
			}
		}
		return names
	}
	if err := all[1].Leave(); err != nil {
		t.Fatal(err)
	}
	all[2].die()
	eventually(t, lost, "node2")
	eventuallyAlive(t, all[0], "node0")
	all[0].Forget("node2")
	if others := all[0].Others(); len(others) > 0 {
		t.Errorf("there are still %v", others)
	}
}

var profiles = []Profile{
	{},
	{Fenced: true},
	{Leaving: true},
	{Suppressed: true, Links: []Link{{Name: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, 1}}}},
	{Links: []Link{
		{Name: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, 1}, IPv4: netip.MustParsePrefix("192.0.2.1/24"), IPv6: netip.MustParsePrefix("2001:db8::1/64")},
		{Name: "bond0.100", MAC: [6]byte{2, 0, 0, 0, 0, 2}, IPv6: netip.MustParsePrefix("2001:db8:1::1/64")},
	}},
	{Returned: true},
	{Fenced: true, Starting: true},
	{Spreads: true},
	{HandsOn: true},
	{Links: []Link{
		{Name: "eth0", IPv4: netip.MustParsePrefix("192.0.2.1/24"), Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		{Name: "bond0", IPv4: netip.MustParsePrefix("198.51.100.1/32"), Ports: [][6]byte{{2, 0, 0, 0, 0, 2}, {2, 0, 0, 0, 0, 3}},
			Networks: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8::/48")}},
	}},
}

// Version 0.1.0 writes no records, and reads a profile up to the end of its links.
func TestLinkOfAnOlderSpeakerHasItsAddressesNetworks(t *testing.T) {
	l := Link{Name: "eth0", IPv4: netip.MustParsePrefix("192.0.2.1/24"), IPv6: netip.MustParsePrefix("2001:db8::1/128")}
	b := encode(Profile{Links: []Link{l}}, 512)
	older, _, _ := bytes.Cut(b, []byte{networksRecord, 0, 0})
	if len(older) == len(b) {
		t.Fatalf("%x has no record", b)
	}
	p, err := decode(older)
	if err != nil || len(p.Links) != 1 || !slices.Equal(p.Links[0].Networks, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}) {
		t.Errorf("%+v (%v)", p, err)
	}
	if p, err := decode(append(b, 99, 1, 2)); err != nil || len(p.Links) != 1 || len(p.Links[0].Networks) > 0 {
		t.Errorf("with a record of a later version: %+v (%v)", p, err)
	}
}

func TestProfileRoundTrip(t *testing.T) {
	for _, p := range profiles {
		if got, err := decode(encode(p, 512)); err != nil || !got.Equal(p) {
			t.Errorf("%+v is read as %+v (%v)", p, got, err)
		}
	}
	many := Profile{}
	for range 100 {
		many.Links = append(many.Links, profiles[3].Links[0])
	}
	b := encode(many, 512)
	if got, err := decode(b); err != nil || len(b) > 512 || len(got.Links) < 10 {
		t.Errorf("%d bytes with %d links (%v)", len(b), len(got.Links), err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, p := range profiles {
		f.Add(encode(p, 512))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decode(b)
		if err != nil {
			return
		}
		if again, err := decode(encode(p, 1<<20)); err != nil || !again.Equal(p) {
			t.Errorf("%+v is read again as %+v (%v)", p, again, err)
		}
	})
}

func TestDiagnoseNamesTheReason(t *testing.T) {
	for text, want := range map[string]string{
		"dial tcp 192.0.2.1:7946: connect: connection refused": "--members-port",
		"dial tcp 192.0.2.1:7946: i/o timeout":                 "firewall",
		"dial tcp 192.0.2.1:7946: connect: no route to host":   "firewall",
		"EOF": "another key",
	} {
		if got := diagnose(errors.New(text)); !strings.Contains(got, want) {
			t.Errorf("%s: %s", text, got)
		}
	}
}

func TestMemberWithAnotherSecretCannotJoin(t *testing.T) {
	all := loopback(t, "s", "s", "t")
	eventuallyAlive(t, all[0], "node0", "node1")
	eventuallyAlive(t, all[2], "node2")
}

func TestLogLineOfMemberlistBecomesARecord(t *testing.T) {
	for line, want := range map[string]struct {
		level slog.Level
		text  string
	}{
		"2026/01/02 03:04:05 [ERR] memberlist: broken": {slog.LevelError, "memberlist: broken"},
		"2026/01/02 03:04:05 [INFO] memberlist: fine":  {slog.LevelDebug, "memberlist: fine"},
		"no level": {slog.LevelInfo, "no level"},
	} {
		if level, text := parseLine(line); level != want.level || text != want.text {
			t.Errorf("%q: %v %q", line, level, text)
		}
	}
}

func TestRunSaysWhichPortCannotBeOpened(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	o := newNetwork(t).options("node0", "s")
	o.Addr = listener.Addr().(*net.TCPAddr).AddrPort()
	m := New(o)
	if err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "--members-port") {
		t.Errorf("got %v", err)
	}
}

func TestRejoinEndsAndChangesAreReported(t *testing.T) {
	all := loopback(t, "s", "s")
	eventuallyAlive(t, all[0], "node0", "node1")
	first, second := all[0].Rejoin(), all[0].Rejoin()
	for _, done := range []<-chan struct{}{first, second} {
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			t.Fatal("a rejoin does not end")
		}
	}
}

// A member that is missing because its node is dead may not answer the search at all.
func TestRejoinDoesNotWaitForASearch(t *testing.T) {
	m := New(newNetwork(t).options("node0", "s"))
	m.Rejoin()
	if !m.waitOrRejoin(t.Context(), nil, time.Hour) {
		t.Error("the search goes on")
	}
}
