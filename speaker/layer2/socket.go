package layer2

import (
	"fmt"
	"net"
	"syscall"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// socket reads and writes whole Ethernet frames on one link, without allocating. One
// goroutine may read and reply; any goroutine may write.
type socket struct {
	conn *packet.Conn
	raw  syscall.RawConn
	// The system calls of the goroutine that reads, with their arguments and results.
	// They are closures that are made once, so that reading does not allocate.
	readCall  func(fd uintptr) bool
	replyCall func(fd uintptr)
	frame     []byte
	n         int
	err       error
}

// receiveBuffer is the requested size in bytes. The kernel gives at most
// net.core.rmem_max. A large buffer keeps requests that come during a flood.
const receiveBuffer = 4 << 20

func openSocket(l Link, protocol int, filter []bpf.Instruction) (*socket, error) {
	program, err := bpf.Assemble(filter)
	if err != nil {
		return nil, fmt.Errorf("assembling the filter: %w", err)
	}
	conn, err := packet.Listen(&net.Interface{Index: l.Index, Name: l.Name, HardwareAddr: l.MAC[:]}, packet.Raw, protocol, &packet.Config{Filter: program})
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn}
	if s.raw, err = conn.SyscallConn(); err != nil {
		_ = conn.Close() // the first error says more
		return nil, err
	}
	_ = s.raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // it works with less
	})
	s.readCall = func(fd uintptr) bool {
		s.n, s.err = unix.Read(int(fd), s.frame)
		return s.err != unix.EAGAIN && s.err != unix.EINTR
	}
	s.replyCall = func(fd uintptr) { _, s.err = unix.Write(int(fd), s.frame) }
	return s, nil
}

// setFilter replaces the filter. No frame is lost in between.
func (s *socket) setFilter(filter []bpf.Instruction) error {
	program, err := bpf.Assemble(filter)
	if err != nil {
		return fmt.Errorf("assembling the filter: %w", err)
	}
	if err := s.conn.SetBPF(program); err != nil {
		return fmt.Errorf("setting the filter: %w", err)
	}
	return nil
}

// read waits for a frame.
func (s *socket) read(frame []byte) (int, error) {
	s.frame = frame
	if err := s.raw.Read(s.readCall); err != nil {
		return 0, err
	}
	return s.n, s.err
}

// reply is like write, for the goroutine that reads.
func (s *socket) reply(frame []byte) error {
	s.frame = frame
	if err := s.raw.Control(s.replyCall); err != nil {
		return err
	}
	return s.err
}

// write sends a frame. It fails at once if there is no room, because a stuck link must
// not delay the others. Hosts repeat their requests.
func (s *socket) write(frame []byte) (err error) {
	controlErr := s.raw.Control(func(fd uintptr) { _, err = unix.Write(int(fd), frame) })
	if controlErr != nil {
		return controlErr
	}
	return err
}

func (s *socket) close() error { return s.conn.Close() }
