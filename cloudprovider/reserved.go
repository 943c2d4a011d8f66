package cloudprovider

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

// reserved returns the addresses that no Service may have: those in the status of a Node,
// those on the links of a node, and those of the nodes' gateways. Links and gateways count
// only while their Node exists. The texts complete the sentence "192.0.2.1 is …".
func reserved(nodes []*v1.Node, links map[string]configmap.NodeLinks) map[netip.Addr]string {
	addrs := map[netip.Addr]string{}
	// Nodes that share a gateway must not make the text differ each time: a change has a cost.
	nodes = slices.SortedFunc(slices.Values(nodes), func(a, b *v1.Node) int { return cmp.Compare(a.Name, b.Name) })
	for _, n := range nodes {
		for _, gateway := range links[n.Name].Gateways {
			addrs[gateway.Unmap()] = "the gateway of node " + n.Name
		}
	}
	for _, n := range nodes {
		text := "an address of node " + n.Name
		for _, a := range n.Status.Addresses {
			if addr, err := netip.ParseAddr(a.Address); err == nil { // the others are names
				addrs[addr.WithZone("").Unmap()] = text
			}
		}
		for _, prefix := range links[n.Name].Addresses {
			addrs[prefix.Addr().Unmap()] = text
		}
	}
	return addrs
}

// setReserved tells the allocator the reserved addresses, and reports whether they have
// changed. The caller must hold c.mu.
func (c *Cloud) setReserved() (changed bool) {
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		c.log.Error("reading the addresses of the nodes failed", "error", fmt.Errorf("listing Nodes from the cache: %w", err))
		return false
	}
	now := reserved(nodes, c.config.Nodes())
	if maps.Equal(now, c.reserved) {
		return false
	}
	c.reserved = now
	c.allocator.SetReserved(now)
	return true
}

// nodesChanged handles what the nodes and their speakers say. A Service that has an address
// of a node loses it. An address that a foreign host has is withheld.
func (c *Cloud) nodesChanged() {
	c.turn.Lock()
	defer c.turn.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	foreign := c.setForeign(time.Now())
	if c.isAdopted() && (c.setReserved() || foreign) {
		c.retryAll()
	}
}
