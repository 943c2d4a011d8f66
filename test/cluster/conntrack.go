package cluster

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"
)

// ForgetConnections makes the kernels of all nodes forget all connections. A client that opens many
// connections uses a port again after some minutes, and then a node may still know the connection that it had
// before to the same address.
func (c *Cluster) ForgetConnections() error {
	for _, n := range c.nodes {
		err := inNetns(n.Name, func() error { return netlink.ConntrackTableFlush(netlink.ConntrackTable) })
		if err != nil {
			return fmt.Errorf("forgetting the connections of %s: %w", n.Name, err)
		}
	}
	return nil
}

// Connections returns what the kernels of the nodes know of connections to an address: the lines of conntrack with
// a text, each behind the name of the node.
func (c *Cluster) Connections(vip, with string) string {
	var found strings.Builder
	to := "dst=" + vip + " "
	if addr, err := netip.ParseAddr(vip); err == nil {
		to = "dst=" + addr.StringExpanded() + " "
	}
	for _, n := range c.nodes {
		out, err := exec.Command("nsenter", "--net=/run/netns/"+n.Name, "cat", "/proc/net/nf_conntrack").Output()
		if err != nil {
			fmt.Fprintf(&found, "%s: %v\n", n.Name, err)
		}
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, to) && strings.Contains(line, with) {
				fmt.Fprintf(&found, "%s: %s", n.Name, line)
			}
		}
	}
	return found.String()
}
