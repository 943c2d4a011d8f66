package serve

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
)

// fakeConn is a connection from an address.
type fakeConn struct {
	net.Conn
	from string
}

func (f fakeConn) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(f.from), 1234))
}
func (f fakeConn) Close() error { return nil }

var now = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// admitAll admits n connections of a client, one every second, and returns those that were
// admitted.
func admitAll(l *listener, from string, n int) (admitted []*connection) {
	for range n {
		now = now.Add(time.Second)
		if c, _, _ := l.admit(fakeConn{from: from}, now); c != nil {
			admitted = append(admitted, c)
		}
	}
	return admitted
}

func TestConnectionsOfOneClientAreBounded(t *testing.T) {
	l := newListener(nil, nil)
	mine := admitAll(l, "192.0.2.1", 100)
	if len(mine) != maxPerAddress {
		t.Errorf("one client got %d connections", len(mine))
	}
	if got := admitAll(l, "::ffff:192.0.2.1", 1); len(got) != 0 {
		t.Error("the client gets more by its IPv4-mapped address")
	}
	if got := admitAll(l, "192.0.2.2", 3); len(got) != 3 {
		t.Errorf("another client got %d of 3 connections", len(got))
	}
	mine[0].Close()
	mine[0].Close() // again, as net/http does
	if got := admitAll(l, "192.0.2.1", 100); len(got) != 1 {
		t.Errorf("for one connection that ended the client got %d", len(got))
	}
	if l.open != maxPerAddress+3 {
		t.Errorf("%d connections are counted", l.open)
	}
}

func TestOldestStrangerMakesRoomAndTrustedClientsStay(t *testing.T) {
	l := newListener(nil, nil)
	trusted := admitAll(l, "192.0.2.1", 1)[0]
	l.trust(trusted)
	var strangers []*connection
	for i := range maxConnections {
		strangers = append(strangers, admitAll(l, fmt.Sprintf("2001:db8::%x", i+1), 1)...)
	}
	if len(strangers) != maxConnections || l.open != maxConnections {
		t.Fatalf("%d were admitted, %d are open", len(strangers), l.open)
	}
	if trusted.closed || !strangers[0].closed || strangers[1].closed {
		t.Errorf("trusted closed: %v, first stranger: %v, second: %v", trusted.closed, strangers[0].closed, strangers[1].closed)
	}
	for _, s := range strangers {
		l.trust(s)
	}
	if got := admitAll(l, "192.0.2.3", 1); len(got) != 0 {
		t.Error("a trusted client had to make room")
	}
}

func TestNewConnectionsAreBoundedInEachSecond(t *testing.T) {
	l := newListener(nil, nil)
	admit := func(from string, n int) (admitted int) {
		for range n {
			c, _, reason := l.admit(fakeConn{from: from}, now)
			if c != nil {
				admitted++
				c.Close()
			} else if reason != TooManyNew {
				t.Errorf("refused because of %s", reason)
			}
		}
		return admitted
	}
	if got := admit("192.0.2.1", 1000); got != maxNewPerAddress {
		t.Errorf("one client got %d connections in a second", got)
	}
	all := maxNewPerAddress
	for i := range 255 {
		all += admit(fmt.Sprint("192.0.2.", i), 1000)
	}
	if all != maxNew {
		t.Errorf("all clients got %d connections in a second", all)
	}
	if len(l.recent) > maxNew {
		t.Errorf("%d clients are remembered", len(l.recent))
	}
	now = now.Add(time.Second)
	if got := admit("192.0.2.1", 1); got != 1 {
		t.Error("nobody gets a connection in the next second")
	}
	if got := admit("127.0.0.1", 1000); got != 1000 {
		t.Errorf("a program on the node got %d of 1000", got)
	}
	if len(l.byAddress) != 0 || l.open != 0 || l.strangers.Len() != 0 {
		t.Errorf("after the end of all, %d are counted, for %d clients", l.open, len(l.byAddress))
	}
}
