// Package capture records the frames that decide whether traffic reaches this node: ARP and
// neighbor discovery about one address, and BGP and BFD with the peers.
package capture

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Link is an Ethernet link to capture on.
type Link struct {
	Name  string
	Index int
	MAC   [6]byte
}

// Request says what to capture.
type Request struct {
	Links []Link
	// Addr is the address that frames of ARP and neighbor discovery must be about.
	Addr netip.Addr
	// Peers are the BGP peers, with the ports at which they listen.
	Peers []netip.AddrPort
	// Bytes is how many bytes of frames to capture.
	Bytes int
}

// Frame is a captured frame.
type Frame struct {
	// Link is the place of its link in the request.
	Link     int
	At       time.Time
	Outgoing bool
	// Bytes begin with the Ethernet header.
	Bytes []byte
}

// maxFrame is the longest frame: the kernel joins segments of TCP to frames of up to 64 KiB.
const maxFrame = 1<<16 + payload

// Capture has opened the links.
type Capture struct {
	request Request
	sockets []*socket // nil for a link that could not be opened
	// Problems say why a link could not be opened, in the order of the links; nil if it was.
	Problems []error
}

type socket struct {
	conn *packet.Conn
	raw  syscall.RawConn
}

// Open opens the links. From then on frames are kept for Run. Close must be called.
func Open(r Request) *Capture {
	c := &Capture{request: r, sockets: make([]*socket, len(r.Links)), Problems: make([]error, len(r.Links))}
	ports := bgpPorts(r.Peers)
	for i, l := range r.Links {
		c.sockets[i], c.Problems[i] = openSocket(l, ports)
	}
	return c
}

// maxPorts bounds the length of the filter. Nearly all peers have the same port.
const maxPorts = 16

// bgpPorts returns the ports of the peers.
func bgpPorts(peers []netip.AddrPort) (ports []uint32) {
	for _, p := range peers {
		if port := uint32(p.Port()); !slices.Contains(ports, port) && len(ports) < maxPorts {
			ports = append(ports, port)
		}
	}
	return ports
}

func openSocket(l Link, bgp []uint32) (*socket, error) {
	program, err := bpf.Assemble(kernelFilter(l.Index, bgp))
	if err != nil {
		return nil, fmt.Errorf("assembling the filter: %w", err)
	}
	conn, err := packet.Listen(&net.Interface{Index: l.Index, Name: l.Name, HardwareAddr: l.MAC[:]}, packet.Raw, unix.ETH_P_ALL, &packet.Config{Filter: program})
	if err != nil {
		return nil, fmt.Errorf("opening a socket on %s: %w", l.Name, err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening a socket on %s: %w", l.Name, err), conn.Close())
	}
	return &socket{conn: conn, raw: raw}, nil
}

// Run passes each frame to use, until ctx ends, until there are enough bytes, or until use
// returns an error. It calls use for one frame at a time. The error says why it has ended
// before ctx. lost is how many frames the kernel had no room for.
func (c *Capture) Run(ctx context.Context, use func(Frame) error) (lost uint64, err error) {
	var mu sync.Mutex // guards left, and is held while use runs
	left := c.request.Bytes
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var readers sync.WaitGroup
	for i, s := range c.sockets {
		if s == nil {
			continue
		}
		// A past deadline ends the read that waits.
		defer context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })()
		readers.Go(func() {
			err := c.read(ctx, i, func(f Frame) error {
				mu.Lock()
				defer mu.Unlock()
				if left -= len(f.Bytes); left < 0 {
					return ErrEnough
				}
				return use(f)
			})
			if err != nil {
				stop(err)
			}
		})
	}
	<-ctx.Done()
	readers.Wait()
	for _, s := range c.sockets {
		if s == nil {
			continue
		}
		if stats, err := s.conn.Stats(); err == nil {
			lost += uint64(stats.Drops)
		}
	}
	if cause := context.Cause(ctx); cause != ctx.Err() {
		return lost, cause
	}
	return lost, nil
}

// ErrEnough ends a capture that has as many bytes as were asked for.
var ErrEnough = errors.New("as many bytes as can be captured were captured")

// read passes the frames of a link to use until ctx ends or use returns an error.
func (c *Capture) read(ctx context.Context, link int, use func(Frame) error) error {
	s, buffer := c.sockets[link], make([]byte, maxFrame)
	for ctx.Err() == nil {
		n, outgoing, err := s.read(buffer)
		switch {
		case ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case errors.Is(err, unix.ENETDOWN):
			continue // the kernel reports once that the link is down; the socket stays usable
		case err != nil:
			return fmt.Errorf("reading frames on %s: %w", c.request.Links[link].Name, err)
		}
		if !matches(buffer[:n], c.request.Addr, c.request.Peers) {
			continue
		}
		f := Frame{Link: link, At: time.Now(), Outgoing: outgoing, Bytes: append([]byte(nil), buffer[:n]...)}
		hideDigests(f.Bytes)
		if err := use(f); err != nil {
			return err
		}
	}
	return nil
}

// read waits for a frame, and says whether this node has sent it.
func (s *socket) read(buffer []byte) (n int, outgoing bool, err error) {
	var from unix.Sockaddr
	waitErr := s.raw.Read(func(fd uintptr) bool {
		n, from, err = unix.Recvfrom(int(fd), buffer, 0)
		return err != unix.EAGAIN && err != unix.EINTR
	})
	if waitErr != nil {
		return 0, false, waitErr
	}
	if err != nil {
		return 0, false, err
	}
	link, ok := from.(*unix.SockaddrLinklayer)
	return n, ok && link.Pkttype == unix.PACKET_OUTGOING, nil
}

// Close closes the links.
func (c *Capture) Close() error {
	var all []error
	for _, s := range c.sockets {
		if s != nil {
			all = append(all, s.conn.Close())
		}
	}
	return errors.Join(all...)
}
