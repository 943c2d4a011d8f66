package bgp

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/prometheus/client_golang/prometheus"
)

const ourASN, routerASN = 64512, 64513

var routerID = netip.MustParseAddr("192.0.2.1")

// fakeRouter is a router on 127.0.0.1 that does what a test wants, also what no router
// should do.
type fakeRouter struct {
	t        *testing.T
	listener net.Listener
}

// startRouter starts a router that calls serve for each connection, one after the other. Its
// packets have the TTL ttl.
func startRouter(t *testing.T, ttl int, serve func(c *connection)) *fakeRouter {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		controlErr := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_TTL, ttl) })
		return errors.Join(controlErr, err)
	}}
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // the test has ended
			}
			stop := context.AfterFunc(t.Context(), func() { conn.Close() })
			serve(&connection{Conn: conn})
			stop()
			conn.Close()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-ended })
	return &fakeRouter{t, listener}
}

func (r *fakeRouter) peer(name string) Peer {
	return Peer{
		Name: name, MyASN: ourASN, ASN: routerASN, Address: netip.MustParseAddr("127.0.0.1"), Port: r.listener.Addr().(*net.TCPAddr).AddrPort().Port(),
		RouterID: netip.MustParseAddr("192.0.2.2"), HoldTime: 3 * time.Second, KeepaliveTime: time.Second,
	}
}

// connection is a connection of the speaker to a fakeRouter. What fails is ignored: then
// the speaker has closed the connection, and the test sees that.
type connection struct{ net.Conn }

// read reads a message and returns its type, 0 at the end of the connection.
func (c *connection) read() uint8 {
	header := make([]byte, packet.BGP_HEADER_LENGTH)
	if _, err := io.ReadFull(c, header); err != nil {
		return 0
	}
	length := int64(binary.BigEndian.Uint16(header[16:])) - packet.BGP_HEADER_LENGTH
	if _, err := io.CopyN(io.Discard, c, length); err != nil {
		return 0
	}
	return header[18]
}

// drain reads until the speaker closes the connection.
func (c *connection) drain() {
	for c.read() != 0 {
	}
}

func (c *connection) send(m *packet.BGPMessage) {
	if b, err := m.Serialize(); err == nil {
		_, _ = c.Write(b)
	}
}

func (c *connection) open(asn uint16, holdTime uint16, id netip.Addr) {
	if m, err := packet.NewBGPOpenMessage(asn, holdTime, id, nil); err == nil {
		c.send(m)
	}
}

func (c *connection) notify(code, subcode uint8) {
	c.send(packet.NewBGPNotificationMessage(code, subcode, nil))
}

// establish answers until the session is up.
func (c *connection) establish() {
	c.read() // OPEN
	c.open(routerASN, 3, routerID)
	c.read() // KEEPALIVE
	c.send(packet.NewBGPKeepAliveMessage())
}

// alive sends keepalives until the speaker closes the connection.
func (c *connection) alive() {
	ended := make(chan struct{})
	go func() { defer close(ended); c.drain() }()
	for {
		select {
		case <-time.After(time.Second):
			c.send(packet.NewBGPKeepAliveMessage())
		case <-ended:
			return
		}
	}
}

// announce runs an Announcer. A test has one Announcer for all of its peers, because GoBGP's
// servers share variables: two must not start at the same time.
func announce(t *testing.T, peers ...Peer) *Announcer {
	t.Helper()
	a := New(Options{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Changed: func() {}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	a.Set(peers, nil)
	return a
}

// waitFor waits until the status of a peer is as wanted.
func waitFor(t *testing.T, a *Announcer, peer, what string, ok func(Status) bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		all := a.Status()
		st := all[slices.IndexFunc(all, func(st Status) bool { return st.Peer == peer })]
		if ok(st) {
			return
		}
		if time.Now().After(end) {
			t.Errorf("%s: not within 30 s: %s; the status is %+v", peer, what, st)
			return
		}
	}
}

func hasProblem(words string) func(Status) bool {
	return func(st Status) bool { return !st.Up && strings.Contains(st.Problem, words) }
}

func isUp(st Status) bool { return st.Up }
