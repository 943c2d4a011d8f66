// Package config turns the text of the operator's configuration into values,
// and what is wrong with it into errors that name line, pool and key.
//
// The grammar is the one that MetalLB v0.12 read from its ConfigMap, with the
// same strictness (unknown and duplicate keys are errors), and more keys. It is
// written down once, as tables of keys from which the parser reads, and the
// reference and the JSON Schema are made.
package config

import (
	"net/netip"
	"slices"
	"sort"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

// Protocol is the way in which the addresses of a pool are announced.
type Protocol string

// The protocols.
const (
	// Layer2 announces by answering ARP and NDP from one elected node.
	Layer2 Protocol = "layer2"
	// BGP announces by advertising routes to the peers.
	BGP Protocol = "bgp"
	// Both announces in both ways.
	Both Protocol = "both"
)

// Layer2 reports whether the protocol answers ARP and NDP.
func (p Protocol) Layer2() bool { return p == Layer2 || p == Both }

// BGP reports whether the protocol advertises routes.
func (p Protocol) BGP() bool { return p == BGP || p == Both }

// Config is a parsed configuration. Parse guarantees that pool names are
// unique and that no two ranges overlap. It is never changed after Parse.
type Config struct {
	// Pools in the order of the file.
	Pools []Pool
	// Peers in the order of the file.
	Peers []Peer
	// BFDProfiles in the order of the file; each peer's BFDProfile is one of them.
	BFDProfiles []BFDProfile
	// Reassign moves a Service whose address no pool would give it any more, as
	// soon as there is another. Without it the Service keeps the address.
	Reassign bool
	// Warnings are what is right by the grammar, and not what it seems.
	Warnings Errors

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
	// Advertisements say how routes to the addresses are made; for BGP at least one.
	Advertisements []Advertisement

	// Priority orders the pools, the lowest number first; 0 comes after all others.
	Priority int
	// Namespaces and NamespaceSelectors together are the namespaces that the pool
	// serves, ServiceSelectors the Services; all if there is none.
	Namespaces         []string
	NamespaceSelectors []labels.Selector
	ServiceSelectors   []labels.Selector
	// NodeSelectors are the nodes that may announce, Interfaces the links on which
	// they do; all if there is none.
	NodeSelectors []labels.Selector
	Interfaces    []string
	// ReuseDelay is how long a released address is not given again, unless there is
	// no other.
	ReuseDelay time.Duration
	// MaxPerNamespace is how many addresses the Services of one namespace may have;
	// 0 is without limit.
	MaxPerNamespace int
	// ShareAcrossNamespaces allows Services of several namespaces to share an address.
	ShareAcrossNamespaces bool

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
	i := slices.IndexFunc(c.Pools, func(p Pool) bool { return p.Name == name })
	if i < 0 {
		return nil, false
	}
	return &c.Pools[i], true
}

// BFDProfile returns the BFD profile of that name.
func (c *Config) BFDProfile(name string) (BFDProfile, bool) {
	i := slices.IndexFunc(c.BFDProfiles, func(b BFDProfile) bool { return b.Name == name })
	if i < 0 {
		return BFDProfile{}, false
	}
	return c.BFDProfiles[i], true
}

// Selects reports whether a node with these labels holds the session.
func (p *Peer) Selects(nodeLabels map[string]string) bool {
	return len(p.NodeSelectors) == 0 || anyMatches(p.NodeSelectors, nodeLabels)
}

// Gives reports whether the pool would ever give out addr, which must lie in
// one of its ranges.
func (p *Pool) Gives(addr netip.Addr) bool {
	return !p.AvoidBuggyIPs || !Buggy(addr)
}

// Serves reports whether the pool is there for a Service with these labels in a
// namespace of this name and these labels.
func (p *Pool) Serves(namespace string, namespaceLabels, serviceLabels map[string]string) bool {
	everywhere := len(p.Namespaces) == 0 && len(p.NamespaceSelectors) == 0
	return (everywhere || slices.Contains(p.Namespaces, namespace) || anyMatches(p.NamespaceSelectors, namespaceLabels)) &&
		(len(p.ServiceSelectors) == 0 || anyMatches(p.ServiceSelectors, serviceLabels))
}

// Announces reports whether a node with these labels may announce the pool's addresses.
func (p *Pool) Announces(nodeLabels map[string]string) bool {
	return len(p.NodeSelectors) == 0 || anyMatches(p.NodeSelectors, nodeLabels)
}

func anyMatches(selectors []labels.Selector, set map[string]string) bool {
	return slices.ContainsFunc(selectors, func(s labels.Selector) bool { return s.Matches(labels.Set(set)) })
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
