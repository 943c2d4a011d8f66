package bfd

import (
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A packet that has passed a router can be from any host. The kernel must drop it.
func TestSocketDropsPacketsThatAreNotFromTheLink(t *testing.T) {
	for _, c := range []struct {
		ipv4          bool
		network, addr string
		level, option int
	}{
		{true, "udp4", "127.0.0.1:0", unix.IPPROTO_IP, unix.IP_TTL},
		{false, "udp6", "[::1]:0", unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS},
	} {
		t.Run(c.network, func(t *testing.T) {
			config := net.ListenConfig{Control: control(func(fd int) error { return dropOtherTTLs(fd, c.ipv4) })}
			in, err := config.ListenPacket(t.Context(), c.network, c.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			for _, hops := range []int{64, 254, 1, ttl} {
				dialer := net.Dialer{Control: control(func(fd int) error { return unix.SetsockoptInt(fd, c.level, c.option, hops) })}
				out, err := dialer.Dial(c.network, in.LocalAddr().String())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := out.Write([]byte{byte(hops)}); err != nil {
					t.Fatal(err)
				}
				out.Close()
			}
			if err := in.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 9)
			if n, _, err := in.ReadFrom(b); err != nil || n != 1 || b[0] != ttl {
				t.Errorf("the first packet to arrive is %v, %v; want the one with TTL 255", b[:n], err)
			}
		})
	}
}

// deliverTo is an engine with one session whose runner is not running.
func deliverTo(s Session) (*Engine, *runner) {
	e := New(Options{Log: slog.New(slog.DiscardHandler)})
	r := newRunner(newSession(s, 1), &e.options)
	e.runners[s.Peer] = r
	return e, r
}

func TestEngineDeliversPacketsOnlyToTheirSession(t *testing.T) {
	peer := netip.MustParseAddr("192.0.2.1")
	good := packet{state: Down, multiplier: 3, my: 5}.marshal()
	for name, c := range map[string]struct {
		session Session
		from    string
		ttl     int
		bytes   []byte
		key     listenerKey
		want    bool
	}{
		"the peer's":            {Session{Peer: peer}, "192.0.2.1:50000", 255, good, listenerKey{ipv4: true}, true},
		"from another address":  {Session{Peer: peer}, "192.0.2.2:50000", 255, good, listenerKey{ipv4: true}, false},
		"from behind a router":  {Session{Peer: peer}, "192.0.2.1:50000", 254, good, listenerKey{ipv4: true}, false},
		"truncated":             {Session{Peer: peer}, "192.0.2.1:50000", 255, good[:20], listenerKey{ipv4: true}, false},
		"on the multihop port":  {Session{Peer: peer}, "192.0.2.1:50000", 255, good, listenerKey{ipv4: true, multihop: true}, false},
		"from a multihop peer":  {Session{Peer: peer, Multihop: true, MinimumTTL: 250}, "192.0.2.1:50000", 251, good, listenerKey{ipv4: true, multihop: true}, true},
		"below the minimum TTL": {Session{Peer: peer, Multihop: true, MinimumTTL: 250}, "192.0.2.1:50000", 249, good, listenerKey{ipv4: true, multihop: true}, false},
	} {
		e, r := deliverTo(c.session)
		from := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(c.from))
		if got := e.deliver(c.bytes, arrival{ttl: c.ttl}, from, c.key); got != c.want || len(r.in) == 1 != c.want {
			t.Errorf("%s: taken %v, want %v", name, got, c.want)
		}
	}
}
