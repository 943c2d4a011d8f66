package members

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// maxRead bounds what one read can receive more than is allowed.
const maxRead = 1 << 16

// conn is a connection whose bytes are counted, and that ends after its lifetime.
type conn struct {
	net.Conn
	transport *transport
	addr      netip.Addr // of the other end
	end       time.Time
	close     sync.Once

	mu     sync.Mutex
	used   usage
	closed bool
}

// wrap returns a connection that uses this much already.
func (t *transport) wrap(inner net.Conn, addr netip.Addr, used usage) *conn {
	c := &conn{Conn: inner, transport: t, addr: addr, end: time.Now().Add(lifetime), used: used}
	_ = c.SetDeadline(c.end) // fails only if it is closed
	t.mu.Lock()
	down := t.open == nil
	if !down {
		t.open[c] = struct{}{}
	}
	t.mu.Unlock()
	if down {
		_ = c.Close()
	}
	return c
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:min(len(p), maxRead)])
	if n > 0 && !c.count(n) {
		c.transport.guard.reject(tooManyBytes, c.addr)
		_ = c.Close()
		return 0, errTooManyBytes
	}
	return n, err
}

// count counts bytes that were read, and reports whether that is allowed.
func (c *conn) count(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return true // what it has used was released
	}
	c.used.bytes += int64(n)
	return c.transport.guard.take(c.addr, n)
}

// Close ends the connection, and what it used is free again.
func (c *conn) Close() (err error) {
	c.close.Do(func() {
		err = c.Conn.Close()
		c.mu.Lock()
		c.closed = true
		used := c.used
		c.mu.Unlock()
		c.transport.guard.release(c.addr, used)
		c.transport.mu.Lock()
		delete(c.transport.open, c) // does nothing after the shutdown
		c.transport.mu.Unlock()
	})
	return err
}

// A deadline is never later than the end of the connection's lifetime.

func (c *conn) SetDeadline(t time.Time) error      { return c.Conn.SetDeadline(c.earlier(t)) }
func (c *conn) SetReadDeadline(t time.Time) error  { return c.Conn.SetReadDeadline(c.earlier(t)) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(c.earlier(t)) }

func (c *conn) earlier(t time.Time) time.Time {
	if t.IsZero() || t.After(c.end) {
		return c.end
	}
	return t
}
