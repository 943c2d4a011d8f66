package links

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// anywhere is an address for documentation (RFC 5737), which no host has. The kernel
// says how it would reach it. No packet is sent there.
var anywhere = net.IPv4(192, 0, 2, 1)

// Gateway returns the node's IPv4 default gateway, and the index of the link to it.
func Gateway() (addr netip.Addr, link int, err error) {
	routes, err := netlink.RouteGet(anywhere)
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("looking for the default gateway: %w", err)
	}
	for _, r := range routes {
		if gateway, ok := netip.AddrFromSlice(r.Gw); ok {
			return gateway.Unmap(), r.LinkIndex, nil
		}
	}
	return netip.Addr{}, 0, errors.New("there is no default gateway")
}
