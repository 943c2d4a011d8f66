// Package config parses the text of the operator's configuration. Its errors name
// the line, the pool and the key.
//
// The grammar is the grammar of MetalLB v0.12's ConfigMap, with more keys. It is as
// strict as MetalLB's: unknown and duplicate keys are errors. The grammar is written
// down once, as tables of keys. The parser reads these tables, and the reference and
// the JSON Schema are generated from them.
package config

import (
	"net/netip"
	"slices"
	"sort"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

// Protocol is how the addresses of a pool are announced.
type Protocol string

// The protocols.
const (
	// Layer2 announces an address from one elected node, which answers ARP and NDP.
	Layer2 Protocol = "layer2"
	// BGP advertises routes to the peers.
	BGP Protocol = "bgp"
	// Both uses layer 2 and BGP at the same time.
	Both Protocol = "both"
)

// Layer2 reports whether the protocol answers ARP and NDP.
func (p Protocol) Layer2() bool { return p == Layer2 || p == Both }

// BGP reports whether the protocol advertises routes.
func (p Protocol) BGP() bool { return p == BGP || p == Both }

// Requests says who may ask for one of the addresses of a pool, by annotation or by
// loadBalancerIP.
type Requests string

// The values of Requests.
const (
	// RequestsAny allows every Service to ask.
	RequestsAny Requests = "any"
	// RequestsNamespace allows the Services in the namespaces that the pool names to ask.
	RequestsNamespace Requests = "namespace"
	// RequestsNone allows no Service to ask.
	RequestsNone Requests = "none"
)

// Config is a parsed configuration. Parse guarantees that pool names are
// unique and that no two ranges overlap. A Config does not change after Parse.
type Config struct {
	// Pools in the order of the file.
	Pools []Pool
	// Peers in the order of the file.
	Peers []Peer
	// BFDProfiles in the order of the file; each peer's BFDProfile is one of them.
	BFDProfiles []BFDProfile
	// Reassign moves a Service to another address if no pool would give it its
	// present address any more, as soon as another address is free. Without Reassign
	// the Service keeps its address.
	Reassign bool
	// Warnings are about settings that are valid, but probably not what the operator meant.
	// There are at most MaxErrors, and one more that counts the others.
	Warnings Errors

	index  []indexEntry   // all ranges, sorted by first address
	byName map[string]int // the places of the pools in Pools
}

// Pool is a named set of addresses.
type Pool struct {
	Name     string
	Protocol Protocol
	// Ranges in the order of the file.
	Ranges []Range
	// AutoAssign is false for a pool that serves only the Services that ask for it.
	AutoAssign bool
	// Requests is RequestsAny if the text does not have the key.
	Requests Requests
	// AvoidBuggyIPs is true if IPv4 addresses that end in .0 or .255 are not assigned.
	AvoidBuggyIPs bool
	// Advertisements describe the routes to the addresses. With BGP there is at least one.
	Advertisements []Advertisement

	// Priority orders the pools: the lowest number comes first, 0 comes last.
	Priority int
	// Namespaces and NamespaceSelectors together select the namespaces that the pool
	// serves. ServiceSelectors select the Services. An empty list selects all.
	Namespaces         []string
	NamespaceSelectors []labels.Selector
	ServiceSelectors   []labels.Selector
	// NodeSelectors select the nodes that may announce. Interfaces are the links on
	// which they announce. An empty list selects all.
	NodeSelectors []labels.Selector
	Interfaces    []string
	// PreferredNodes select the nodes that announce by layer 2 while one of them can. An
	// empty list prefers none.
	PreferredNodes []labels.Selector
	// IgnoreExcludeLabel lets nodes with the label
	// node.kubernetes.io/exclude-from-external-load-balancers announce.
	IgnoreExcludeLabel bool
	// AnnounceConflicts makes the owner announce an address by layer 2 although a foreign
	// host has it already.
	AnnounceConflicts bool
	// Spread makes the owner share the traffic of each address with the other nodes that may
	// announce it. A Service can ask for something else.
	Spread bool
	// WithdrawWithoutEndpoints stops the advertisement over BGP of an address whose Services
	// have no ready endpoint on any node.
	WithdrawWithoutEndpoints bool
	// ReuseDelay is the length of the cooldown: for this time a released address is not
	// given again, unless no other address is free.
	ReuseDelay time.Duration
	// MaxPerNamespace is how many addresses the Services of one namespace may have.
	// 0 means no limit.
	MaxPerNamespace int
	// ShareAcrossNamespaces allows Services of several namespaces to share an address.
	ShareAcrossNamespaces bool

	// Line is the line of the text on which the pool begins, counted from 1.
	Line int
}

type indexEntry struct {
	Range
	pool int
}

// PoolOf returns the pool that contains addr. It accepts a nil Config.
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

// Pool returns the pool of that name. It accepts a nil Config.
func (c *Config) Pool(name string) (*Pool, bool) {
	if c == nil {
		return nil, false
	}
	i, ok := c.byName[name]
	if !ok {
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

// Selects reports whether a node with these labels has a session with the peer.
func (p *Peer) Selects(nodeLabels map[string]string) bool {
	return len(p.NodeSelectors) == 0 || anyMatches(p.NodeSelectors, nodeLabels)
}

// Gives reports whether the pool may give addr to a Service. The address must be
// in one of the pool's ranges.
func (p *Pool) Gives(addr netip.Addr) bool {
	return !p.AvoidBuggyIPs || !isBuggy(addr)
}

// Serves reports whether the pool serves a Service with these labels in a namespace
// with this name and these labels.
func (p *Pool) Serves(namespace string, namespaceLabels, serviceLabels map[string]string) bool {
	everywhere := len(p.Namespaces) == 0 && len(p.NamespaceSelectors) == 0
	return (everywhere || p.names(namespace, namespaceLabels)) &&
		(len(p.ServiceSelectors) == 0 || anyMatches(p.ServiceSelectors, serviceLabels))
}

// Requestable reports whether a Service in a namespace with this name and these labels may
// ask for one of the pool's addresses. With RequestsNamespace, a pool that names no
// namespace has no such Service.
func (p *Pool) Requestable(namespace string, namespaceLabels map[string]string) bool {
	switch p.Requests {
	case RequestsNone:
		return false
	case RequestsNamespace:
		return p.names(namespace, namespaceLabels)
	}
	return true
}

// names reports whether the pool names the namespace, or selects it by its labels.
func (p *Pool) names(namespace string, namespaceLabels map[string]string) bool {
	return slices.Contains(p.Namespaces, namespace) || anyMatches(p.NamespaceSelectors, namespaceLabels)
}

// Announces reports whether a node with these labels may announce the pool's addresses.
func (p *Pool) Announces(nodeLabels map[string]string) bool {
	return len(p.NodeSelectors) == 0 || anyMatches(p.NodeSelectors, nodeLabels)
}

// Prefers reports whether a node with these labels is preferred as the owner of the pool's
// addresses.
func (p *Pool) Prefers(nodeLabels map[string]string) bool {
	return anyMatches(p.PreferredNodes, nodeLabels)
}

func anyMatches(selectors []labels.Selector, set map[string]string) bool {
	return slices.ContainsFunc(selectors, func(s labels.Selector) bool { return s.Matches(labels.Set(set)) })
}

// isBuggy reports whether addr is an IPv4 address that ends in .0 or .255. Some old
// routers and clients take such an address for a network or broadcast address.
func isBuggy(addr netip.Addr) bool {
	if !addr.Is4() {
		return false
	}
	last := addr.As4()[3]
	return last == 0 || last == 255
}
