package view

import (
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

// announcementLinks returns the links on which addresses can be announced: those that have
// an InternalIP of the Node, that lead to a default gateway, that are connected to a network
// with addresses of a pool or of a Service, or that a pool names. Clients are behind such
// links. Other links are often for storage, or they belong to a container network that is not
// known by name. If no link is of this kind, all are returned.
func announcementLinks(in Inputs, gateways []int) (chosen []links.Link) {
	for _, l := range in.AllLinks {
		hasInternal := slices.ContainsFunc(l.Addrs, func(p netip.Prefix) bool { return slices.Contains(in.Addrs, p.Addr()) })
		if hasInternal || slices.Contains(gateways, l.Index) || isForPools(l, in.Config) || isForPools(l, in.Earlier) || isForServices(l, in) {
			chosen = append(chosen, l)
		}
	}
	if len(chosen) == 0 {
		return in.AllLinks
	}
	return chosen
}

// isForServices reports whether a Service has an address of the link's networks, or the pool
// of an orphan names the link.
func isForServices(l links.Link, in Inputs) bool {
	for _, svc := range in.Services {
		for _, vip := range svc.VIPs {
			if slices.ContainsFunc(l.Networks, func(n netip.Prefix) bool { return n.Contains(vip) }) {
				return true
			}
			if pool := in.Orphans[vip]; pool != nil && slices.Contains(pool.Interfaces, l.Name) {
				return true
			}
		}
	}
	return false
}

// isForPools reports whether a pool names the link, or has addresses of its networks.
func isForPools(l links.Link, c *config.Config) bool {
	if c == nil {
		return false
	}
	for _, pool := range c.Pools {
		if slices.Contains(pool.Interfaces, l.Name) {
			return true
		}
		for _, r := range pool.Ranges {
			for _, n := range l.Networks {
				if n.Contains(r.From) || n.Contains(r.To) || r.Contains(n.Addr()) {
					return true
				}
			}
		}
	}
	return false
}

// networksOf returns the networks that the speakers have written.
func networksOf(nodes map[string]configmap.NodeLinks) map[string][]plan.NodeNetwork {
	byNode := make(map[string][]plan.NodeNetwork, len(nodes))
	for name, n := range nodes {
		for link, all := range n.Networks {
			for _, network := range all {
				byNode[name] = append(byNode[name], plan.NodeNetwork{Link: link, Network: network})
			}
		}
	}
	return byNode
}
