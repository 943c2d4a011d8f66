package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// Attacker is a host on the nodes' segment without the speakers' key: the client. It has raw
// sockets, so it can forge every frame.
type Attacker struct {
	cluster *Cluster
	frames  *packet.Conn
	work    sync.WaitGroup
	ctx     context.Context
	stop    context.CancelFunc
}

// Attack returns an Attacker that does nothing yet.
func (c *Cluster) Attack() (*Attacker, error) {
	a := &Attacker{cluster: c}
	err := inNetns(clientName, func() error {
		ifi, err := net.InterfaceByName("eth0")
		if err == nil {
			a.frames, err = packet.Listen(ifi, packet.Raw, unix.ETH_P_LOOPBACK, nil)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening the attacker's socket: %w", err)
	}
	a.ctx, a.stop = context.WithCancel(context.Background())
	return a, nil
}

// Stop ends all attacks.
func (a *Attacker) Stop() {
	a.stop()
	a.work.Wait()
	_ = a.frames.Close()
}

// repeat does something every so often until Stop is called. n counts from 0.
func (a *Attacker) repeat(every time.Duration, do func(n int)) {
	a.work.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 0; ; n++ {
			do(n)
			select {
			case <-tick.C:
			case <-a.ctx.Done():
				return
			}
		}
	})
}

// put sends a frame. A frame that is lost counts as an attack that failed.
func (a *Attacker) put(frame []byte) {
	_, _ = a.frames.WriteTo(frame, &packet.Addr{HardwareAddr: net.HardwareAddr(frame[:6])})
}

// ForgeNeighbours claims the addresses every so often: with the MAC address of a host, and
// with another MAC address each time. It sends each kind of ARP and neighbor advertisement
// that hosts take for a claim, and such with two different MAC addresses.
func (a *Attacker) ForgeNeighbours(every time.Duration, host string, vips ...string) error {
	mac, err := net.ParseMAC(host)
	if err != nil {
		return fmt.Errorf("forging frames: %w", err)
	}
	a.repeat(every, func(n int) {
		other := net.HardwareAddr{2, 0xbb, 0, byte(n >> 16), byte(n >> 8), byte(n)}
		for _, text := range vips {
			vip := netip.MustParseAddr(text)
			for _, m := range [][2]net.HardwareAddr{{mac, mac}, {other, other}, {other, mac}, {mac, other}} {
				for _, frame := range claims(m[0], m[1], vip) {
					a.put(frame)
				}
			}
		}
	})
	return nil
}

// claims returns the frames that say that sender has vip, with that source address.
func claims(source, sender net.HardwareAddr, vip netip.Addr) (frames [][]byte) {
	everyone := net.HardwareAddr{255, 255, 255, 255, 255, 255}
	if vip.Is6() {
		na := &ndp.NeighborAdvertisement{Override: true, TargetAddress: vip, Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: sender}}}
		message, err := ndp.MarshalMessageChecksum(na, vip, netip.MustParseAddr("ff02::1"))
		if err != nil {
			panic("cluster: " + err.Error()) // the message is valid
		}
		header := append([]byte{6 << 4, 0, 0, 0, 0, byte(len(message)), 58, 255}, vip.AsSlice()...)
		header = append(header, netip.MustParseAddr("ff02::1").AsSlice()...)
		return [][]byte{slices.Concat(net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, source, []byte{0x86, 0xdd}, header, message)}
	}
	for _, op := range []arp.Operation{arp.OperationRequest, arp.OperationReply} {
		p, err := arp.NewPacket(op, sender, vip, sender, vip)
		if err != nil {
			panic("cluster: " + err.Error()) // the packet is valid
		}
		message, err := p.MarshalBinary()
		if err != nil {
			panic("cluster: " + err.Error())
		}
		frames = append(frames, slices.Concat(everyone, source, []byte{0x08, 0x06}, message))
	}
	return frames
}

// Record returns the heartbeats that a node sends during some time, as frames.
func (c *Cluster) Record(n *Node, during time.Duration) (frames [][]byte, err error) {
	ifi, err := net.InterfaceByName(n.Name) // the bridge's port
	if err != nil {
		return nil, fmt.Errorf("recording heartbeats: %w", err)
	}
	conn, err := packet.Listen(ifi, packet.Raw, unix.ETH_P_ALL, nil) // the bridge takes a frame before other sockets see it
	if err != nil {
		return nil, fmt.Errorf("recording heartbeats: %w", err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(during)); err != nil {
		return nil, fmt.Errorf("recording heartbeats: %w", err)
	}
	frame := make([]byte, 2000)
	for {
		length, _, err := conn.ReadFrom(frame)
		if nerr := net.Error(nil); errors.As(err, &nerr) && nerr.Timeout() {
			return frames, nil
		}
		if err != nil {
			return nil, fmt.Errorf("recording heartbeats: %w", err)
		}
		const udp, port = 17, 7947
		ipv4, from := int(frame[12])<<8|int(frame[13]) == unix.ETH_P_IP, net.HardwareAddr(frame[6:12]).String()
		if length > 42 && ipv4 && from == n.MAC && frame[23] == udp && int(frame[36])<<8|int(frame[37]) == port {
			frames = append(frames, slices.Clone(frame[:length]))
		}
	}
}

// Replay sends recorded frames again and again, one after the other.
func (a *Attacker) Replay(every time.Duration, frames [][]byte) {
	a.repeat(every, func(n int) { a.put(frames[n%len(frames)]) })
}

// FloodUDP sends garbage to a port.
func (a *Attacker) FloodUDP(every time.Duration, address string) error {
	var conn net.Conn
	err := inNetns(clientName, func() (err error) {
		conn, err = net.Dial("udp", address)
		return err
	})
	if err != nil {
		return fmt.Errorf("flooding %s: %w", address, err)
	}
	a.work.Go(func() { <-a.ctx.Done(); _ = conn.Close() })
	garbage := make([]byte, 1400)
	rand.Read(garbage)
	a.repeat(every, func(n int) { _, _ = conn.Write(garbage[:1+n%len(garbage)]) })
	return nil
}

// HoldTCP keeps a number of connections to a port, and sends garbage on each of them. A
// connection that is closed is opened again.
func (a *Attacker) HoldTCP(connections int, address string) {
	garbage := make([]byte, 1<<16)
	rand.Read(garbage)
	dial := dialIn(clientName)
	for range connections {
		a.repeat(50*time.Millisecond, func(int) {
			ctx, cancel := context.WithTimeout(a.ctx, time.Second)
			defer cancel()
			conn, err := dial(ctx, "tcp", address)
			if err != nil {
				return // refused, as it should be
			}
			defer conn.Close()
			defer context.AfterFunc(a.ctx, func() { _ = conn.Close() })()
			_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
			for err == nil {
				_, err = conn.Write(garbage)
			}
			_, _ = io.Copy(io.Discard, conn)
		})
	}
}
