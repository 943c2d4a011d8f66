package cloudprovider

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// networkWarnings returns why pools do not fit the network of the cluster: a pool has an
// address of a node or a gateway, it overlaps with the networks of pods or Services, or it
// is for layer 2 and is not on the segment of a node.
func networkWarnings(c *config.Config, s clusterState) (warnings []string) {
	taken := reserved(s.nodes, s.links)
	pods := map[string][]netip.Prefix{} // by node
	for _, n := range s.nodes {
		pods[n.Name] = parsePrefixes(n.Spec.PodCIDRs)
	}
	for _, pool := range c.Pools {
		say := func(format string, args ...any) {
			warnings = append(warnings, fmt.Sprintf("pool %q: ", pool.Name)+fmt.Sprintf(format, args...))
		}
		for _, addr := range slices.SortedFunc(maps.Keys(taken), netip.Addr.Compare) {
			if poolContains(pool, addr) {
				say("%s is %s: no Service gets it. Take it out of the pool", addr, taken[addr])
			}
		}
		for _, node := range slices.Sorted(maps.Keys(pods)) {
			if p, ok := overlapping(pool, pods[node]); ok {
				say("overlaps with %s, the addresses of the pods on node %s", p, node)
			}
		}
		if p, ok := overlapping(pool, s.serviceCIDRs); ok {
			say("overlaps with %s, the cluster addresses of Services (ServiceCIDR)", p)
		}
		if segments := segmentsOf(s); pool.Protocol == config.Layer2 && len(segments) > 0 {
			if off := offSegment(pool, segments); len(off) > 0 {
				say("no node has a link on the segment of %s, so only hosts with a route to the nodes reach these addresses", strings.Join(off, ", "))
			}
		}
	}
	return warnings
}

func poolContains(pool config.Pool, addr netip.Addr) bool {
	return slices.ContainsFunc(pool.Ranges, func(r config.Range) bool { return r.Contains(addr) })
}

// overlapping returns the first of the prefixes that has an address in common with the pool.
func overlapping(pool config.Pool, prefixes []netip.Prefix) (netip.Prefix, bool) {
	for _, p := range prefixes {
		for _, r := range pool.Ranges {
			if r.Contains(p.Addr()) || p.Contains(r.From) {
				return p, true
			}
		}
	}
	return netip.Prefix{}, false
}

// segmentsOf returns the networks on the links of the nodes that speakers have written.
func segmentsOf(s clusterState) (segments []netip.Prefix) {
	for _, n := range s.nodes {
		for _, p := range s.links[n.Name].Addresses {
			segments = append(segments, p.Masked())
		}
	}
	return segments
}

// offSegment returns the ranges whose ends are on none of the segments.
func offSegment(pool config.Pool, segments []netip.Prefix) (off []string) {
	for _, r := range pool.Ranges {
		on := func(p netip.Prefix) bool { return p.Contains(r.From) || p.Contains(r.To) }
		if !slices.ContainsFunc(segments, on) {
			off = append(off, r.String())
		}
	}
	return off
}
