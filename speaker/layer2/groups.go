package layer2

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/mdlayher/ndp"
	"golang.org/x/sys/unix"
)

const (
	// groupsPerSocket keeps the memberships of one socket well within the memory that
	// the kernel allows for it (net.core.optmem_max, 20 KiB in the worst case).
	groupsPerSocket = 256
	// joinAgain is the time after which a group that could not be joined is tried again.
	joinAgain = 10 * time.Second
)

// groups holds the solicited-node groups that this node has joined on one link. A
// membership lives as long as its socket. The sockets are neither bound nor read.
type groups struct {
	link    int // interface index
	sockets []*groupSocket
	joined  map[netip.Addr]*groupSocket
	failed  map[netip.Addr]time.Time
}

type groupSocket struct{ fd, n int }

func newGroups(link int) *groups {
	return &groups{link: link, joined: map[netip.Addr]*groupSocket{}, failed: map[netip.Addr]time.Time{}}
}

// set joins the groups of the IPv6 addresses in addrs and leaves all others. Addresses
// with the same last 24 bits have the same group.
func (g *groups) set(addrs []netip.Addr, now time.Time) error {
	want := map[netip.Addr]struct{}{}
	for _, addr := range addrs {
		group, err := ndp.SolicitedNodeMulticast(addr)
		if err != nil {
			return fmt.Errorf("solicited-node group of %s: %w", addr, err)
		}
		want[group] = struct{}{}
	}
	var errs []error
	for group, s := range g.joined {
		if _, ok := want[group]; !ok {
			errs = append(errs, g.membership("leaving", s, group, unix.IPV6_LEAVE_GROUP))
			delete(g.joined, group)
			s.n--
		}
	}
	for group := range want {
		if g.joined[group] != nil || now.Sub(g.failed[group]) < joinAgain {
			continue
		}
		if err := g.join(group); err != nil {
			g.failed[group] = now
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (g *groups) join(group netip.Addr) error {
	s, err := g.socket()
	if err != nil {
		return err
	}
	if err := g.membership("joining", s, group, unix.IPV6_JOIN_GROUP); err != nil {
		return err
	}
	s.n++
	g.joined[group] = s
	delete(g.failed, group)
	return nil
}

func (g *groups) membership(doing string, s *groupSocket, group netip.Addr, option int) error {
	request := &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(g.link)}
	if err := unix.SetsockoptIPv6Mreq(s.fd, unix.IPPROTO_IPV6, option, request); err != nil {
		return fmt.Errorf("%s %s: %w", doing, group, err)
	}
	return nil
}

// socket returns a socket with room for another group.
func (g *groups) socket() (*groupSocket, error) {
	for _, s := range g.sockets {
		if s.n < groupsPerSocket {
			return s, nil
		}
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a socket for group memberships: %w", err)
	}
	s := &groupSocket{fd: fd}
	g.sockets = append(g.sockets, s)
	return s, nil
}

func (g *groups) close() {
	for _, s := range g.sockets {
		_ = unix.Close(s.fd) // nothing was written, so nothing is lost
	}
}
