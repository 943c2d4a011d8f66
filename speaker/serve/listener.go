package serve

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// maxConnections can be open at the same time. A TLS connection uses about 40 KB.
	maxConnections = 64
	// maxPerAddress is for clients on other hosts. Pods on one node can have one address.
	maxPerAddress = 16
	// maxNew and maxNewPerAddress bound how many connections of other hosts are accepted in
	// a second: a TLS handshake costs half a millisecond of a CPU.
	maxNew, maxNewPerAddress = 100, 10
)

// listener refuses connections beyond the bounds. When all places are taken, the connection
// that is open for the longest time and is not trusted makes room for the new one. So a
// client that holds many connections keeps no other client out.
type listener struct {
	net.Listener
	rejected func(reason string)

	mu        sync.Mutex
	open      int
	byAddress map[netip.Addr]int
	// strangers are the connections that are not trusted, in the order of their arrival.
	strangers *list.List
	// recent counts the connections that were accepted since second, by client.
	recent      map[netip.Addr]int
	recentTotal int
	second      time.Time
}

// connection is an accepted connection.
type connection struct {
	net.Conn
	listener *listener
	from     netip.Addr

	// Guarded by the listener's mu.
	place  *list.Element // in strangers; nil if it is trusted
	closed bool
}

func newListener(l net.Listener, rejected func(reason string)) *listener {
	return &listener{Listener: l, rejected: rejected, byAddress: map[netip.Addr]int{}, strangers: list.New(), recent: map[netip.Addr]int{}}
}

// Accept returns the next connection that is within the bounds.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		admitted, out, reason := l.admit(c, time.Now())
		if out != nil {
			reset(out)
		}
		if reason != "" {
			l.rejected(reason)
		}
		if admitted != nil {
			return admitted, nil
		}
	}
}

// admit takes a new connection if it is within the bounds. Else admitted is nil. out is the
// connection to close: the new one, or an older one that makes room for it.
func (l *listener) admit(c net.Conn, now time.Time) (admitted *connection, out net.Conn, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := clientOf(c)
	if !from.IsLoopback() { // programs on this node have only the bound of all
		if !l.countNew(from, now) {
			return nil, c, TooManyNew
		}
		if l.byAddress[from] >= maxPerAddress {
			return nil, c, TooManyConnections
		}
	}
	if l.open >= maxConnections {
		oldest := l.strangers.Front()
		if oldest == nil {
			return nil, c, TooManyConnections
		}
		victim := oldest.Value.(*connection)
		l.forget(victim)
		out, reason = victim.Conn, TooManyConnections
	}
	l.open++
	l.byAddress[from]++
	admitted = &connection{Conn: c, listener: l, from: from}
	admitted.place = l.strangers.PushBack(admitted)
	return admitted, out, reason
}

// countNew counts a new connection of a client. It reports false if the client, or all
// clients together, have had too many in this second.
func (l *listener) countNew(from netip.Addr, now time.Time) bool {
	if now.Sub(l.second) >= time.Second {
		clear(l.recent)
		l.recentTotal, l.second = 0, now
	}
	if l.recentTotal >= maxNew || l.recent[from] >= maxNewPerAddress {
		return false
	}
	l.recentTotal++
	l.recent[from]++
	return true
}

// forget removes a connection from the counts, once. l.mu is locked.
func (l *listener) forget(c *connection) {
	if c.closed {
		return
	}
	c.closed = true
	l.open--
	if l.byAddress[c.from]--; l.byAddress[c.from] == 0 {
		delete(l.byAddress, c.from)
	}
	l.removeStranger(c)
}

func (l *listener) removeStranger(c *connection) {
	if c.place != nil {
		l.strangers.Remove(c.place)
		c.place = nil
	}
}

func (l *listener) trust(c *connection) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.removeStranger(c)
}

// Close closes the connection and makes its place free.
func (c *connection) Close() error {
	c.listener.mu.Lock()
	c.listener.forget(c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}

// reset closes a connection so that the kernel keeps nothing of it.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it, the kernel keeps the connection for a minute
	}
	_ = c.Close() // it is not used any more
}

// clientOf returns the address of the client, or the zero Addr.
func clientOf(c net.Conn) netip.Addr {
	from, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return from.Addr().Unmap()
}
