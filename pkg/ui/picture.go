package ui

import (
	"net/netip"
	"time"
)

// Picture is what the page shows, beside the moves.
type Picture struct {
	Time      time.Time `json:"time"`
	Problems  []Problem `json:"problems"`
	Nodes     []Node    `json:"nodes"`
	Addresses []Address `json:"addresses"`
	Waiting   []Waiting `json:"waiting"`
	Pools     []Pool    `json:"pools"`
}

// Node is a box of the page.
type Node struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	// Why says why the State is not Up; empty if it is.
	Why      string    `json:"why,omitempty"`
	Sessions []Session `json:"sessions,omitempty"`
}

// State is the state of a node's speaker in two words at most.
type State string

// The states of a node.
const (
	Up         State = "up"
	Starting   State = "starting"
	Leaving    State = "leaving"
	Suppressed State = "suppressed"
	Fenced     State = "fenced"
	// NotHeard is a speaker that answers the page, but that no other speaker hears.
	NotHeard State = "not heard"
	// NoAnswer is a speaker that does not answer the page, but that other speakers hear.
	NoAnswer State = "no answer"
	// Dead is a speaker that answers neither the page nor the other speakers.
	Dead State = "dead"
	// NoSpeaker is a node on which no speaker runs.
	NoSpeaker State = "no speaker"
	// Unknown is a speaker that does not answer the page, and no other speaker does.
	Unknown State = "unknown"
)

// Session is a BGP session of a node.
type Session struct {
	Peer    string     `json:"peer"`
	Address netip.Addr `json:"address"`
	Up      bool       `json:"up"`
	// State is the state of RFC 4271, or "BFD down".
	State   string    `json:"state"`
	Since   time.Time `json:"since,omitzero"`
	Problem string    `json:"problem,omitempty"`
}

// Address is an address of a Service. It is a chip in each of its Places.
type Address struct {
	Address  netip.Addr `json:"address"`
	Services []string   `json:"services"`
	Pool     string     `json:"pool,omitempty"`
	Protocol string     `json:"protocol,omitempty"`
	Places   []Place    `json:"places,omitempty"`
	// Problem says why no node announces it; empty if a node does.
	Problem string `json:"problem,omitempty"`
}

// Place is a node that announces an address or carries its flows.
type Place struct {
	Node string `json:"node"`
	// Owner is set if the node announces the address by layer 2, BGP if it advertises it to a
	// router.
	Owner bool `json:"owner,omitempty"`
	BGP   bool `json:"bgp,omitempty"`
	// Slots is how many of the 256 slots the node carries; 0 if the address is not spread.
	Slots int `json:"slots,omitempty"`
}

// Waiting is a Service that waits for an address.
type Waiting struct {
	Service string    `json:"service"`
	Since   time.Time `json:"since"`
	Why     string    `json:"why"`
	Advice  string    `json:"advice,omitempty"`
}

// Pool is a pool of one family. All numbers are of addresses.
type Pool struct {
	Name     string `json:"name"`
	Family   string `json:"family"`
	Protocol string `json:"protocol"`
	Total    uint64 `json:"total"`
	Assigned uint64 `json:"assigned"`
	Cooldown uint64 `json:"cooldown,omitempty"`
}
