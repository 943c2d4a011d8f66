package members

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// from returns a dialer for connections that come from an address.
func from(addr string) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}, Timeout: 10 * time.Second}
}

// opened returns a transport on 127.0.0.2 whose only neighbour is 127.0.0.3.
func opened(t *testing.T) *transport {
	t.Helper()
	tr, err := newTransport(netip.MustParseAddrPort("127.0.0.2:0"), guardOf("127.0.0.3"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tr.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

// connections returns how many connections are open.
func (t *transport) connections() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open)
}

func TestStrangersConnectionIsClosedAtOnce(t *testing.T) {
	tr := opened(t)
	for range 10 {
		conn, err := from("127.0.0.99").Dial("tcp", tr.tcp.Addr().String())
		if err != nil {
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Fatal(err)
			}
			continue // it was closed even before the dialer had it
		}
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		_, err = conn.Read(make([]byte, 1))
		var timeout net.Error
		if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("the connection is not closed: %v", err)
		}
		conn.Close()
	}
	eventually(t, func() []string { return []string{fmt.Sprint(tr.guard.rejections(strangerConnection), " rejections")} }, "10 rejections")
	if tr.guard.inUse() > 0 || tr.connections() > 0 {
		t.Errorf("%d addresses and %d connections are remembered", tr.guard.inUse(), tr.connections())
	}
	conn, err := from("127.0.0.3").Dial("tcp", tr.tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	select {
	case got := <-tr.StreamCh():
		if got.RemoteAddr().String() != conn.LocalAddr().String() {
			t.Errorf("memberlist gets the connection of %v", got.RemoteAddr())
		}
		got.Close()
	case <-time.After(20 * time.Second):
		t.Error("a node's connection does not arrive")
	}
}

func TestStrangersPacketsAreDropped(t *testing.T) {
	tr := opened(t)
	send := func(addr, text string) {
		conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(addr)}, tr.udp.LocalAddr().(*net.UDPAddr))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	send("127.0.0.99", "forged")
	send("127.0.0.3", "") // memberlist needs a byte at least
	send("127.0.0.3", "first")
	send("127.0.0.3", "second")
	for _, want := range []string{"first", "second"} {
		select {
		case got := <-tr.PacketCh():
			if string(got.Buf) != want || !strings.HasPrefix(got.From.String(), "127.0.0.3:") || cap(got.Buf) > 100 {
				t.Errorf("memberlist gets %q from %v in %d bytes", got.Buf, got.From, cap(got.Buf))
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a node's packet does not arrive")
		}
	}
	if got := tr.guard.rejections(strangerPacket); got != 1 {
		t.Errorf("%d rejections are counted", got)
	}
}

func TestTransportDialsOnlyNodesAndMembers(t *testing.T) {
	tr := opened(t)
	if _, err := tr.DialTimeout("127.0.0.99:1", time.Second); err == nil || !strings.Contains(err.Error(), "not the address of a node") {
		t.Errorf("got %v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.3:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := tr.DialTimeout(listener.Addr().String(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(conn.LocalAddr().String(), "127.0.0.2:") {
		t.Errorf("the connection comes from %v, so that the other member refuses it", conn.LocalAddr())
	}
	conn.Close()
	if tr.guard.inUse() > 0 {
		t.Error("after the end it is still used")
	}
}

func TestConnectionEndsWithItsLifetimeAndTheTransport(t *testing.T) {
	tr := opened(t)
	_, inner := net.Pipe()
	c := tr.wrap(inner, netip.MustParseAddr("127.0.0.3"), usage{})
	for _, tt := range []struct{ set, want time.Time }{
		{time.Time{}, c.end}, {c.end.Add(1), c.end}, {c.end.Add(-1), c.end.Add(-1)},
	} {
		if got := c.earlier(tt.set); !got.Equal(tt.want) {
			t.Errorf("the deadline %v becomes %v, want %v", tt.set, got, tt.want)
		}
	}
	if life := time.Until(c.end); life > lifetime {
		t.Errorf("it lives for %v", life)
	}
	if err := tr.Shutdown(); err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a connection outlives its transport")
	}
	if _, ok := tr.guard.admit(netip.MustParseAddr("127.0.0.3")); !ok {
		t.Fatal("it is not admitted")
	}
	late := tr.wrap(inner, netip.MustParseAddr("127.0.0.3"), usage{connections: 1})
	if late.count(1); tr.guard.inUse() > 0 {
		t.Error("a connection after the shutdown still counts")
	}
	tr.tcp, _ = net.ListenTCP("tcp", nil) // for the end of the test, which closes it again
	tr.udp, _ = net.ListenUDP("udp", nil)
}

// flood opens connections from an address, again and again until ctx ends. Each sends what
// memberlist takes for the beginning of a long encrypted message.
func flood(ctx context.Context, connections int, source, target string) (sent *atomic.Int64, wait func()) {
	var all sync.WaitGroup
	sent = &atomic.Int64{}
	garbage := make([]byte, 1<<16)
	for range connections {
		all.Go(func() {
			for ctx.Err() == nil {
				conn, err := from(source).DialContext(ctx, "tcp", target)
				if err != nil {
					continue
				}
				stop := context.AfterFunc(ctx, func() { conn.Close() })
				_, err = conn.Write([]byte{10, 1, 0x3f, 0, 0}) // 10 is memberlist's encryptMsg, the rest a length just below 20 MiB
				for err == nil {
					var n int
					n, err = conn.Write(garbage)
					sent.Add(int64(n))
				}
				stop()
				conn.Close()
			}
		})
	}
	return sent, all.Wait
}

func TestFloodFromANodeCostsLittleAndOthersCanJoin(t *testing.T) {
	const mostMemory = 48 << 20 // without limits 200 connections take more than 1 GB
	n, all := loopbackNetwork(t, "s", "s")
	eventuallyAlive(t, all[0], "node0", "node1")
	n.set("flooder", "127.0.0.99")
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	ctx, cancel := context.WithCancel(t.Context())
	sent, wait := flood(ctx, 200, "127.0.0.99", all[0].list.Load().addr.String())
	defer wait()
	defer cancel()

	n.set("node2", "127.0.0.4")
	joins := start(t, n.options("node2", "s"))
	eventually(t, func() []string { return at(all[0]) }, "node1 127.0.0.3", "node2 127.0.0.4")
	eventually(t, func() []string { return at(joins) }, "node0 127.0.0.2", "node1 127.0.0.3")
	most := uint64(0)
	guard := all[0].guard
	eventually(t, func() []string {
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapInuse)
		if guard.rejections(addressConnections) > 200 && guard.rejections(tooManyBytes) > 10 && sent.Load() > 20<<20 {
			return []string{"flooded"}
		}
		return nil
	}, "flooded")
	grown := int64(most) - int64(before.HeapInuse)
	t.Logf("%d MB were sent, the heap has grown by %.1f MB", sent.Load()>>20, float64(grown)/(1<<20))
	if grown > mostMemory {
		t.Errorf("the heap has grown by %d MB", grown>>20)
	}
	eventually(t, func() []string { return at(all[0]) }, "node1 127.0.0.3", "node2 127.0.0.4")
}

// A member list with the longest names and profiles fits into a connection.
func TestMemberListFitsIntoTheLimit(t *testing.T) {
	const members = 12
	n := newNetwork(t)
	name := func(i int) string { return fmt.Sprintf("node%02d-", i) + strings.Repeat("x", 253-7) }
	for i := range members {
		n.set(name(i), fmt.Sprint("127.0.0.", i+2))
	}
	var first running
	for i := range members {
		m := start(t, n.options(name(i), "s"))
		m.SetProfile(fullProfile(t))
		if i == 0 {
			first = m
		}
	}
	eventually(t, func() []string {
		full := 0
		for _, o := range first.Others() {
			if len(encode(o.Profile, 512)) > 470 {
				full++
			}
		}
		return []string{fmt.Sprint(full, " full profiles")}
	}, fmt.Sprint(members-1, " full profiles"))

	listener, err := net.Listen("tcp", "127.0.0.99:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	n.set("listener", "127.0.0.99")
	received := make(chan int64, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		var header [5]byte // what follows, as memberlist says
		_, _ = io.ReadFull(conn, header[:])
		length := int64(header[1])<<24 | int64(header[2])<<16 | int64(header[3])<<8 | int64(header[4])
		got, _ := io.CopyN(io.Discard, conn, length)
		received <- got
	}()
	if _, err := first.list.Load().Join([]string{"listener/" + listener.Addr().String()}); err == nil {
		t.Error("the listener has answered")
	}
	got := <-received
	t.Logf("%d bytes for each member", got/members)
	if most := int64(memberBytes*members + 200); got > most || got < most/2 {
		t.Errorf("%d members take %d bytes, want at most %d, and not much less", members, got, most)
	}
}

// fullProfile returns a profile of nearly 512 bytes without a pattern.
func fullProfile(t *testing.T) (p Profile) {
	t.Helper()
	for range 11 {
		var b [41]byte
		rand.Read(b[:])
		p.Links = append(p.Links, Link{
			Name: string(b[:15]), MAC: [6]byte(b[15:]), IPv4: netip.PrefixFrom(netip.AddrFrom4([4]byte(b[21:])), 24),
			IPv6: netip.PrefixFrom(netip.AddrFrom16([16]byte(b[25:])), 64),
		})
	}
	if n := len(encode(p, 512)); n < 470 {
		t.Fatalf("the profile has %d bytes", n)
	}
	return p
}
