package members

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// receiveBuffer is the size of the kernel's buffer for packets that have not been read
	// yet. The kernel may allow less.
	receiveBuffer = 2 << 20
	// maxPacket is the size of the largest UDP packet. memberlist sends at most 1,400 bytes.
	maxPacket = 1 << 16
	// lifetime bounds a connection. An exchange of two member lists takes far less, and
	// memberlist has shorter deadlines for its parts.
	lifetime = 10 * time.Second
)

// transport sends and receives for memberlist on one address, UDP and TCP. The guard
// decides what is received.
type transport struct {
	addr  netip.AddrPort
	guard *guard
	log   *slog.Logger

	udp      *net.UDPConn
	tcp      *net.TCPListener
	packets  chan *memberlist.Packet
	streams  chan net.Conn
	shutdown context.Context
	end      context.CancelFunc
	work     sync.WaitGroup

	mu   sync.Mutex
	open map[*conn]struct{}
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

// newTransport opens the port and starts to receive.
func newTransport(addr netip.AddrPort, g *guard, log *slog.Logger) (*transport, error) {
	t := &transport{
		addr: addr, guard: g, log: log, packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), open: map[*conn]struct{}{},
	}
	var err error
	if t.tcp, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr)); err != nil {
		return nil, fmt.Errorf("opening the TCP port: %w", err)
	}
	if t.udp, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(addr)); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the UDP port: %w", err), t.tcp.Close())
	}
	for size := receiveBuffer; t.udp.SetReadBuffer(size) != nil && size > 1; size /= 2 { // any size works
	}
	t.shutdown, t.end = context.WithCancel(context.Background())
	t.work.Go(t.accept)
	t.work.Go(t.receive)
	return t, nil
}

// receive gives memberlist the packets of nodes and members.
func (t *transport) receive() {
	buffer := make([]byte, maxPacket)
	for {
		n, from, err := t.udp.ReadFromUDPAddrPort(buffer)
		now := time.Now()
		if err != nil {
			if !t.pause("reading packets of the member list failed, trying again", err) {
				return
			}
			continue
		}
		addr := from.Addr().Unmap().WithZone("")
		if !t.guard.allowed(addr) {
			t.guard.reject(strangerPacket, addr)
			continue
		}
		if n == 0 {
			continue // memberlist needs one byte at least
		}
		select {
		case t.packets <- &memberlist.Packet{Buf: bytes.Clone(buffer[:n]), From: net.UDPAddrFromAddrPort(from), Timestamp: now}:
		case <-t.shutdown.Done():
			return
		}
	}
}

// accept gives memberlist the connections of nodes and members.
func (t *transport) accept() {
	for {
		tcp, err := t.tcp.AcceptTCP()
		if err != nil {
			if !t.pause("accepting connections for the member list failed, trying again", err) {
				return
			}
			continue
		}
		from := tcp.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().WithZone("")
		if reason, ok := t.guard.admit(from); !ok {
			t.guard.reject(reason, from)
			_ = tcp.SetLinger(0) // the kernel forgets the connection at once
			_ = tcp.Close()
			continue
		}
		select {
		case t.streams <- t.wrap(tcp, from, usage{connections: 1}):
		case <-t.shutdown.Done():
			return
		}
	}
}

// pause logs an error and waits before the next try. It reports false after the shutdown.
func (t *transport) pause(message string, err error) bool {
	if t.shutdown.Err() != nil {
		return false
	}
	if more, ok := t.guard.often.Allow(message); ok {
		t.log.Error(message, "error", err, "more", more)
	}
	wait(t.shutdown, nil, 100*time.Millisecond)
	return t.shutdown.Err() == nil
}

// WriteTo sends a packet.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	_, err = t.udp.WriteToUDPAddrPort(b, to)
	return time.Now(), err
}

// WriteToAddress sends a packet.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// DialTimeout begins a connection to a node or a member. It comes from this member's address, because other
// members accept no other one.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	if !t.guard.allowed(to.Addr().Unmap()) {
		return nil, fmt.Errorf("%s is not the address of a node or of a member", to.Addr())
	}
	dialer := net.Dialer{Timeout: timeout}
	dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(t.addr.Addr(), 0))
	tcp, err := dialer.DialContext(t.shutdown, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return t.wrap(tcp, to.Addr().Unmap(), usage{}), nil
}

// DialAddressTimeout begins a connection.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	return t.DialTimeout(a.Addr, timeout)
}

// FinalAdvertiseAddr returns the address where the other members reach this one.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.IP(t.addr.Addr().AsSlice()), int(t.addr.Port()), nil
}

// PacketCh returns the packets that were received.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh returns the connections that other members have begun.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown closes the port and all connections. It returns when nothing is received any
// more.
func (t *transport) Shutdown() error {
	t.end()
	err := errors.Join(t.tcp.Close(), t.udp.Close())
	t.work.Wait()
	t.mu.Lock()
	open := t.open
	t.open = nil
	t.mu.Unlock()
	for c := range open {
		_ = c.Close()
	}
	return err
}
