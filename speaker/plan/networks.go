package plan

import (
	"net/netip"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// networks are the networks to which the links of the nodes are connected that may announce
// the addresses of a pool.
type networks struct {
	present map[netip.Prefix]bool
	// lengths4 and lengths6 are true at the lengths that IPv4 and IPv6 networks have.
	lengths4, lengths6 [129]bool
}

// networksOf returns the networks of a pool. It computes them the first time.
//
// A link that has no carrier counts, and so do the links of a dead node. Otherwise an address
// would move to links that cannot reach its hosts as soon as the right link is gone.
func (b *builder) networksOf(pool *config.Pool) *networks {
	if n, ok := b.networks[pool]; ok {
		return n
	}
	n := &networks{present: map[netip.Prefix]bool{}}
	allowed := func(node string) bool {
		object, ok := b.nodes[node]
		return ok && pool.Announces(object.Labels) && object.excludedFrom(pool) == ""
	}
	for node, all := range b.Networks {
		if !allowed(node) {
			continue
		}
		for _, own := range all {
			if onInterfaces(pool, own.Link) {
				n.add(own.Network)
			}
		}
	}
	for _, m := range b.members {
		if !allowed(m.Name) {
			continue
		}
		for _, seg := range m.Segments {
			if onInterfaces(pool, seg.Link) {
				for _, p := range seg.Networks {
					n.add(p)
				}
			}
		}
	}
	b.networks[pool] = n
	return n
}

func (n *networks) add(p netip.Prefix) {
	if p = p.Masked(); !p.IsValid() {
		return
	}
	n.present[p] = true
	if p.Addr().Is4() {
		n.lengths4[p.Bits()] = true
	} else {
		n.lengths6[p.Bits()] = true
	}
}

// holding returns the smallest network that holds addr; the zero value for none.
func (n *networks) holding(addr netip.Addr) netip.Prefix {
	lengths := &n.lengths6
	if addr.Is4() {
		lengths = &n.lengths4
	}
	for bits := addr.BitLen(); bits > 0; bits-- {
		if !lengths[bits] {
			continue
		}
		if p := netip.PrefixFrom(addr, bits).Masked(); n.present[p] {
			return p
		}
	}
	return netip.Prefix{}
}
