package links

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// PathTo returns the index of the interface over which the kernel reaches an address,
// and whether no router is in between. source is the source address of the packets; with
// the zero Addr the kernel chooses it.
func PathTo(addr, source netip.Addr) (link int, direct bool, err error) {
	if addr.Zone() != "" {
		i, err := net.InterfaceByName(addr.Zone())
		if err != nil {
			return 0, false, fmt.Errorf("looking for the way to %s: %w", addr, err)
		}
		return i.Index, true, nil
	}
	var options netlink.RouteGetOptions
	if source.IsValid() {
		options.SrcAddr = source.AsSlice()
	}
	routes, err := netlink.RouteGetWithOptions(addr.AsSlice(), &options)
	if err == nil && len(routes) == 0 {
		err = errors.New("the kernel has no route")
	}
	if err != nil {
		return 0, false, fmt.Errorf("looking for the way to %s: %w", addr, err)
	}
	return routes[0].LinkIndex, len(routes[0].Gw) == 0 && routes[0].Via == nil, nil
}
