package members

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
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
			Peers: func() map[string]netip.Addr { return maps.Clone(peers) }, Changed: func() {},
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

func TestAMemberThatCannotAnnounceSaysSo(t *testing.T) {
	all := loopback(t, "s", "s")
	eventuallyAlive(t, all[0], "node0", "node1")
	for _, can := range []bool{false, true} {
		want := []string{"node0"}
		if can {
			want = append(want, "node1")
		}
		all[1].SetAnnouncing(can)
		for _, m := range all {
			eventually(t, m.Announcing, want...)
		}
		eventuallyAlive(t, all[0], "node0", "node1")
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
