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
// with addresses of a pool, or that a pool names. Clients are behind such links. Other links
// are often for storage, or they belong to a container network that is not known by name. If
// no link is of this kind, all are returned.
func announcementLinks(all []links.Link, internal []netip.Addr, gateways []int, configs ...*config.Config) (chosen []links.Link) {
	for _, l := range all {
		hasInternal := slices.ContainsFunc(l.Addrs, func(p netip.Prefix) bool { return slices.Contains(internal, p.Addr()) })
		if hasInternal || slices.Contains(gateways, l.Index) || slices.ContainsFunc(configs, func(c *config.Config) bool { return isForPools(l, c) }) {
			chosen = append(chosen, l)
		}
	}
	if len(chosen) == 0 {
		return all
	}
	return chosen
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
