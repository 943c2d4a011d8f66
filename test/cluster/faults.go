package cluster

import "strings"

// What can go wrong with a node, and how it is undone. Only one fault of the
// segment is possible at a time.

// Kill cuts the node's power, as far as others can tell: it falls silent without
// a goodbye. Revive brings it back.
func (n *Node) Kill() error { return ip("link set " + n.Name + " down") }

// Revive undoes Kill.
func (n *Node) Revive() error { return ip("link set " + n.Name + " up") }

// Freeze stops the node's processes without a goodbye, as a hung machine does;
// its network goes on. Thaw lets them go on.
func (n *Node) Freeze() {
	n.speaker.Freeze()
	n.proxy.Freeze()
}

// Thaw undoes Freeze.
func (n *Node) Thaw() {
	n.proxy.Thaw()
	n.speaker.Thaw()
}

// Deafen lets nothing reach the node any more; Mute lets nothing out. Heal undoes
// them, and Partition and Lossy.
func (n *Node) Deafen() error { return disturb(`oifname "` + n.Name + `" drop`) }

// Mute lets nothing out of the node any more.
func (n *Node) Mute() error { return disturb(`iifname "` + n.Name + `" drop`) }

// Lossy drops a tenth of all frames on the segment, at random.
func (c *Cluster) Lossy() error { return disturb("numgen random mod 100 < 10 drop") }

// Partition cuts the segment in two: the nodes on one side, everybody else, the
// client and the control plane too, on the other.
func (c *Cluster) Partition(nodes ...*Node) error {
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	ports := `{ "` + strings.Join(names, `", "`) + `" }`
	return disturb("iifname "+ports+" oifname != "+ports+" drop", "iifname != "+ports+" oifname "+ports+" drop")
}

// Heal undoes the last fault of the segment.
func (c *Cluster) Heal() error { return run("nft", "delete table bridge fault") }

// disturb adds rules to what the bridge forwards, receives and sends.
func disturb(rules ...string) error {
	text := "table bridge fault {\n"
	for _, hook := range []string{"forward", "input", "output"} {
		text += "chain " + hook + " {\ntype filter hook " + hook + " priority 0;\n" + strings.Join(rules, "\n") + "\n}\n"
	}
	return run("nft", text+"}")
}
