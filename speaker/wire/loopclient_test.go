package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"time"

	netmessage "golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// This file has what the client behind the looping router does.

// inside calls do in the client's network namespace. Sockets that do makes stay there.
func (r *looping) inside(do func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer before.Close()
	netns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", r.client.netns.Process.Pid))
	if err != nil {
		return err
	}
	defer netns.Close()
	if err := unix.Setns(int(netns.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	err = do()
	// The thread must not end: the processes that it has started would end with it.
	return errors.Join(err, unix.Setns(int(before.Fd()), unix.CLONE_NEWNET))
}

// connect connects as the client.
func (r *looping) connect(vip netip.Addr, port uint16) error { return r.connectFor(vip, port, 0) }

// connectFor is like connect. With the limit 0, the client waits until a SYN that gets no
// answer has been sent once again.
func (r *looping) connectFor(vip netip.Addr, port uint16, limit time.Duration) error {
	if limit == 0 {
		limit = 1500 * time.Millisecond
	}
	return r.inside(func() error {
		conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(vip, port).String(), limit)
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// open returns an open connection.
func (r *looping) open(vip netip.Addr, port uint16) (conn *net.TCPConn) {
	r.t.Helper()
	err := r.inside(func() error {
		c, err := net.DialTimeout("tcp", netip.AddrPortFrom(vip, port).String(), patience)
		if err == nil {
			conn = c.(*net.TCPConn)
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.echoes(conn)
	return conn
}

// echoes checks that the pod sends back a line.
func (r *looping) echoes(conn *net.TCPConn) {
	r.t.Helper()
	_ = conn.SetDeadline(time.Now().Add(patience)) // fails only on a closed connection
	if _, err := conn.Write([]byte("hello\n")); err != nil {
		r.t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 6)); err != nil {
		r.t.Fatalf("the connection does not work: %v", err)
	}
}

func isTimeout(err error) bool {
	timeout := net.Error(nil)
	return errors.As(err, &timeout) && timeout.Timeout()
}

// sendUDP sends a datagram and waits for the answer.
func (r *looping) sendUDP(vip netip.Addr, port uint16) error {
	return r.inside(func() error {
		conn, err := net.Dial("udp", netip.AddrPortFrom(vip, port).String())
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("hello")); err != nil {
			return err
		}
		_ = conn.SetDeadline(time.Now().Add(patience)) // cannot fail
		_, err = conn.Read(make([]byte, 10))
		return err
	})
}

// sendStraySegments sends TCP segments of the connection with numbers that are far away from
// its window. There are several, because conntrack does not take all such segments for invalid:
// it lets some pass that look like old ones (net/netfilter/nf_conntrack_proto_tcp.c), and the
// connection's own numbers are random.
func (r *looping) sendStraySegments(of *net.TCPConn) {
	r.t.Helper()
	for eighth := range uint32(8) {
		r.sendSegment(of, 0xdeadbeef, eighth<<29)
	}
}

func (r *looping) sendSegment(of *net.TCPConn, seq, ack uint32) {
	r.t.Helper()
	from, to := of.LocalAddr().(*net.TCPAddr).AddrPort(), of.RemoteAddr().(*net.TCPAddr).AddrPort()
	segment := make([]byte, 20)
	binary.BigEndian.PutUint16(segment[0:], from.Port())
	binary.BigEndian.PutUint16(segment[2:], to.Port())
	binary.BigEndian.PutUint32(segment[4:], seq)
	binary.BigEndian.PutUint32(segment[8:], ack)
	segment[12], segment[13] = 5<<4, 0x10 // five words long, ACK
	binary.BigEndian.PutUint16(segment[14:], 1000)
	pseudo := append(append(from.Addr().AsSlice(), to.Addr().AsSlice()...), 0, tcp, 0, byte(len(segment)))
	binary.BigEndian.PutUint16(segment[16:], checksum(append(pseudo, segment...)))
	r.sendRaw("ip4:tcp", to.Addr(), segment)
}

func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// sendRaw sends the payload of an IP packet as the client.
func (r *looping) sendRaw(network string, to netip.Addr, payload []byte) {
	r.t.Helper()
	err := r.inside(func() error {
		conn, err := net.ListenPacket(network, "")
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.WriteTo(payload, &net.IPAddr{IP: to.AsSlice()})
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// sendUnreachable sends an ICMP error about a packet that the VIP has never sent.
func (r *looping) sendUnreachable(vip netip.Addr) {
	r.t.Helper()
	network, kind := "ip4:icmp", netmessage.Type(ipv4.ICMPTypeDestinationUnreachable)
	packet := make([]byte, 28) // IP and the first eight bytes of UDP
	packet[0], packet[3], packet[8], packet[9] = 0x45, 28, 64, udp
	copy(packet[12:], routedVIPs[0].AsSlice())
	copy(packet[16:], []byte{172, 31, 0, 2})
	if vip.Is6() {
		network, kind = "ip6:ipv6-icmp", ipv6.ICMPTypeDestinationUnreachable
		packet = make([]byte, 48)
		packet[0], packet[5], packet[6], packet[7] = 0x60, 8, udp, 64
		copy(packet[8:], vip.AsSlice())
		copy(packet[24:], client6.AsSlice())
	}
	message, err := (&netmessage.Message{Type: kind, Code: 3, Body: &netmessage.DstUnreach{Data: packet}}).Marshal(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.sendRaw(network, vip, message)
}

// sendPing sends an echo request and does not wait.
func (r *looping) sendPing(vip netip.Addr) {
	r.t.Helper()
	network, message := r.echoRequest(vip)
	r.sendRaw(network, vip, message)
}

func (r *looping) echoRequest(vip netip.Addr) (network string, message []byte) {
	r.t.Helper()
	r.pings++
	id := os.Getpid() + r.client.netns.Process.Pid + r.pings
	network, m := "ip4:icmp", netmessage.Message{Type: ipv4.ICMPTypeEcho, Body: &netmessage.Echo{ID: id & 0xffff, Seq: 1}}
	if vip.Is6() {
		network, m.Type = "ip6:ipv6-icmp", ipv6.ICMPTypeEchoRequest // the kernel computes its checksum
	}
	message, err := m.Marshal(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return network, message
}

// ping sends an echo request. It returns what the client gets: "answer", an error of ICMP,
// or nothing.
func (r *looping) ping(vip netip.Addr) (got string) {
	r.t.Helper()
	network, request := r.echoRequest(vip)
	err := r.inside(func() error {
		conn, err := net.ListenPacket(network, "")
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.WriteTo(request, &net.IPAddr{IP: vip.AsSlice()}); err != nil {
			return err
		}
		_ = conn.SetDeadline(time.Now().Add(patience)) // cannot fail
		for b := make([]byte, 1500); got == ""; {
			n, from, err := conn.ReadFrom(b)
			if isTimeout(err) {
				return nil
			}
			if err != nil {
				return err
			}
			got = meaning(b[:n], vip, from)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

// meaning says in words what an ICMP message says about a ping; nothing if it is about
// something else.
func meaning(message []byte, vip netip.Addr, from net.Addr) string {
	protocol, unreachable := icmp, 3
	if vip.Is6() {
		protocol, unreachable = icmp6, 4
	}
	m, err := netmessage.ParseMessage(protocol, message)
	switch {
	case err != nil:
		return err.Error()
	case m.Type == ipv4.ICMPTypeEchoReply, m.Type == ipv6.ICMPTypeEchoReply:
		if from.String() != vip.String() {
			return "answer from " + from.String()
		}
		return "answer"
	case m.Type != ipv4.ICMPTypeDestinationUnreachable && m.Type != ipv6.ICMPTypeDestinationUnreachable:
		return ""
	case m.Code == unreachable:
		return "port unreachable"
	}
	return fmt.Sprint("unreachable, code ", m.Code)
}
