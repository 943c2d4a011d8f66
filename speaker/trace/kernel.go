package trace

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Neighbor is an entry of the kernel's table of neighbors.
type Neighbor struct {
	Link string
	MAC  [6]byte
	// State is as the command ip has it, in lower case.
	State string
}

// states are those in which an entry has a MAC address (linux/neighbour.h).
var states = map[int]string{
	unix.NUD_REACHABLE: "reachable", unix.NUD_STALE: "stale", unix.NUD_DELAY: "delay", unix.NUD_PROBE: "probe", unix.NUD_PERMANENT: "permanent",
}

// kernel returns the names of the interfaces that have an address, and the neighbors that have it.
func kernel(addr netip.Addr) (local []string, neighbors []Neighbor, err error) {
	names := map[int]string{}
	all, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) { // an incomplete list has most names
		return nil, nil, fmt.Errorf("listing network interfaces: %w", err)
	}
	for _, l := range all {
		names[l.Attrs().Index] = l.Attrs().Name
	}
	family := netlink.FAMILY_V4
	if addr.Is6() {
		family = netlink.FAMILY_V6
	}
	addrs, err := netlink.AddrList(nil, family)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, nil, fmt.Errorf("listing the addresses of network interfaces: %w", err)
	}
	for _, a := range addrs {
		if got, ok := netip.AddrFromSlice(a.IP); ok && got.Unmap() == addr {
			local = append(local, names[a.LinkIndex])
		}
	}
	slices.Sort(local)
	entries, err := netlink.NeighList(0, family)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return local, nil, fmt.Errorf("listing neighbors: %w", err)
	}
	for _, e := range entries {
		state, ok := states[e.State]
		if got, valid := netip.AddrFromSlice(e.IP); !ok || !valid || got.Unmap() != addr || len(e.HardwareAddr) != 6 {
			continue
		}
		neighbors = append(neighbors, Neighbor{Link: names[e.LinkIndex], MAC: [6]byte(e.HardwareAddr), State: state})
	}
	return local, neighbors, nil
}
