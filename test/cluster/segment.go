package cluster

import (
	"fmt"
	"strconv"
	"time"
)

// Segment is a second network of some nodes, beside the one that all hosts share. It is a
// bridge; each node has a link "data" to it.
type Segment struct {
	bridge string
	nodes  []*Node
}

// AddSegment connects nodes to a new segment. The n-th node has the n-th address of
// 10.77.0.0/24.
func (c *Cluster) AddSegment(nodes ...*Node) (*Segment, error) {
	s := &Segment{bridge: "data", nodes: nodes}
	err := ips(
		"link add "+s.bridge+" address 02:00:00:00:01:00 type bridge forward_delay 0 stp_state 0 mcast_snooping 0",
		"link set "+s.bridge+" up",
	)
	for i, n := range nodes {
		if err == nil {
			err = ips(
				"link add "+s.port(n)+" type veth peer name data address "+s.MAC(n)+" netns "+n.Name,
				"link set "+s.port(n)+" master "+s.bridge+" up",
				"-n "+n.Name+" link set data up",
				"-n "+n.Name+" addr add 10.77.0."+strconv.Itoa(i+1)+"/24 dev data",
			)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("adding a segment: %w", err)
	}
	return s, nil
}

func (s *Segment) port(n *Node) string { return "data-" + n.Name }

// Remove removes the segment and the links to it.
func (s *Segment) Remove() error {
	for _, n := range s.nodes {
		if err := ip("link del " + s.port(n)); err != nil {
			return err
		}
	}
	return ip("link del " + s.bridge)
}

// Cut takes the carrier of a node's link to the segment. Mend gives it back.
func (s *Segment) Cut(n *Node) error { return ip("link set " + s.port(n) + " down") }

// Mend undoes Cut.
func (s *Segment) Mend(n *Node) error { return ip("link set " + s.port(n) + " up") }

// Ask starts an Asker on the segment.
func (s *Segment) Ask(vip string, every time.Duration) (*Asker, error) {
	return askOn(func(open func() error) error { return open() }, s.bridge, vip, every)
}

// MAC returns the MAC address of a node's link to the segment.
func (s *Segment) MAC(n *Node) string { return fmt.Sprintf("02:00:00:00:02:%02x", n.n) }
