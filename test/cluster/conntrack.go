package cluster

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
)

// Connections returns what the kernels of the nodes know of connections from a port of a client to an address: the
// lines of conntrack, each behind the name of the node.
func (c *Cluster) Connections(vip string, port int) string {
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
			if strings.Contains(line, to) && strings.Contains(line, fmt.Sprintf("sport=%d ", port)) {
				fmt.Fprintf(&found, "%s: %s", n.Name, line)
			}
		}
	}
	return found.String()
}
