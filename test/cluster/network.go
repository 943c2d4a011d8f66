package cluster

import (
	"fmt"
	"os"
	"strings"
)

// The network segment is one bridge. The control plane has the address .1, the client has
// .100, and the router has .254. Node n has .10+n, and the nodes after the 89th have .11+n,
// because of the client. Services get addresses from .200 on, so there can be 188 nodes.
const (
	bridge        = "br0"
	controlPlane4 = "192.168.120.1"
	controlPlane6 = "fd00:120::1"
	clientName    = "client"
)

// DefaultPools is the configuration of a cluster unless Options.Pools is set.
const DefaultPools = `address-pools:
- name: default
  protocol: layer2
  addresses:
  - 192.168.120.200-192.168.120.250
  - fd00:120::200-fd00:120::2ff
`

// RoutedPools is a configuration with which all nodes advertise the addresses by BGP to
// the router of StartRouter.
const RoutedPools = `peers:
- peer-address: 192.168.120.254
  peer-asn: 64513
  my-asn: 64512
  bfd-profile: quick
bfd-profiles:
- name: quick
  receive-interval: 300
  transmit-interval: 300
address-pools:
- name: default
  protocol: bgp
  addresses:
  - 192.168.140.0/24
`

func nodeIPv4(n int) string { return fmt.Sprintf("192.168.120.%d", hostNumber(n)) }
func nodeIPv6(n int) string { return fmt.Sprintf("fd00:120::%d", hostNumber(n)) }

// hostNumber returns the last number of the addresses of node n.
func hostNumber(n int) int {
	if n >= 90 {
		return 11 + n
	}
	return 10 + n
}

// podIPv4 returns the address of the pod-th pod of node n.
func podIPv4(n, pod int) string { return fmt.Sprintf("10.244.%d.%d", n, pod) }
func podIPv6(n, pod int) string { return fmt.Sprintf("fd00:244:0:%x::%x", n, pod) }

func podsIPv4(n int) string { return fmt.Sprintf("10.244.%d.0/24", n) }
func podsIPv6(n int) string { return fmt.Sprintf("fd00:244:0:%x::/64", n) }

// ip runs one command of iproute2, given as one string.
func ip(command string) error { return run(append([]string{"ip"}, strings.Fields(command)...)...) }

// ips runs several commands of iproute2, and stops at the first that fails.
func ips(commands ...string) error {
	for _, c := range commands {
		if err := ip(c); err != nil {
			return err
		}
	}
	return nil
}

// makeSegment makes the bridge, and gives the control plane its addresses.
func makeSegment() error {
	err := ips(
		"link add "+bridge+" type bridge forward_delay 0 stp_state 0 mcast_snooping 0",
		"link set "+bridge+" up",
		"addr add "+controlPlane4+"/24 dev "+bridge,
		"addr add "+controlPlane6+"/64 dev "+bridge+" nodad",
	)
	if err != nil {
		return fmt.Errorf("making the segment: %w", err)
	}
	return nil
}

// plug makes a network namespace with an interface eth0 on the segment. The bridge's port
// has the name of the namespace.
func plug(name, mac, ipv4, ipv6 string) error {
	in := "-n " + name + " "
	err := ips(
		"netns add "+name,
		"link add "+name+" type veth peer name eth0 address "+mac+" netns "+name,
		"link set "+name+" master "+bridge+" up",
		in+"link set lo up",
		in+"link set eth0 up",
		in+"addr add "+ipv4+"/24 dev eth0",
		in+"addr add "+ipv6+"/64 dev eth0 nodad",
	)
	if err != nil {
		return fmt.Errorf("plugging %s into the segment: %w", name, err)
	}
	return nil
}

// manyNodes is the number of nodes from which on they know each other's MAC addresses without
// asking. The kernel keeps at most 1,024 learned neighbours, of all namespaces together
// (net.ipv4.neigh.default.gc_thresh3), and every node may learn all others.
const manyNodes = 20

// introduce tells node n the MAC addresses of all other nodes.
func (c *Cluster) introduce(n int) error {
	var batch strings.Builder
	for i, other := range c.nodes {
		if i+1 != n {
			fmt.Fprintf(&batch, "neigh replace %s lladdr %s dev eth0 nud permanent\n", nodeIPv4(i+1), other.MAC)
			fmt.Fprintf(&batch, "neigh replace %s lladdr %s dev eth0 nud permanent\n", nodeIPv6(i+1), other.MAC)
		}
	}
	file := c.path("neighbours")
	if err := os.WriteFile(file, []byte(batch.String()), 0o644); err != nil {
		return err
	}
	return ip("-n " + c.nodes[n-1].Name + " -batch " + file)
}

// forward enables forwarding on node n, and gives it routes to the pods of all other
// nodes, unless another program does that.
func (c *Cluster) forward(n int) error {
	name := c.nodes[n-1].Name
	if err := inNetns(name, func() error {
		for _, file := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
			if err := os.WriteFile("/proc/sys/net/"+file, []byte("1"), 0); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return fmt.Errorf("making %s a router: %w", name, err)
	}
	if c.options.PodNetwork != "" {
		return nil // its program makes the routes
	}
	for other := 1; other <= len(c.nodes); other++ {
		if other == n {
			continue
		}
		if err := ips(
			fmt.Sprintf("-n %s route add %s via %s", name, podsIPv4(other), nodeIPv4(other)),
			fmt.Sprintf("-n %s route add %s via %s", name, podsIPv6(other), nodeIPv6(other)),
		); err != nil {
			return err
		}
	}
	return nil
}
