package members

import (
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// guardOf returns a guard for nodes with these addresses.
func guardOf(addrs ...string) *guard {
	known := map[netip.Addr]string{}
	for _, a := range addrs {
		known[netip.MustParseAddr(a)] = "node of " + a
	}
	return newGuard(func() map[netip.Addr]string { return maps.Clone(known) }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
}

// rejections returns how often a guard has rejected for a reason.
func (g *guard) rejections(reason string) int {
	registry := prometheus.NewRegistry()
	registry.MustRegister(g.rejected)
	families, _ := registry.Gather()
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if metric.GetLabel()[0].GetValue() == reason {
				return int(metric.GetCounter().GetValue())
			}
		}
	}
	return -1
}

// inUse returns how many addresses have connections.
func (g *guard) inUse() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.used)
}

func TestGuardHearsOfNewNodesSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stays, comes, goes := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.2")
		now, reads := map[netip.Addr]string{stays: "a", goes: "b"}, 0
		g := newGuard(func() map[netip.Addr]string { reads++; return maps.Clone(now) }, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		check := func(when string, want ...netip.Addr) {
			t.Helper()
			got := map[netip.Addr]bool{}
			for _, a := range []netip.Addr{stays, comes, goes} {
				got[a] = g.allowed(a)
			}
			for _, a := range want {
				if !got[a] {
					t.Errorf("%s: %v is not allowed", when, a)
				}
				delete(got, a)
			}
			for a, ok := range got {
				if ok {
					t.Errorf("%s: %v is allowed", when, a)
				}
			}
		}
		check("at first", stays, goes)
		now = map[netip.Addr]string{stays: "a", comes: "c"}
		if !g.allowed(comes) {
			t.Error("a new node is not allowed at once")
		}
		time.Sleep(freshFor)
		check("after a second", stays, comes)

		reads = 0
		stranger := netip.MustParseAddr("192.0.2.99")
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if g.allowed(stranger) || !g.allowed(stays) {
				t.Fatal("a flood of strangers changes who is allowed")
			}
		}
		if most := 10 * (readsForStrangers + 2); reads > most {
			t.Errorf("the addresses were read %d times in 10 s, want at most %d", reads, most)
		}
		now[stranger] = "d"
		time.Sleep(freshFor)
		if !g.allowed(stranger) {
			t.Error("a stranger that has become a node is not allowed")
		}
	})
}

func TestGuardBoundsConnections(t *testing.T) {
	var addrs []string
	for i := range 40 {
		addrs = append(addrs, fmt.Sprint("192.0.2.", i+1))
	}
	g := guardOf(addrs...)
	first := netip.MustParseAddr(addrs[0])
	if reason, ok := g.admit(netip.MustParseAddr("192.0.2.99")); ok || reason != strangerConnection {
		t.Errorf("a stranger: %v, %v", reason, ok)
	}
	admitted := 0
	for _, a := range addrs {
		for range connectionsOfAddress {
			if _, ok := g.admit(netip.MustParseAddr(a)); ok {
				admitted++
			}
		}
		if reason, ok := g.admit(first); ok || reason != addressConnections {
			t.Fatalf("one more of the first address: %v, %v", reason, ok)
		}
	}
	if admitted != minConnections {
		t.Errorf("%d connections are admitted, want %d", admitted, minConnections)
	}
	if reason, ok := g.admit(netip.MustParseAddr(addrs[39])); ok || reason != allConnections {
		t.Errorf("one more of another address: %v, %v", reason, ok)
	}
	g.release(first, usage{connections: 1})
	if _, ok := g.admit(first); !ok {
		t.Error("a connection that has ended still counts")
	}
}

func TestGuardBoundsBytes(t *testing.T) {
	g := guardOf("192.0.2.1", "192.0.2.2")
	_, ofAddress, ofAll := g.limits()
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	if !g.take(a, int(ofAddress)) || g.take(a, 1) {
		t.Error("one address may not send exactly its limit")
	}
	if !g.take(b, int(ofAddress)) {
		t.Error("the bytes of one address count for another")
	}
	g.release(a, usage{bytes: ofAddress + 1})
	g.release(b, usage{bytes: ofAddress})
	if len(g.used) > 0 || g.total != (usage{}) {
		t.Errorf("after the release %v are used, %v in all", g.used, g.total)
	}
	sent := int64(0)
	for i := 0; i < 1000 && g.take(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), int(ofAddress)); i++ {
		sent += ofAddress
	}
	if sent > ofAll || ofAll > 64<<20 {
		t.Errorf("all together may send %d bytes, want at most %d and 64 MiB", sent, ofAll)
	}
}

func TestGuardHasRoomForLargeClusters(t *testing.T) {
	var addrs []string
	for i := range 4000 {
		addrs = append(addrs, netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String())
	}
	g := guardOf(addrs...)
	g.allowed(netip.MustParseAddr(addrs[0]))
	if connections, ofAddress, ofAll := g.limits(); connections != 1000 || ofAddress != 4000*2*memberBytes || ofAll != 4*ofAddress {
		t.Errorf("%d connections, %d bytes of one, %d of all", connections, ofAddress, ofAll)
	}
}
