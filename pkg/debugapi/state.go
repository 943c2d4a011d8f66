package debugapi

import (
	"encoding/json"
	"net/netip"
)

// State is the State of the package plan, with the same fields, but without passwords. The
// package plandoc makes the one from the other.
type State struct {
	Node string `json:"node"`
	// Config and Earlier are configurations as text; empty for none.
	Config  string `json:"config,omitempty"`
	Earlier string `json:"earlier,omitempty"`
	// Orphans are in the form of the package config.
	Orphans          json.RawMessage       `json:"orphans,omitempty"`
	NothingPublished bool                  `json:"nothingPublished,omitempty"`
	Services         []Service             `json:"services"`
	Nodes            []Node                `json:"nodes"`
	NodeAddrs        map[netip.Addr]string `json:"nodeAddrs,omitempty"`

	Members      []PlanMember             `json:"members"`
	Holders      []PlanMember             `json:"holders,omitempty"`
	CannotSpread string                   `json:"cannotSpread,omitempty"`
	Networks     map[string][]NodeNetwork `json:"networks,omitempty"`
	Fenced       string                   `json:"fenced,omitempty"`
	Suppressed   string                   `json:"suppressed,omitempty"`
	Unready      bool                     `json:"unready,omitempty"`
	Conflicts    map[netip.Addr]string    `json:"conflicts,omitempty"`

	Addrs      []netip.Addr      `json:"addrs,omitempty"`
	Interfaces []Interface       `json:"interfaces,omitempty"`
	Routers    map[string]Router `json:"routers,omitempty"`
}

// Service is a Service with addresses.
type Service struct {
	Name          string         `json:"name"`
	VIPs          []netip.Addr   `json:"vips"`
	Ports         []Port         `json:"ports,omitempty"`
	Local         bool           `json:"local,omitempty"`
	EndpointNodes []string       `json:"endpointNodes,omitempty"`
	Endpointless  bool           `json:"endpointless,omitempty"`
	Sticky        bool           `json:"sticky,omitempty"`
	Withheld      []netip.Addr   `json:"withheld,omitempty"`
	Preferred     string         `json:"preferred,omitempty"`
	Spread        *bool          `json:"spread,omitempty"`
	Endpoints     map[string]int `json:"endpoints,omitempty"`
}

// Port is a port of a Service. Protocol is the number of the IP protocol.
type Port struct {
	Protocol uint8  `json:"protocol"`
	Number   uint16 `json:"number"`
}

// Node is a node of the cluster.
type Node struct {
	Name         string            `json:"name"`
	Labels       map[string]string `json:"labels,omitempty"`
	Excluded     string            `json:"excluded,omitempty"`
	ExcludeLabel bool              `json:"excludeLabel,omitempty"`
	Cordoned     bool              `json:"cordoned,omitempty"`
	ShuttingDown bool              `json:"shuttingDown,omitempty"`
}

// NodeNetwork is a network to which a link of a node is connected.
type NodeNetwork struct {
	Link    string       `json:"link"`
	Network netip.Prefix `json:"network"`
}

// PlanMember is a speaker that may announce.
type PlanMember struct {
	Name       string              `json:"name"`
	Suppressed bool                `json:"suppressed,omitempty"`
	Advertises bool                `json:"advertises,omitempty"`
	Spreads    bool                `json:"spreads,omitempty"`
	HandsOn    bool                `json:"handsOn,omitempty"`
	HasRules   map[netip.Addr]bool `json:"hasRules,omitzero"` // nil: for all VIPs; empty: for none
	Segments   []Segment           `json:"segments,omitempty"`
}

// Segment is a link of a member.
type Segment struct {
	Link     string         `json:"link"`
	IPv4     netip.Prefix   `json:"ipv4,omitzero"`
	IPv6     netip.Prefix   `json:"ipv6,omitzero"`
	Networks []netip.Prefix `json:"networks,omitempty"`
	Dead     bool           `json:"dead,omitempty"`
}

// Interface is a network interface of the node.
type Interface struct {
	Name  string         `json:"name"`
	IPv4  netip.Prefix   `json:"ipv4,omitzero"`
	IPv6  netip.Prefix   `json:"ipv6,omitzero"`
	Addrs []netip.Prefix `json:"addrs,omitempty"`
}

// Router is what the node knows about a BGP peer.
type Router struct {
	Link    int    `json:"link,omitempty"`
	Direct  bool   `json:"direct,omitempty"`
	Unready string `json:"unready,omitempty"`
}
