package config

import (
	"encoding/json"
	"fmt"
	"net/netip"

	"k8s.io/apimachinery/pkg/labels"
)

// Orphan is an address in use that no pool would give to its Services any more.
type Orphan struct {
	Addr netip.Addr
	// UIDs are those of the Services that hold the address, in order.
	UIDs []string
	// Pool is the last pool that had the address. It says how the address is announced. Its
	// name is that of the pool that gave the address, empty if that is unknown.
	Pool *Pool
}

// The results of UnknownPool. They never change.
var (
	inBothWays = &Pool{Protocol: Both, Advertisements: []Advertisement{{AggregationLength: 32, AggregationLengthV6: 128}}}
	byLayer2   = &Pool{Protocol: Layer2}
)

// UnknownPool returns the pool of an address in use whose pool is not known. It is not known
// how the address was announced. So it is announced in both ways, or without BGP peers by
// layer 2. It accepts a nil Config.
func (c *Config) UnknownPool() *Pool {
	if c == nil || len(c.Peers) == 0 {
		return byLayer2
	}
	return inBothWays
}

// orphanPool is a Pool with its orphans, as it is published.
type orphanPool struct {
	Pool           string                `json:"pool,omitempty"`
	Protocol       Protocol              `json:"protocol"`
	Advertisements []orphanAdvertisement `json:"advertisements,omitempty"`
	NodeSelectors  []string              `json:"nodeSelectors,omitempty"`
	Interfaces     []string              `json:"interfaces,omitempty"`
	PreferredNodes []string              `json:"preferredNodes,omitempty"`
	IgnoreExclude  bool                  `json:"ignoreExcludeLabel,omitempty"`
	AnnounceAlways bool                  `json:"announceConflicts,omitempty"`
	Spread         bool                  `json:"spread,omitempty"`
	Withdraw       bool                  `json:"withdrawWithoutEndpoints,omitempty"`
	Addresses      []orphanAddress       `json:"addresses"`
}

type orphanAdvertisement struct {
	AggregationLength   int              `json:"aggregationLength"`
	AggregationLengthV6 int              `json:"aggregationLengthV6"`
	LocalPref           uint32           `json:"localPref,omitempty"`
	Communities         []Community      `json:"communities,omitempty"`
	LargeCommunities    []LargeCommunity `json:"largeCommunities,omitempty"`
	Peers               []string         `json:"peers,omitempty"`
}

type orphanAddress struct {
	Address  netip.Addr `json:"address"`
	Services []string   `json:"services"` // UIDs
}

// EncodeOrphans writes orphans as JSON. Orphans with the same Pool are one element.
func EncodeOrphans(orphans []Orphan) ([]byte, error) {
	pools := []*orphanPool{}
	at := map[*Pool]*orphanPool{}
	for _, o := range orphans {
		p := at[o.Pool]
		if p == nil {
			p = newOrphanPool(o.Pool)
			at[o.Pool] = p
			pools = append(pools, p)
		}
		p.Addresses = append(p.Addresses, orphanAddress{o.Addr, o.UIDs})
	}
	text, err := json.MarshalIndent(pools, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encoding the orphans: %w", err)
	}
	return append(text, '\n'), nil
}

func newOrphanPool(pool *Pool) *orphanPool {
	p := &orphanPool{
		Pool: pool.Name, Protocol: pool.Protocol, Interfaces: pool.Interfaces, IgnoreExclude: pool.IgnoreExcludeLabel, AnnounceAlways: pool.AnnounceConflicts,
		Spread: pool.Spread, Withdraw: pool.WithdrawWithoutEndpoints,
		NodeSelectors: texts(pool.NodeSelectors), PreferredNodes: texts(pool.PreferredNodes),
	}
	for _, ad := range pool.Advertisements {
		p.Advertisements = append(p.Advertisements, orphanAdvertisement(ad))
	}
	return p
}

func texts(selectors []labels.Selector) (texts []string) {
	for _, s := range selectors {
		texts = append(texts, s.String())
	}
	return texts
}

// DecodeOrphans reads what EncodeOrphans has written. An empty text has no orphans.
func DecodeOrphans(text []byte) ([]Orphan, error) {
	if len(text) == 0 {
		return nil, nil
	}
	var pools []orphanPool
	if err := json.Unmarshal(text, &pools); err != nil {
		return nil, fmt.Errorf("decoding the orphans: %w", err)
	}
	var orphans []Orphan
	for _, p := range pools {
		pool, err := p.decode()
		if err != nil {
			return nil, fmt.Errorf("decoding the orphans of pool %q: %w", p.Pool, err)
		}
		for _, a := range p.Addresses {
			if !a.Address.IsValid() || a.Address.Zone() != "" {
				return nil, fmt.Errorf("decoding the orphans of pool %q: %q is not the address of a Service", p.Pool, a.Address)
			}
			orphans = append(orphans, Orphan{Addr: a.Address.Unmap(), UIDs: a.Services, Pool: pool})
		}
	}
	return orphans, nil
}

func (p *orphanPool) decode() (*Pool, error) {
	pool := &Pool{Name: p.Pool, Protocol: p.Protocol, Interfaces: p.Interfaces, IgnoreExcludeLabel: p.IgnoreExclude, AnnounceConflicts: p.AnnounceAlways, Spread: p.Spread, WithdrawWithoutEndpoints: p.Withdraw}
	if !p.Protocol.Layer2() && !p.Protocol.BGP() {
		return nil, fmt.Errorf("unknown protocol %q", p.Protocol)
	}
	for _, ad := range p.Advertisements {
		if ad.AggregationLength < 0 || ad.AggregationLength > 32 || ad.AggregationLengthV6 < 0 || ad.AggregationLengthV6 > 128 {
			return nil, fmt.Errorf("aggregation lengths %d and %d", ad.AggregationLength, ad.AggregationLengthV6)
		}
		pool.Advertisements = append(pool.Advertisements, Advertisement(ad))
	}
	var err error
	if pool.NodeSelectors, err = parseSelectors(p.NodeSelectors); err != nil {
		return nil, err
	}
	if pool.PreferredNodes, err = parseSelectors(p.PreferredNodes); err != nil {
		return nil, err
	}
	return pool, nil
}

func parseSelectors(texts []string) (selectors []labels.Selector, err error) {
	for _, text := range texts {
		s, err := labels.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("node selector %q: %w", text, err)
		}
		selectors = append(selectors, s)
	}
	return selectors, nil
}
