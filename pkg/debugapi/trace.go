package debugapi

import "net/netip"

// A speaker does something at these paths, so they need a POST. Browsers send one from another
// site only if the speaker allows that, and it does not.
const (
	// TracePath needs the parameter address.
	TracePath = "/debug/trace"
	// CapturePath needs the parameter address; see CaptureRequest.
	CapturePath = "/debug/capture"
)

// TraceKind is the kind of the document of TracePath.
const TraceKind = "Trace"

// Trace is the document of TracePath: who answers for an address, asked from one node.
type Trace struct {
	Header
	Address netip.Addr `json:"address"`
	// Services are those that have the address, as namespace/name. Pool and Protocol are as in
	// a Decision; Protocol is empty if no Service has the address.
	Services []string `json:"services,omitempty"`
	Pool     string   `json:"pool,omitempty"`
	Protocol string   `json:"protocol,omitempty"`
	// Owner is the node that announces the address by layer 2, as this node sees it. Reason
	// is that of the Decision.
	Owner  string `json:"owner,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Announces are the links on which this node announces the address by layer 2.
	Announces []string `json:"announces,omitempty"`
	// Local are the interfaces of this node that have the address.
	Local []string `json:"local,omitempty"`
	// Links are those on which this node has asked by ARP or by neighbor discovery.
	Links []TraceLink `json:"links"`
	// LinksOmitted is how many more links there are.
	LinksOmitted int `json:"linksOmitted,omitempty"`
	// Neighbors are the entries of the address in the kernel's table, from before the question.
	Neighbors []Neighbor `json:"neighbors,omitempty"`
	// NeighborsProblem says why the table or the interfaces could not be read; empty if they
	// were.
	NeighborsProblem string `json:"neighborsProblem,omitempty"`
	// Connections are the ports of the Services.
	Connections []Connection `json:"connections,omitempty"`
	// PortsOmitted is how many more ports there are.
	PortsOmitted int `json:"portsOmitted,omitempty"`
}

// TraceLink is a link on which a node has asked.
type TraceLink struct {
	Link string `json:"link"`
	MAC  string `json:"mac"`
	// Networks are those to which the link is connected.
	Networks []netip.Prefix `json:"networks,omitempty"`
	// Answers are empty if no host answers.
	Answers []Answer `json:"answers,omitempty"`
	// Problem says why this link could not be asked; empty if it was.
	Problem string `json:"problem,omitempty"`
}

// Answer is a host that says that it has the address.
type Answer struct {
	// MAC is the address that other hosts learn. Source is the source address of the frame, if
	// it is another one.
	MAC    string `json:"mac"`
	Source string `json:"source,omitempty"`
	// Node is the node with the MAC address; empty if no node has it.
	Node string `json:"node,omitempty"`
}

// Neighbor is an entry of a kernel's table of neighbors.
type Neighbor struct {
	Link string `json:"link"`
	MAC  string `json:"mac"`
	// State is as the command ip has it, in lower case: "reachable", "stale", "permanent", ….
	State string `json:"state"`
	// Node is the node with the MAC address; empty if no node has it.
	Node string `json:"node,omitempty"`
}

// The outcomes of a Connection.
const (
	// Open: the connection was accepted.
	Open = "open"
	// Refused: a host has refused it.
	Refused = "refused"
	// NoAnswer: nothing came back in time.
	NoAnswer = "no answer"
	// Unreachable: the kernel or a router knows no way to the address.
	Unreachable = "unreachable"
	// NotTried: the protocol is not TCP.
	NotTried = "not tried"
)

// Connection is an attempt to open a connection from the node to a port of the address.
type Connection struct {
	// Protocol is "TCP", "UDP", "SCTP", or the number of another one.
	Protocol string `json:"protocol"`
	Port     uint16 `json:"port"`
	// Outcome is one of the outcomes. Problem is the error of the kernel; empty without one.
	Outcome string `json:"outcome"`
	Problem string `json:"problem,omitempty"`
	// Milliseconds is how long the attempt took.
	Milliseconds int64 `json:"milliseconds,omitempty"`
}
