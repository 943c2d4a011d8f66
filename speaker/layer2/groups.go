package layer2

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/ipv6"
)

// groupsPerSocket keeps the memberships of one socket well inside the memory
// that the kernel allows it (net.core.optmem_max, 20 KiB in the worst case).
const groupsPerSocket = 256

// groups holds the solicited-node groups that are joined on one link. The
// sockets are never read: a membership lives as long as its socket.
type groups struct {
	link    *net.Interface
	sockets []*groupSocket
	joined  map[netip.Addr]*groupSocket
}

type groupSocket struct {
	conn *ipv6.PacketConn
	n    int
}

func newGroups(index int) *groups {
	return &groups{link: &net.Interface{Index: index}, joined: map[netip.Addr]*groupSocket{}}
}

// set joins the groups of the IPv6 addresses in addrs and leaves all others.
// Many addresses can have one group: those with the same last 24 bits.
func (g *groups) set(addrs map[netip.Addr]struct{}) error {
	want := map[netip.Addr]struct{}{}
	for addr := range addrs {
		if !addr.Is6() {
			continue
		}
		group, err := ndp.SolicitedNodeMulticast(addr)
		if err != nil {
			return fmt.Errorf("solicited-node group of %s: %w", addr, err)
		}
		want[group] = struct{}{}
	}
	var errs []error
	for group, s := range g.joined {
		if _, ok := want[group]; !ok {
			errs = append(errs, wrap("leaving", group, s.conn.LeaveGroup(g.link, &net.UDPAddr{IP: group.AsSlice()})))
			delete(g.joined, group)
			s.n--
		}
	}
	for group := range want {
		if g.joined[group] == nil {
			errs = append(errs, wrap("joining", group, g.join(group)))
		}
	}
	return errors.Join(errs...)
}

func (g *groups) join(group netip.Addr) error {
	s, err := g.socket()
	if err != nil {
		return err
	}
	if err := s.conn.JoinGroup(g.link, &net.UDPAddr{IP: group.AsSlice()}); err != nil {
		return err
	}
	s.n++
	g.joined[group] = s
	return nil
}

// socket returns one with room for another group.
func (g *groups) socket() (*groupSocket, error) {
	for _, s := range g.sockets {
		if s.n < groupsPerSocket {
			return s, nil
		}
	}
	conn, err := net.ListenPacket("udp6", "[::1]:0")
	if err != nil {
		return nil, err
	}
	s := &groupSocket{conn: ipv6.NewPacketConn(conn)}
	g.sockets = append(g.sockets, s)
	return s, nil
}

func (g *groups) close() {
	for _, s := range g.sockets {
		_ = s.conn.Close() // nothing was written, nothing is lost
	}
}

func wrap(doing string, group netip.Addr, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w", doing, group, err)
}
