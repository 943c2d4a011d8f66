// Package ui serves a page on loopback that shows live what the load balancer does: nodes, the
// addresses that they announce, pools, BGP sessions, and what has moved.
//
// Draw and Moves are pure: a Report becomes a Picture, and two Pictures become Moves. A Server
// asks its Source for Reports while a page is open, and sends the Pictures to the page.
package ui

import (
	"context"
	"net/netip"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

// Source says what the programs of a cluster say.
type Source interface {
	// Look returns what the programs say now. The Server calls it again and again, never twice
	// at the same time. The error says why nothing is known.
	Look(ctx context.Context) (Report, error)
	// Explain returns a text for people about an address.
	Explain(ctx context.Context, addr netip.Addr) (string, error)
}

// Report is what the programs of a cluster say at one time.
type Report struct {
	Time time.Time
	// Speakers are those of all nodes that should have one.
	Speakers []Speaker
	// Allocations is what the leading cluster manager says; nil if it does not answer.
	Allocations *debugapi.Allocations
	Problems    []Problem
}

// Speaker is what the speaker of a node says.
type Speaker struct {
	Node string
	// Missing is set if no speaker runs on the node.
	Missing bool
	// Err says why the speaker does not answer; empty if it does.
	Err string
	// The documents are nil if the speaker does not answer.
	Plan    *debugapi.Plan
	BGP     *debugapi.BGP
	Members *debugapi.Members
}

// Problem is something that an operator should repair.
type Problem struct {
	// Severity is "error" or "warning".
	Severity string `json:"severity"`
	Where    string `json:"where,omitempty"`
	What     string `json:"what"`
	// Do says what to do; empty if there is nothing.
	Do string `json:"do,omitempty"`
}
