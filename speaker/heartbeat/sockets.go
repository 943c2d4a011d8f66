package heartbeat

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// keyWarningInterval is the shortest time between two warnings about another key.
	keyWarningInterval = time.Minute
	// trafficClass is "network control": a switch that is congested should drop other
	// packets (RFC 4594).
	trafficClass = 0xc0
)

// listenUDP opens a socket and sets a SOL_SOCKET option unless it is 0. With
// SO_DONTROUTE a packet for a segment never takes another way.
func listenUDP(addr string, option int) (*net.UDPConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		controlErr := raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, trafficClass)
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, trafficClass) // heartbeats work without both
			if option != 0 {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 1)
			}
		})
		return errors.Join(controlErr, err)
	}}
	conn, err := config.ListenPacket(context.Background(), "udp", addr)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// send sends messages. A message for which there is no room is dropped: a stuck link must not
// delay the others.
func (h *Heartbeat) send(packets []packet) {
	key := h.keys.Load().send()
	for _, p := range packets {
		conn := h.near
		if p.path.Link == "" {
			conn = h.far
		}
		if err := writeNow(conn, p.seal(key), netip.AddrPortFrom(p.path.Remote, h.options.Port)); err != nil {
			h.metrics.unsent.Inc() // the next heartbeat follows soon
			continue
		}
		h.metrics.sent.Inc()
	}
}

// writeNow sends a datagram, or fails at once. A write of package net waits for room.
func writeNow(conn *net.UDPConn, b []byte, to netip.AddrPort) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var addr unix.Sockaddr = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if local := conn.LocalAddr().(*net.UDPAddr); local.IP.To4() != nil { // the host has no IPv6
		if !to.Addr().Is4() {
			return unix.EAFNOSUPPORT
		}
		addr = &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	var sendErr error
	err = raw.Control(func(fd uintptr) { sendErr = unix.Sendto(int(fd), b, unix.MSG_DONTWAIT, addr) })
	return errors.Join(err, sendErr)
}

// read receives messages until the socket is closed.
func (h *Heartbeat) read(ctx context.Context) {
	buffer := make([]byte, maxMessage+1)
	var warned time.Time
	for ctx.Err() == nil {
		n, from, err := h.near.ReadFromUDPAddrPort(buffer)
		if err != nil {
			if ctx.Err() == nil {
				h.log.Error("reading heartbeats failed, trying again", "error", err)
				sleep(ctx, time.Second)
			}
			continue
		}
		m, err := open(*h.keys.Load(), buffer[:n])
		if err != nil {
			h.metrics.rejected.WithLabelValues(err.Error()).Inc()
			if errors.Is(err, errKey) && h.options.OtherKey != nil {
				h.options.OtherKey(from.Addr())
			}
			if errors.Is(err, errKey) && time.Since(warned) > keyWarningInterval {
				warned = time.Now()
				h.log.Warn("a heartbeat was made with another key", "from", from, "hint", "all speakers follow the Secret memberlist; if this goes on for more than a minute, check that the node's speaker can watch the Secret")
			}
			continue
		}
		h.metrics.received.Inc()
		select {
		case h.messages <- m:
		case <-ctx.Done():
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
