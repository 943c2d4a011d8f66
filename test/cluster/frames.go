package cluster

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os/exec"

	"golang.org/x/sys/unix"
)

// FrameCount counts the TCP frames to an address on the segment, by the client's port. Each time that
// the bridge forwards a frame counts, so a frame that a node forwards to another counts again.
type FrameCount struct{ cluster *Cluster }

// CountFrames starts to count. Only one FrameCount can run at a time.
func (c *Cluster) CountFrames(vip string) (*FrameCount, error) {
	return &FrameCount{c}, run("nft", fmt.Sprintf(`table bridge frames {
	set seen { type inet_service; flags dynamic; size 65535; }
	chain forward {
		type filter hook forward priority 10
		ip daddr %s tcp dport 80 update @seen { tcp sport counter }
	}
}`, vip))
}

// Stop stops counting.
func (f *FrameCount) Stop() error { return run("nft", "delete table bridge frames") }

// ByPort returns how many frames were counted, by the client's port.
func (f *FrameCount) ByPort() (map[uint16]int, error) {
	out, err := exec.Command("nft", "--json", "list", "set", "bridge", "frames", "seen").Output()
	if err != nil {
		return nil, fmt.Errorf("reading the counted frames: %w", err)
	}
	return parseCounters(out)
}

// parseCounters reads a set of ports with counters, as nft prints it.
func parseCounters(text []byte) (map[uint16]int, error) {
	elements, err := parseSet[uint16](text)
	if err != nil {
		return nil, err
	}
	counts := map[uint16]int{}
	for _, e := range elements {
		counts[e.Val] = e.Counter.Packets
	}
	return counts, nil
}

// setElement is an element of a set with counters.
type setElement[V any] struct {
	Val     V
	Counter struct{ Packets int }
}

// parseSet reads the elements of a set, as nft prints it.
func parseSet[V any](text []byte) (elements []setElement[V], err error) {
	var list struct {
		Nftables []struct {
			Set struct {
				Elem []struct{ Elem setElement[V] }
			}
		}
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, fmt.Errorf("reading the counted frames: %w", err)
	}
	for _, object := range list.Nftables {
		for _, e := range object.Set.Elem {
			elements = append(elements, e.Elem)
		}
	}
	return elements, nil
}

// SendStray sends, as the client on the segment, one TCP segment of a connection that does not
// exist to port 80 of vip from each of these ports. All kernels drop or reset such a segment.
func (c *Cluster) SendStray(vip string, from ...uint16) error {
	to := netip.MustParseAddr(vip)
	return inNetns(clientName, func() error {
		socket, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		if err != nil {
			return fmt.Errorf("opening a socket for stray segments: %w", err)
		}
		defer unix.Close(socket)
		for _, port := range from {
			if err := unix.Sendto(socket, straySegment(clientIPv4, to, port), 0, &unix.SockaddrInet4{Addr: to.As4()}); err != nil {
				return fmt.Errorf("sending a stray segment from port %d: %w", port, err)
			}
		}
		return nil
	})
}

// straySegment returns a TCP segment without data and with the flag ACK alone (RFC 9293, section 3.1).
func straySegment(from, to netip.Addr, port uint16) []byte {
	s := make([]byte, 20)
	binary.BigEndian.PutUint16(s, port)
	binary.BigEndian.PutUint16(s[2:], 80)
	binary.BigEndian.PutUint32(s[4:], 1000)
	binary.BigEndian.PutUint32(s[8:], 2000)
	s[12], s[13] = 5<<4, 0x10
	binary.BigEndian.PutUint16(s[14:], 1024)
	var sum uint32
	add := func(b []byte) {
		for i := 0; i < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}
	add(from.AsSlice())
	add(to.AsSlice())
	sum += unix.IPPROTO_TCP + uint32(len(s))
	add(s)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(s[16:], ^uint16(sum))
	return s
}
