package view

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

// Addresses returns the first address of type InternalIP of each Node, by the names of
// the Nodes.
func (c *Cluster) Addresses() (map[string]netip.Addr, error) {
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing Nodes from the cache: %w", err)
	}
	addresses := map[string]netip.Addr{}
	for _, n := range nodes {
		if internal := internalIPs(n); len(internal) > 0 {
			addresses[n.Name] = internal[0]
		}
	}
	return addresses, nil
}

// internalIPs returns the addresses of type InternalIP of a Node.
func internalIPs(n *v1.Node) (addrs []netip.Addr) {
	for _, a := range n.Status.Addresses {
		if addr, err := netip.ParseAddr(a.Address); err == nil && a.Type == v1.NodeInternalIP {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs
}

// NodeAddrs returns the addresses in the statuses of all Nodes, of any type, each with the
// name of its Node.
func (c *Cluster) NodeAddrs() (map[netip.Addr]string, error) {
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing Nodes from the cache: %w", err)
	}
	addrs := make(map[netip.Addr]string, 2*len(nodes))
	for _, n := range nodes {
		for _, a := range n.Status.Addresses {
			if addr, err := netip.ParseAddr(a.Address); err == nil { // the others are names
				addrs[addr.WithZone("").Unmap()] = n.Name
			}
		}
	}
	return addrs, nil
}

func (c *Cluster) planNodes() ([]plan.Node, error) {
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing Nodes from the cache: %w", err)
	}
	values := make([]plan.Node, len(nodes))
	for i, n := range nodes {
		values[i] = plan.Node{Name: n.Name, Labels: n.Labels, Excluded: excluded(n), ExcludeLabel: c.hasExcludeLabel(n), Cordoned: n.Spec.Unschedulable, ShuttingDown: shuttingDown(n)}
	}
	return values, nil
}

// shutdownMessage is what the kubelet writes into the message of the condition Ready during
// a graceful node shutdown, alone or in a list of problems. There is no other sign of the
// shutdown in the API (kubernetes/pkg/kubelet/nodeshutdown, Manager.ShutdownStatus).
const shutdownMessage = "node is shutting down"

// shuttingDown reports whether a node goes away on purpose. The kubelet knows of a shutdown
// only if its shutdownGracePeriod is set. Otherwise nothing in a pod tells a shutdown from
// a restart of the pod.
func shuttingDown(n *v1.Node) bool {
	if n.DeletionTimestamp != nil {
		return true
	}
	for _, c := range n.Status.Conditions {
		if c.Type == v1.NodeReady && c.Status == v1.ConditionFalse && strings.Contains(c.Message, shutdownMessage) {
			return true
		}
	}
	return false
}

// readyNodes returns the names of the Nodes that are Ready and not excluded.
func (c *Cluster) readyNodes() (names []string, err error) {
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("listing Nodes from the cache: %w", err)
	}
	for _, n := range nodes {
		if _, ready := readySince(n, ""); ready && excluded(n) == "" {
			names = append(names, n.Name)
		}
	}
	return names, nil
}

// readySince reports whether a Node is Ready, and since when. After a restart of the machine
// the API server still has the condition from before. So the Node must also have the machine's
// boot ID, if both are known.
func readySince(n *v1.Node, bootID string) (since time.Time, ready bool) {
	if n == nil || bootID != "" && n.Status.NodeInfo.BootID != "" && n.Status.NodeInfo.BootID != bootID {
		return time.Time{}, false
	}
	for _, c := range n.Status.Conditions {
		if c.Type == v1.NodeReady {
			return c.LastTransitionTime.Time, c.Status == v1.ConditionTrue
		}
	}
	return time.Time{}, false
}

// hasExcludeLabel reports whether a node has the label that excludes it from announcing, and
// the operator has not told the speakers to ignore it.
func (c *Cluster) hasExcludeLabel(n *v1.Node) bool {
	_, ok := n.Labels[v1.LabelNodeExcludeBalancers]
	return ok && !c.ignoreExcludeLabel
}

// excluded says why a node must not announce, apart from the exclude label, or "". A node
// that is only cordoned or NotReady may announce: if its speaker is alive, the node can
// receive traffic.
func excluded(n *v1.Node) string {
	for _, c := range n.Status.Conditions {
		if c.Type == v1.NodeNetworkUnavailable && c.Status == v1.ConditionTrue {
			return "its network is unavailable"
		}
	}
	for _, t := range n.Spec.Taints {
		if t.Key == v1.TaintNodeOutOfService {
			return "it has the taint " + v1.TaintNodeOutOfService
		}
	}
	return ""
}
