package probe

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// port is the sockets of one link.
type port struct {
	link     string
	index    int
	mac      [6]byte
	arp, ndp *socket
	note     func(Target)
	broke    func()      // is called when a socket has failed
	broken   atomic.Bool // a socket has failed, or the port is closed
	done     sync.WaitGroup

	mu sync.Mutex // guards the fields below
	// asked has the last targets by what an answer says.
	asked map[answer]Target
	// frames are the probes, which are always the same.
	frames map[Target][]byte
}

// is reports whether the port is open on an interface as it is now.
func (p *port) is(i *net.Interface) bool {
	return p != nil && !p.broken.Load() && p.index == i.Index && p.mac == [6]byte(i.HardwareAddr)
}

// maxTargets bounds the targets that a port remembers. There are a few for each neighbour.
const maxTargets = 256

func openPort(i *net.Interface, note func(Target), broke func()) (*port, error) {
	p := &port{link: i.Name, index: i.Index, mac: [6]byte(i.HardwareAddr), note: note, broke: broke, asked: map[answer]Target{}, frames: map[Target][]byte{}}
	var err error
	if p.arp, err = openSocket(i, unix.ETH_P_ARP, arpFilter(i.Index)); err != nil {
		return nil, fmt.Errorf("opening the ARP socket: %w", err)
	}
	if p.ndp, err = openSocket(i, unix.ETH_P_IPV6, ndpFilter(i.Index)); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the NDP socket: %w", err), p.arp.conn.Close())
	}
	p.done.Go(func() { p.read(p.arp, parseARP) })
	p.done.Go(func() { p.read(p.ndp, parseNA) })
	return p, nil
}

// close closes the sockets and waits for the goroutines that read them.
func (p *port) close() {
	p.broken.Store(true)
	_ = errors.Join(p.arp.conn.Close(), p.ndp.conn.Close()) // nothing is lost
	p.done.Wait()
}

// ask sends a probe.
func (p *port) ask(t Target) error {
	p.mu.Lock()
	frame := p.frames[t]
	if frame == nil {
		if len(p.frames) >= maxTargets {
			clear(p.frames)
			clear(p.asked)
		}
		frame = question(p.mac, t)
		p.frames[t] = frame
	}
	p.asked[answer{t.Remote, p.mac}] = t // the address may be at another MAC now
	p.mu.Unlock()
	if t.Remote.Is4() {
		return p.arp.write(frame)
	}
	return p.ndp.write(frame)
}

// read notes answers until the socket is closed.
func (p *port) read(s *socket, parse func([]byte) (answer, bool)) {
	frame := make([]byte, 1518)
	for {
		n, _, err := s.conn.ReadFrom(frame)
		switch {
		case errors.Is(err, unix.ENETDOWN):
			continue // the kernel reports once that the link is down; the socket stays usable
		case err != nil:
			if !p.broken.Swap(true) {
				p.broke() // it is opened again
			}
			return
		}
		got, ok := parse(frame[:n])
		if !ok {
			continue
		}
		p.mu.Lock()
		t, wanted := p.asked[got]
		p.mu.Unlock()
		if wanted {
			p.note(t)
		}
	}
}

type socket struct {
	conn *packet.Conn
	raw  syscall.RawConn
}

func openSocket(i *net.Interface, protocol int, filter []bpf.Instruction) (*socket, error) {
	program, err := bpf.Assemble(filter)
	if err != nil {
		return nil, fmt.Errorf("assembling the filter: %w", err)
	}
	conn, err := packet.Listen(i, packet.Raw, protocol, &packet.Config{Filter: program})
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		_ = conn.Close() // the first error says more
		return nil, err
	}
	return &socket{conn, raw}, nil
}

// write sends a frame. It fails at once if there is no room.
func (s *socket) write(frame []byte) (err error) {
	controlErr := s.raw.Control(func(fd uintptr) { _, err = unix.Write(int(fd), frame) })
	return errors.Join(controlErr, err)
}

// onlyHere drops frames for other hosts, and for links that are not the one with the index: the
// socket of a parent link sees the frames of its VLANs, too.
func onlyHere(index int) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_HOST, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(index), SkipTrue: 1},
		bpf.RetConstant{Val: 0},
	}
}

// arpFilter lets ARP replies to this host pass.
func arpFilter(index int) []bpf.Instruction {
	return append(onlyHere(index),
		bpf.LoadAbsolute{Off: 20, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 2, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: 1 << 16})
}

// ndpFilter lets neighbor advertisements to this host pass, unless a router has forwarded them.
func ndpFilter(index int) []bpf.Instruction {
	return append(onlyHere(index),
		bpf.LoadAbsolute{Off: 20, Size: 2}, // next header and hop limit
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolICMPv6<<8 | 255, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadAbsolute{Off: 54, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 136, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.RetConstant{Val: 1 << 16})
}
