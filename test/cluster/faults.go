package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// This file makes faults and undoes them. The segment can have several faults at a time,
// but only one of Partition and Split.

// Kill takes the node's link down. For the other nodes this looks like a power failure:
// the node stops sending without telling them. Revive undoes Kill.
func (n *Node) Kill() error { return ip("link set " + n.Name + " down") }

// Revive takes the node's link up again.
func (n *Node) Revive() error { return ip("link set " + n.Name + " up") }

// Freeze makes the node's speaker and kube-proxy hang, as on a machine that hangs. The
// kernel's network still works. Thaw undoes Freeze.
func (n *Node) Freeze() {
	n.speaker.Freeze()
	n.proxy.Freeze()
}

// Thaw lets the processes that Freeze has frozen run again.
func (n *Node) Thaw() {
	n.proxy.Thaw()
	n.speaker.Thaw()
}

// FreezeProxy makes the node's kube-proxy hang, so that it writes no rules. ThawProxy undoes
// FreezeProxy.
func (n *Node) FreezeProxy() { n.proxy.Freeze() }

// ThawProxy lets the kube-proxy run again that FreezeProxy has frozen.
func (n *Node) ThawProxy() { n.proxy.Thaw() }

// Deafen drops all frames to the node, until Unblock or Heal.
func (n *Node) Deafen() error { return n.cluster.disturb("deaf-"+n.Name, `oifname "`+n.Name+`" drop`) }

// Mute drops all frames from the node, until Unblock or Heal.
func (n *Node) Mute() error { return n.cluster.disturb("mute-"+n.Name, `iifname "`+n.Name+`" drop`) }

// Unblock undoes Deafen and Mute of the node.
func (n *Node) Unblock() error { return n.cluster.undisturb("deaf-"+n.Name, "mute-"+n.Name) }

// Lossy drops this percentage of all frames on the segment at random, until Heal.
func (c *Cluster) Lossy(percent int) error {
	return c.disturb("loss", fmt.Sprintf("numgen random mod 100 < %d drop", percent))
}

// Partition cuts the segment into two parts, until Join or Heal. These nodes are in one
// part. All other nodes, the client and the control plane are in the other part.
func (c *Cluster) Partition(nodes ...*Node) error {
	ports := portSet(nodes)
	return c.disturb("parts", "iifname "+ports+" oifname != "+ports+" drop", "iifname != "+ports+" oifname "+ports+" drop")
}

// Split cuts these nodes off from the other nodes with a speaker, until Join or Heal. The
// client, the control plane and the worker still reach all nodes.
func (c *Cluster) Split(nodes ...*Node) error {
	var others []*Node
	for _, n := range c.Nodes() {
		if !slices.Contains(nodes, n) {
			others = append(others, n)
		}
	}
	these, those := portSet(nodes), portSet(others)
	return c.disturb("parts", "iifname "+these+" oifname "+those+" drop", "iifname "+those+" oifname "+these+" drop")
}

// Join undoes Partition and Split.
func (c *Cluster) Join() error { return c.undisturb("parts") }

// Heal undoes all faults of the segment: Deafen, Mute, Lossy, Partition and Split.
func (c *Cluster) Heal() error {
	c.mu.Lock()
	faults := slices.Sorted(maps.Keys(c.faults))
	c.mu.Unlock()
	return c.undisturb(faults...)
}

// portSet returns the bridge's ports of nodes, as a set of nftables.
func portSet(nodes []*Node) string {
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	return `{ "` + strings.Join(names, `", "`) + `" }`
}

// disturb adds rules for the frames that the bridge forwards, receives and sends. Each fault
// has a table of its own, so several faults can exist at the same time.
func (c *Cluster) disturb(fault string, rules ...string) error {
	text := "table bridge fault-" + fault + " {\n"
	for _, hook := range []string{"forward", "input", "output"} {
		text += "chain " + hook + " {\ntype filter hook " + hook + " priority 0;\n" + strings.Join(rules, "\n") + "\n}\n"
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults[fault] = true
	return run("nft", text+"}")
}

// undisturb removes the rules of faults. It ignores faults that do not exist.
func (c *Cluster) undisturb(faults ...string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, fault := range faults {
		if !c.faults[fault] {
			continue
		}
		if err := run("nft", "delete table bridge fault-"+fault); err != nil {
			return err
		}
		delete(c.faults, fault)
	}
	return nil
}
