package links

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Neighbor is another host on a link.
type Neighbor struct {
	Link string
	// Local is this node's main address on the link, of the same family as Addr.
	Local, Addr netip.Addr
}

// Unresolved returns the hosts on some links whose MAC addresses the kernel looks for at the moment, and has
// not found yet.
func Unresolved(links []Link) (unresolved []Neighbor, err error) {
	byIndex := make(map[int]Link, len(links))
	for _, l := range links {
		byIndex[l.Index] = l
	}
	entries, err := netlink.NeighList(0, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // an incomplete list has most entries
		return nil, fmt.Errorf("listing neighbors: %w", err)
	}
	for _, e := range entries {
		l, known := byIndex[e.LinkIndex]
		addr, ok := netip.AddrFromSlice(e.IP)
		if !known || !ok || e.State&unix.NUD_INCOMPLETE == 0 {
			continue
		}
		n := Neighbor{Link: l.Name, Local: l.IPv4.Addr(), Addr: addr.Unmap()}
		if n.Addr.Is6() {
			n.Local = l.IPv6.Addr()
		}
		if n.Local.IsValid() {
			unresolved = append(unresolved, n)
		}
	}
	return unresolved, nil
}
