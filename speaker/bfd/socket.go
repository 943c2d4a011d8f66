package bfd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// The ports of RFC 5881, section 4, and RFC 5883, section 5.
const (
	singleHopPort = 3784
	multihopPort  = 4784

	sourcePortMin = 49152
	sourcePorts   = 1 << 14

	// ttl is what every packet is sent with (RFC 5881, section 5).
	ttl = 255
)

type listenerKey struct {
	ipv4, multihop bool
}

func (k listenerKey) network() string {
	if k.ipv4 {
		return "udp4"
	}
	return "udp6"
}

func (k listenerKey) port() int {
	if k.multihop {
		return multihopPort
	}
	return singleHopPort
}

// listener receives the packets of all sessions of one kind and family.
type listener struct {
	conn net.PacketConn
	// read returns a packet with its TTL or hop limit and the interface it came on.
	read func([]byte) (n int, in arrival, from net.Addr, err error)
}

// arrival is what the kernel reports about a packet.
type arrival struct{ ttl, link int }

func (l *listener) close() { _ = l.conn.Close() } // it only receives

// listen opens the socket of a kind of sessions, unless it is open. The caller holds
// e.mu.
func (e *Engine) listen(key listenerKey) error {
	if e.listeners[key] != nil {
		return nil
	}
	config := net.ListenConfig{Control: control(func(fd int) error {
		if key.multihop {
			return nil
		}
		return dropOtherTTLs(fd, key.ipv4)
	})}
	conn, err := config.ListenPacket(context.Background(), key.network(), fmt.Sprintf(":%d", key.port()))
	if err != nil {
		return fmt.Errorf("receiving on UDP port %d: %w", key.port(), err)
	}
	l := &listener{conn: conn}
	if key.ipv4 {
		p := ipv4.NewPacketConn(conn)
		err = p.SetControlMessage(ipv4.FlagTTL|ipv4.FlagInterface, true)
		l.read = func(b []byte) (int, arrival, net.Addr, error) {
			n, cm, from, err := p.ReadFrom(b)
			if cm == nil {
				return n, arrival{}, from, err
			}
			return n, arrival{cm.TTL, cm.IfIndex}, from, err
		}
	} else {
		p := ipv6.NewPacketConn(conn)
		err = p.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagInterface, true)
		l.read = func(b []byte) (int, arrival, net.Addr, error) {
			n, cm, from, err := p.ReadFrom(b)
			if cm == nil {
				return n, arrival{}, from, err
			}
			return n, arrival{cm.HopLimit, cm.IfIndex}, from, err
		}
	}
	if err != nil {
		l.close()
		return fmt.Errorf("receiving the TTL on UDP port %d: %w", key.port(), err)
	}
	e.listeners[key] = l
	e.work.Go(func() { e.receive(l, key) })
	return nil
}

// receive hands packets to their sessions until the socket is closed.
func (e *Engine) receive(l *listener, key listenerKey) {
	buffer := make([]byte, 512)
	for {
		n, in, from, err := l.read(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			e.options.Log.Warn("receiving BFD packets failed", "error", err)
			continue
		}
		if !e.deliver(buffer[:n], in, from, key) {
			e.discarded.Add(1)
		}
	}
}

// deliver gives a packet to its session, and reports whether the session took it.
func (e *Engine) deliver(b []byte, in arrival, from net.Addr, key listenerKey) bool {
	p, err := parse(b)
	if err != nil {
		return false
	}
	udp, ok := from.(*net.UDPAddr)
	if !ok {
		return false
	}
	r := e.runner(udp.AddrPort().Addr().Unmap())
	if r == nil || r.session.Multihop != key.multihop || !r.session.admits(in) {
		return false
	}
	select {
	case r.in <- p:
		return true
	default: // the session is many packets behind
		return false
	}
}

// admits reports whether a packet with this arrival can come from the peer.
func (s Session) admits(in arrival) bool {
	if s.Multihop {
		return in.ttl >= int(s.MinimumTTL)
	}
	return in.ttl == ttl && (s.Link == 0 || in.link == s.Link)
}

// dropOtherTTLs lets the kernel drop packets that have passed a router: any host far
// away could have sent them (RFC 5881, section 5).
func dropOtherTTLs(fd int, isIPv4 bool) error {
	const networkHeader = 0xfff00000 // SKF_NET_OFF of linux/filter.h
	field := uint32(8)               // the IPv4 header's TTL
	if !isIPv4 {
		field = 7 // the IPv6 header's hop limit
	}
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: networkHeader + field, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: ttl, SkipFalse: 1},
		bpf.RetConstant{Val: 1 << 16},
		bpf.RetConstant{Val: 0},
	})
	if err != nil {
		return fmt.Errorf("assembling the TTL filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(program))
	for i, in := range program {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}

// dial opens the socket that a session sends from. Each session has its own port.
func dial(s Session) (net.Conn, error) {
	key := listenerKey{s.Peer.Is4(), s.Multihop}
	var err error
	for range 16 {
		dialer := net.Dialer{
			LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.Local, uint16(sourcePortMin+rand.IntN(sourcePorts)))),
			Control: control(func(fd int) error {
				if key.ipv4 {
					return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TTL, ttl)
				}
				return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, ttl)
			}),
		}
		var conn net.Conn
		conn, err = dialer.DialContext(context.Background(), key.network(), netip.AddrPortFrom(s.Peer, uint16(key.port())).String())
		if !errors.Is(err, unix.EADDRINUSE) {
			return conn, err
		}
	}
	return nil, err
}

// control turns f into the function that package net calls before it binds a socket.
func control(f func(fd int) error) func(string, string, syscall.RawConn) error {
	return func(_, _ string, raw syscall.RawConn) error {
		var inner error
		if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
			return err
		}
		return inner
	}
}
