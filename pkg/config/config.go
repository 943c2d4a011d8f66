// Package config turns the text of the operator's configuration into values,
// and what is wrong with it into errors that name line, pool and key.
//
// The grammar is the one that MetalLB v0.12 read from its ConfigMap, with the
// same strictness: unknown and duplicate keys are errors.
package config

import (
	"net/netip"
	"sort"
)

// Protocol is the way in which the addresses of a pool are announced.
type Protocol string

// Layer2 announces by answering ARP and NDP from one elected node.
const Layer2 Protocol = "layer2"

// Config is a parsed configuration. Parse guarantees that pool names are
// unique and that no two ranges overlap. It is never changed after Parse.
type Config struct {
	// Pools in the order of the file, which is the order of allocation.
	Pools []Pool

	index []indexEntry // all ranges, sorted by first address
}

// Pool is a named set of addresses.
type Pool struct {
	Name     string
	Protocol Protocol
	// Ranges in the order of the file.
	Ranges []Range
	// AutoAssign is false for a pool that serves only the Services that ask for it.
	AutoAssign bool
	// AvoidBuggyIPs keeps IPv4 addresses that end in .0 or .255 from being given.
	AvoidBuggyIPs bool
	// Line is where the pool begins in the text, counted from 1.
	Line int
}

type indexEntry struct {
	Range
	pool int
}

// PoolOf returns the pool whose ranges hold addr.
func (c *Config) PoolOf(addr netip.Addr) (*Pool, bool) {
	if c == nil {
		return nil, false
	}
	i := sort.Search(len(c.index), func(i int) bool { return addr.Less(c.index[i].From) })
	if i == 0 || !c.index[i-1].Contains(addr) {
		return nil, false
	}
	return &c.Pools[c.index[i-1].pool], true
}

// Pool returns the pool of that name.
func (c *Config) Pool(name string) (*Pool, bool) {
	if c == nil {
		return nil, false
	}
	for i := range c.Pools {
		if c.Pools[i].Name == name {
			return &c.Pools[i], true
		}
	}
	return nil, false
}

// Gives reports whether the pool would ever give out addr, which must lie in
// one of its ranges.
func (p *Pool) Gives(addr netip.Addr) bool {
	return !p.AvoidBuggyIPs || !Buggy(addr)
}

// Buggy reports whether addr is an IPv4 address that ends in .0 or .255, which
// some old routers and clients take for a network or broadcast address.
func Buggy(addr netip.Addr) bool {
	if !addr.Is4() {
		return false
	}
	last := addr.As4()[3]
	return last == 0 || last == 255
}
