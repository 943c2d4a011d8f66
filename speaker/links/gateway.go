package links

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// anywhere and anywhere6 are addresses for documentation (RFC 5737 and 3849), which no host has.
// The kernel says how it would reach them. No packet is sent there.
var anywhere, anywhere6 = net.IPv4(192, 0, 2, 1), net.ParseIP("2001:db8::1")

// Gateway returns the node's IPv4 default gateway, and the index of the link to it.
func Gateway() (addr netip.Addr, link int, err error) { return gatewayTo(anywhere) }

// Gateways returns the node's default gateways: of IPv4, of IPv6, of both or of none.
// Link-local addresses do not count.
func Gateways() (gateways []netip.Addr) {
	for _, target := range []net.IP{anywhere, anywhere6} {
		if addr, _, err := gatewayTo(target); err == nil && !addr.IsLinkLocalUnicast() {
			gateways = append(gateways, addr)
		}
	}
	return gateways
}

// GatewayLinks returns the indexes of the links to the default gateways.
func GatewayLinks() (indexes []int) {
	for _, target := range []net.IP{anywhere, anywhere6} {
		if _, link, err := gatewayTo(target); err == nil {
			indexes = append(indexes, link)
		}
	}
	return indexes
}

func gatewayTo(target net.IP) (addr netip.Addr, link int, err error) {
	routes, err := netlink.RouteGet(target)
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
