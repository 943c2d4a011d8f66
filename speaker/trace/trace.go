// Package trace finds out, from one node, which hosts answer for an address, and to which of its
// ports connections can be opened.
package trace

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
)

// MaxTime is how long Run takes at most.
const MaxTime = 3 * time.Second

// The bounds of what is asked. Targets leave out the rest.
const (
	MaxLinks = 16
	MaxPorts = 16
)

// Target is what to find out about.
type Target struct {
	Addr netip.Addr
	// Links are those to ask on, at most MaxLinks.
	Links []Link
	// Ports are TCP ports to connect to, at most MaxPorts.
	Ports []uint16
}

// Link is a link to ask on. Source is an address of this node there, of the target's family; the
// zero Addr for none.
type Link struct {
	layer2.Link
	Source netip.Addr
}

// Result is what was found out.
type Result struct {
	// Holders and Errors are those of the Links of the Target, in the same order.
	Holders [][]layer2.Holder
	Errors  []error
	// Connections are those to the Ports of the Target, in the same order.
	Connections []Connection
	// Local are the names of the interfaces of this node that have the address.
	Local []string
	// Neighbors are the entries of the address in the kernel's table, from before the question.
	Neighbors []Neighbor
	// KernelError says why Local and Neighbors could not be read; nil if they were.
	KernelError error
}

// Run asks on all links and opens all connections at the same time. It returns when all has
// ended, after MaxTime at most.
func Run(ctx context.Context, t Target) Result {
	ctx, cancel := context.WithTimeout(ctx, MaxTime)
	defer cancel()
	r := Result{
		Holders: make([][]layer2.Holder, len(t.Links)), Errors: make([]error, len(t.Links)),
		Connections: make([]Connection, len(t.Ports)),
	}
	r.Local, r.Neighbors, r.KernelError = kernel(t.Addr) // the question could change them
	var tasks sync.WaitGroup
	for i, l := range t.Links {
		tasks.Go(func() { r.Holders[i], r.Errors[i] = layer2.WhoHas(ctx, l.Link, l.Source, t.Addr) })
	}
	for i, port := range t.Ports {
		tasks.Go(func() { r.Connections[i] = connect(ctx, netip.AddrPortFrom(t.Addr, port)) })
	}
	tasks.Wait()
	return r
}
