package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Parse reads a configuration. An empty text is a configuration without pools.
// The error is always an Errors. It holds everything that is wrong, so that the
// operator can correct it all in one edit.
func Parse(text []byte) (*Config, error) {
	var document yaml.Node
	err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&document)
	if errors.Is(err, io.EOF) {
		return &Config{}, nil
	}
	if err != nil {
		return nil, Errors{syntaxError(text, err)}
	}
	p := &parser{communities: map[string]community{}, peers: map[string]int{}, profiles: map[string]int{}, pools: map[string]int{}}
	c := &Config{}
	readSection(p, document.Content[0], topSection, c)
	p.buildIndex(c)
	if len(p.errs) > 0 {
		return nil, p.errs.sorted()
	}
	c.Warnings = warnings(c)
	return c, nil
}

// topSection is the whole configuration. Communities and profiles come first because
// the keys after them refer to them.
var topSection = section[Config]{name: "the configuration", keys: []key[Config]{
	{"bgp-communities", value{kind: mapOfStrings, doc: "names for communities; `bgp-advertisements` can use them", example: "{no-export: 65535:65281}"},
		func(p *parser, n *yaml.Node, _ *Config) { p.readCommunities(n) }},
	sections("bfd-profiles", value{doc: "parameters of BFD sessions; a peer selects one with `bfd-profile`"}, profileSection,
		func(p *parser, n *yaml.Node, to *Config, place int) {
			p.within(fmt.Sprintf("bfd-profile #%d", place), func() { p.readProfile(n, to) })
		}),
	sections("peers", value{doc: "routers with which the speakers hold BGP sessions"}, peerSection,
		func(p *parser, n *yaml.Node, to *Config, place int) {
			p.within(fmt.Sprintf("peer #%d", place), func() { p.readPeer(n, to) })
		}),
	sections("address-pools", value{doc: "the addresses that Services get"}, poolSection,
		func(p *parser, n *yaml.Node, to *Config, place int) { p.readPool(n, to, place) }),
	boolean("reassign", value{byDefault: "false", doc: "`true`: if no pool would give a Service its address any more (the address is in no pool, or its pool now serves other namespaces or Services), the Service gets another address as soon as one is free. `false`: the Service keeps its address."},
		func(to *Config, b bool) { to.Reassign = b }),
}}

// warnings reports settings that are valid, but probably not what the operator meant.
func warnings(c *Config) Errors {
	var w Errors
	for _, pool := range c.Pools {
		if pool.Protocol.BGP() && len(c.Peers) == 0 {
			w = append(w, &Error{Line: pool.Line, Pool: pool.Name, Key: "protocol", Msg: fmt.Sprintf("%s, but there is no peer to advertise routes to: list your routers under peers", pool.Protocol)})
		}
	}
	for i, peer := range c.Peers {
		if peer.RouterID.IsValid() && len(peer.NodeSelectors) == 0 {
			w = append(w, &Error{Line: peer.Line, In: fmt.Sprintf("peer #%d", i+1), Key: "router-id", Msg: "all nodes use this router ID, and a router may refuse a second session with the same ID: remove this key, or select one node with node-selectors"})
		}
	}
	return w
}

// lineOr returns the line of the key, or another line if the text does not have the key.
func lineOr(lines map[string]int, key string, otherwise int) int {
	if line, ok := lines[key]; ok {
		return line
	}
	return otherwise
}

// unique reports a name that is missing, or that an earlier element has. at is the line
// of the name, begins the line on which the element begins.
func (p *parser) unique(names map[string]int, element, name string, at, begins int) {
	p.key = "name"
	if name == "" {
		p.errorf(at, "the %s has no name", element)
		return
	}
	if first, taken := names[name]; taken {
		p.errorf(at, "duplicate definition: a %s of this name begins on line %d", element, first)
		return
	}
	names[name] = begins
}

// writtenRange is a range as it stands in the text. An error about it names its text,
// pool and line.
type writtenRange struct {
	Range
	text, pool string
	line       int
}

// buildIndex sorts all ranges and reports the ones that overlap.
func (p *parser) buildIndex(c *Config) {
	slices.SortStableFunc(p.ranges, func(a, b writtenRange) int { return a.From.Compare(b.From) })
	for i := 1; i < len(p.ranges); i++ {
		a, b := p.ranges[i-1], p.ranges[i] // a begins before b
		if !a.Contains(b.From) {
			continue
		}
		first, second := a, b // in the order of the file
		if first.line > second.line {
			first, second = second, first
		}
		p.pool, p.key = second.pool, "addresses"
		p.errorf(second.line, "%s overlaps with %s of pool %q on line %d", second.text, first.text, first.pool, first.line)
		if !a.To.Less(b.To) {
			p.ranges[i] = a // the longer range may also overlap with the next one
		}
	}
	for i, pool := range c.Pools {
		for _, r := range pool.Ranges {
			c.index = append(c.index, indexEntry{Range: r, pool: i})
		}
	}
	slices.SortFunc(c.index, func(a, b indexEntry) int { return a.From.Compare(b.From) })
}
