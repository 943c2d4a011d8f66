package cloudprovider

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/quote"
)

// A foreign host can have an address of a pool. The speaker that owns the address finds that
// out, announces nothing, and writes the conflict to the ConfigMap NodeLinks. The Service
// keeps the address, but its status must not have it: kube-proxy on every node would take the
// traffic for that host. So the address is withheld until the conflict is over.

// conflictOver is how long no speaker must see a conflict until it is over. Another node may
// have become the owner of the address, and asks for the foreign host first.
const conflictOver = 5 * time.Second

// foreignHost is a host that has an address of a Service.
type foreignHost struct {
	text string    // completes the sentence "192.0.2.1 is …"
	gone time.Time // when the speakers have stopped to see it; the zero Time if they see it
}

// foreignHosts returns the addresses that foreign hosts have, with a text about each. What the
// speaker of a node has written counts while the node is Ready: the speaker of a dead node
// cannot take it back.
func foreignHosts(nodes []*v1.Node, links map[string]configmap.NodeLinks) map[netip.Addr]string {
	hosts := map[netip.Addr]string{}
	nodes = slices.SortedFunc(slices.Values(nodes), func(a, b *v1.Node) int { return cmp.Compare(a.Name, b.Name) }) // so that the text of one stays
	for _, n := range nodes {
		if !isReady(n) {
			continue
		}
		for addr, mac := range links[n.Name].Conflicts {
			hosts[addr.Unmap()] = fmt.Sprintf("used by a host that is no node, with the MAC address %s, as node %s has found", quote.Short(mac), n.Name)
		}
	}
	return hosts
}

// isReady reports whether the condition Ready of a node is True.
func isReady(n *v1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c v1.NodeCondition) bool {
		return c.Type == v1.NodeReady && c.Status == v1.ConditionTrue
	})
}

// isOver reports whether no speaker has seen the conflict for long enough.
func (h foreignHost) isOver(now time.Time) bool {
	return !h.gone.IsZero() && now.Sub(h.gone) >= conflictOver
}

// setForeign notes what the speakers have written about foreign hosts, and reports whether
// that has changed. The caller must hold c.mu.
func (c *Cloud) setForeign(now time.Time) (changed bool) {
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		c.log.Error("reading the conditions of the nodes failed", "error", fmt.Errorf("listing Nodes from the cache: %w", err))
		return false
	}
	hosts := foreignHosts(nodes, c.config.Nodes())
	for addr, text := range hosts {
		if before, known := c.foreign[addr]; !known || !before.gone.IsZero() || before.text != text {
			c.foreign[addr] = foreignHost{text: text}
			changed = true
		}
	}
	for addr, host := range c.foreign {
		switch {
		case host.isOver(now): // no Service has the address, else withhold would have forgotten it
			delete(c.foreign, addr)
		case hosts[addr] == "" && host.gone.IsZero():
			host.gone = now
			c.foreign[addr] = host
			changed = true
		}
	}
	return changed
}

// withhold returns those of the addresses that may be in a status, and for each other one
// why it may not. again is after which time the result changes by itself; 0 means never.
func (c *Cloud) withhold(addrs []netip.Addr, now time.Time) (shown []netip.Addr, withheld map[netip.Addr]string, again time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, addr := range addrs {
		host, taken := c.foreign[addr]
		left := host.gone.Add(conflictOver).Sub(now)
		switch {
		case taken && host.isOver(now):
			delete(c.foreign, addr)
			shown = append(shown, addr)
		case taken:
			if withheld == nil {
				withheld = map[netip.Addr]string{}
			}
			withheld[addr] = host.text
			if !host.gone.IsZero() && (again == 0 || left < again) {
				again = left
			}
		default:
			shown = append(shown, addr)
		}
	}
	return shown, withheld, again
}
