package metallb

import (
	"slices"
	"strings"
)

// nodesOf returns the node selectors of a pool: those of all its advertisements. A pool has
// one list of them, and MetalLB has one for each advertisement.
func (c *converter) nodesOf(p *pool, l2 []*l2Advertisement, bgp []bgpUse) []selector {
	var forL2, all [][]selector
	for _, a := range l2 {
		forL2, all = append(forL2, a.nodes), append(all, a.nodes)
	}
	for _, a := range bgp {
		all = append(all, a.nodes)
	}
	nodes := union(all...)
	const wider = "the pool has one node-selectors for all its advertisements, so more nodes announce its addresses %s than this advertisement allows: %s"
	if l2Nodes := union(forL2...); !same(l2Nodes, nodes) {
		for _, a := range l2 {
			if len(normal(a.nodes)) > 0 {
				c.noteIn(p.name, a.object, "spec.nodeSelectors", NotCarried, "node-selectors", wider, "by layer 2", "give the addresses for layer 2 and those for BGP a pool each")
			}
		}
	}
	for _, a := range bgp {
		if len(normal(a.nodes)) > 0 && !same(a.nodes, nodes) && !c.limitedByPeers(a) {
			c.noteIn(p.name, a.object, "spec.nodeSelectors", NotCarried, "node-selectors", wider, "over BGP", "limit the nodes with node-selectors of the peers, or make a pool for each set of nodes")
		}
	}
	return nodes
}

// limitedByPeers reports whether only the nodes of the advertisement have sessions with its
// peers.
func (c *converter) limitedByPeers(a bgpUse) bool {
	count := 0
	for _, p := range c.peers {
		named := len(a.to) == 0 || slices.ContainsFunc(a.to, func(n item) bool { return n.text == p.name })
		if !named || !p.converted() {
			continue
		}
		if count++; !same(p.nodes, a.nodes) {
			return false
		}
	}
	return count > 0
}

// interfacesOf returns the interfaces of a pool: those of all its L2Advertisements.
func (c *converter) interfacesOf(p *pool, l2 []*l2Advertisement) (all []item) {
	everywhere := slices.ContainsFunc(l2, func(a *l2Advertisement) bool { return len(a.interfaces) == 0 })
	for _, a := range l2 {
		for _, i := range a.interfaces {
			if !slices.ContainsFunc(all, func(other item) bool { return other.text == i.text }) {
				all = append(all, i)
			}
		}
	}
	for _, a := range l2 {
		switch {
		case len(a.interfaces) == 0:
		case everywhere:
			c.noteIn(p.name, a.object, "spec.interfaces", Changed, "interfaces", "another L2Advertisement of the pool is for all interfaces, so the pool has no interfaces")
		case !sameItems(a.interfaces, all):
			c.noteIn(p.name, a.object, "spec.interfaces", Changed, "interfaces", "the pool has the interfaces of all its L2Advertisements: each node that may announce uses those that it has of %s", names(all))
		}
	}
	if everywhere {
		return nil
	}
	return all
}

func sameItems(a, b []item) bool {
	key := func(list []item) string {
		texts := strings.Split(names(list), ", ")
		slices.Sort(texts)
		return strings.Join(slices.Compact(texts), ",")
	}
	return key(a) == key(b)
}
