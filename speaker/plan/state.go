package plan

import (
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// State is everything that a plan depends on.
type State struct {
	// Node is the name of this speaker's node.
	Node string
	// Config is the last good configuration, or nil.
	Config *config.Config
	// Earlier is the configuration that the cluster manager uses, if it does not use Config
	// yet; else nil. The addresses of its pools are announced, too.
	Earlier *config.Config
	// Orphans are the addresses of no pool that the cluster manager has published, each with
	// the pool that says how it is announced.
	Orphans map[netip.Addr]*config.Pool
	// NothingPublished is set while there is no published ConfigMap: an older version is being
	// replaced, or the ConfigMap was deleted. Then every address of no pool is announced,
	// because an upgrade must not interrupt traffic.
	NothingPublished bool
	Services         []Service
	Nodes            []Node
	// NodeAddrs are the addresses that nodes have, each with the name of its node. They are
	// never announced.
	NodeAddrs map[netip.Addr]string

	// Members are the speakers that are alive and may announce, this one included.
	Members []Member
	// Holders are the nodes that may have connections of clients: those of the Members, this
	// node, and all other nodes whose kernel lives as far as is known. Of each only Name,
	// Spreads, HandsOn, HasRules and Segments count. Dead segments are those on which the node is not reached
	// although it is reached on another one.
	Holders []Member
	// CannotSpread says why this node cannot hand flows on to other nodes; empty if it can.
	CannotSpread string
	// Networks are the networks on whose links the nodes can be, by the names of the nodes,
	// also while such a link is down or its node is dead.
	Networks map[string][]NodeNetwork
	// Fenced says why this speaker must not announce by layer 2; empty if it may.
	Fenced string
	// Suppressed says why other nodes are preferred to this one; empty if they are not.
	Suppressed string
	// Unready is set until this node can send the traffic of Services to pods, after a start.
	// It does not advertise over BGP before.
	Unready bool
	// Conflicts are the VIPs of this node that a foreign host has, with the MAC
	// address of that host.
	Conflicts map[netip.Addr]string

	// Addrs are the addresses of type InternalIP of this Node.
	Addrs []netip.Addr
	// Interfaces are this node's interfaces on which addresses can be announced.
	Interfaces []Interface
	// Routers has what this node knows about the configured peers, by their names.
	Routers map[string]Router
}

// Service is what a plan needs to know of a Service with addresses.
type Service struct {
	Name string // namespace/name
	VIPs []netip.Addr
	// Ports are the ports that the Service has at each of the VIPs.
	Ports []Port
	// Local is set if only the nodes in EndpointNodes may announce.
	Local         bool
	EndpointNodes []string
	// Endpointless is set if no endpoint of the Service is ready. It means something only if
	// a pool with WithdrawWithoutEndpoints has one of the VIPs.
	Endpointless bool
	// Sticky is set if all connections of a client should reach the same pod.
	Sticky bool
	// Withheld are those of the VIPs that are not in the status, because a foreign host has
	// them. Their owner only probes them until it is gone.
	Withheld []netip.Addr
	// Preferred is the name of the node that should own the VIPs while it can; empty for any.
	Preferred string
	// Spread says whether the flows of the VIPs should be spread over several nodes; nil if
	// the pool decides.
	Spread *bool
	// Endpoints has how many endpoints of the Service each node has, if it is Local. A node has
	// a part of the flows in proportion. A node that is not in EndpointNodes has none, but may
	// have connections to its endpoints.
	Endpoints map[string]int
}

// Port is a port of a Service.
type Port struct {
	// Protocol is the number of the IP protocol: 6 for TCP, 17 for UDP, 132 for SCTP.
	Protocol uint8
	Number   uint16
}

// Node is a node of the cluster.
type Node struct {
	Name   string
	Labels map[string]string
	// Excluded says why the node must not announce; empty if it may.
	Excluded string
	// ExcludeLabel is set if the node has the label that excludes it, and the speakers should
	// not ignore it.
	ExcludeLabel bool
	// Cordoned is set if the node is unschedulable.
	Cordoned bool
	// ShuttingDown is set if the node's machine is shutting down or the Node is being
	// deleted.
	ShuttingDown bool
}

// excludedFrom says why the node must not announce addresses of the pool; "" if it may.
func (n Node) excludedFrom(pool *config.Pool) string {
	if n.Excluded == "" && n.ExcludeLabel && !pool.IgnoreExcludeLabel {
		return excludeLabelReason
	}
	return n.Excluded
}

const excludeLabelReason = "it has the label node.kubernetes.io/exclude-from-external-load-balancers (remove the label, or set ignore-exclude-label: true in the pool)"

// NodeNetwork is a network to which a link of a node is connected.
type NodeNetwork struct {
	// Link is the name of the interface on the node.
	Link    string
	Network netip.Prefix
}

// Member is a speaker that may announce.
type Member struct {
	Name string
	// Suppressed members failed too often in the last minutes, came back a short time ago, or
	// are not ready for traffic yet. A member that is not suppressed is preferred.
	Suppressed bool
	// Advertises is set if it has an established BGP session.
	Advertises bool
	// Spreads is set if it can hand flows on to other nodes.
	Spreads bool
	// HandsOn is set if it hands segments of unknown connections on although Spreads may not be set:
	// its speaker has just started, and the rules of the speaker before are still there.
	HandsOn bool
	// HasRules are the VIPs for which its kernel hands segments on; nil for all. It is set for a node whose speaker does
	// not write rules now.
	HasRules map[netip.Addr]bool
	Segments []Segment
}

// Segment is a link of a member, seen as the part of the network that it reaches.
type Segment struct {
	// Link is the name of the interface on the member.
	Link string
	// IPv4 and IPv6 are the member's main addresses on the link with the lengths of their
	// prefixes; the zero value for none.
	IPv4, IPv6 netip.Prefix
	// Networks are those to which the link is connected.
	Networks []netip.Prefix
	// Dead is set if the member is not heard on the link.
	Dead bool
}

// Interface is a network interface of this node.
type Interface struct {
	Name string
	// IPv4 and IPv6 are its main addresses with the lengths of their prefixes; the zero
	// value for none.
	IPv4, IPv6 netip.Prefix
	// Addrs are all its addresses.
	Addrs []netip.Prefix
}

// Router is what this node knows about a configured peer.
type Router struct {
	// Link is the index of the interface over which the kernel reaches the peer; 0 if
	// that is unknown. Direct is set if no other router is on the way.
	Link   int
	Direct bool
	// Password is the password from the peer's Secret. Unready says why the password
	// is unknown; empty if it is known or if the peer has no Secret.
	Password, Unready string
}

// self returns this node, and whether there is a Node object for it.
func (s *State) self() (Node, bool) { return s.node(s.Node) }

// node returns the Node of that name, and whether there is one.
func (s *State) node(name string) (Node, bool) {
	i := slices.IndexFunc(s.Nodes, func(n Node) bool { return n.Name == name })
	if i < 0 {
		return Node{}, false
	}
	return s.Nodes[i], true
}
