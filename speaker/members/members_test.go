package members

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// loopback starts members on 127.0.0.2, .3, … with the same port.
func loopback(t *testing.T, secrets ...string) []*Members {
	t.Helper()
	port := freePort(t)
	peers := map[string]netip.Addr{}
	for i := range secrets {
		peers[fmt.Sprint("node", i)] = netip.AddrFrom4([4]byte{127, 0, 0, byte(i + 2)})
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	var all []*Members
	for i, secret := range secrets {
		name := fmt.Sprint("node", i)
		m, err := New(Options{
			Name: name, Addr: netip.AddrPortFrom(peers[name], port), Secret: []byte(secret),
			Peers: func() map[string]netip.Addr { return maps.Clone(peers) }, Changed: func() {}, ProbeInterval: 200 * time.Millisecond,
			Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
		})
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { m.Run(ctx); close(ended) }()
		t.Cleanup(func() { cancel(); <-ended; m.Close() })
		all = append(all, m)
	}
	for _, m := range all {
		<-m.Joined()
	}
	return all
}

// freePort returns a port that nobody used a moment ago.
func freePort(t *testing.T) uint16 {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).AddrPort().Port()
}

func eventuallyAlive(t *testing.T, m *Members, want ...string) {
	t.Helper()
	eventually(t, m.Alive, want...)
}

func eventually(t *testing.T, get func() []string, want ...string) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !slices.Equal(get(), want); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got %v, want %v", get(), want)
		}
	}
}

func TestMembersFindEachOtherAndNoticeWhoLeaves(t *testing.T) {
	all := loopback(t, "s", "s", "s")
	for _, m := range all {
		eventuallyAlive(t, m, "node0", "node1", "node2")
	}
	if err := all[2].Leave(); err != nil {
		t.Fatal(err)
	}
	eventuallyAlive(t, all[0], "node0", "node1")
	if err := all[1].Close(); err != nil { // without a word
		t.Fatal(err)
	}
	eventuallyAlive(t, all[0], "node0")
}

func TestWhatAMemberSaysOfItselfIsKnownToTheOthers(t *testing.T) {
	all := loopback(t, "s", "s")
	eventuallyAlive(t, all[0], "node0", "node1")
	for _, p := range profiles {
		all[1].SetProfile(p)
		eventually(t, func() []string {
			if others := all[0].Others(); len(others) == 1 && others[0].Profile.Equal(p) {
				return []string{"said"}
			}
			return nil
		}, "said")
	}
}

func TestWhoDiesIsLostAndWhoLeavesIsNot(t *testing.T) {
	all := loopback(t, "s", "s", "s")
	eventuallyAlive(t, all[0], "node0", "node1", "node2")
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
	if err := all[2].Close(); err != nil { // without a word
		t.Fatal(err)
	}
	eventually(t, lost, "node2")
	eventuallyAlive(t, all[0], "node0")
	all[0].Forget("node2")
	if others := all[0].Others(); len(others) > 0 {
		t.Errorf("there are still %v", others)
	}
}

var profiles = []Profile{
	{},
	{Silent: true},
	{Leaving: true},
	{Held: true, Links: []Link{{Name: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, 1}}}},
	{Links: []Link{
		{Name: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, 1}, IPv4: netip.MustParsePrefix("192.0.2.1/24"), IPv6: netip.MustParsePrefix("2001:db8::1/64")},
		{Name: "bond0.100", MAC: [6]byte{2, 0, 0, 0, 0, 2}, IPv6: netip.MustParsePrefix("2001:db8:1::1/64")},
	}},
}

func TestAProfileIsReadAsItWasWritten(t *testing.T) {
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

func TestTheReasonWhyASpeakerIsMissingIsSaid(t *testing.T) {
	for text, want := range map[string]string{
		"dial tcp 192.0.2.1:7946: connect: connection refused": "--members-port",
		"dial tcp 192.0.2.1:7946: i/o timeout":                 "firewall",
		"dial tcp 192.0.2.1:7946: connect: no route to host":   "firewall",
		"EOF": "another key",
	} {
		if got := why(errors.New(text)); !strings.Contains(got, want) {
			t.Errorf("%s: %s", text, got)
		}
	}
}

func TestAMemberWithAnotherSecretStaysOutside(t *testing.T) {
	all := loopback(t, "s", "s", "t")
	eventuallyAlive(t, all[0], "node0", "node1")
	eventuallyAlive(t, all[2], "node2")
}

func TestALineOfMemberlistBecomesARecord(t *testing.T) {
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
