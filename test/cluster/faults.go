package cluster

import "strings"

// This file makes faults and undoes them. The segment can have only one fault at a time:
// Deafen, Mute, Lossy or Partition, which Heal undoes.

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

// Deafen drops all frames to the node, until Heal.
func (n *Node) Deafen() error { return disturb(`oifname "` + n.Name + `" drop`) }

// Mute drops all frames from the node, until Heal.
func (n *Node) Mute() error { return disturb(`iifname "` + n.Name + `" drop`) }

// Lossy drops a tenth of all frames on the segment at random, until Heal.
func (c *Cluster) Lossy() error { return disturb("numgen random mod 100 < 10 drop") }

// Partition cuts the segment into two parts, until Heal. These nodes are in one part. All
// other nodes, the client and the control plane are in the other part.
func (c *Cluster) Partition(nodes ...*Node) error {
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	ports := `{ "` + strings.Join(names, `", "`) + `" }`
	return disturb("iifname "+ports+" oifname != "+ports+" drop", "iifname != "+ports+" oifname "+ports+" drop")
}

// Heal undoes Deafen, Mute, Lossy or Partition.
func (c *Cluster) Heal() error { return run("nft", "delete table bridge fault") }

// disturb adds rules for the frames that the bridge forwards, receives and sends.
func disturb(rules ...string) error {
	text := "table bridge fault {\n"
	for _, hook := range []string{"forward", "input", "output"} {
		text += "chain " + hook + " {\ntype filter hook " + hook + " priority 0;\n" + strings.Join(rules, "\n") + "\n}\n"
	}
	return run("nft", text+"}")
}
