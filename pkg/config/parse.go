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
// Every error is an Errors that holds all that is wrong, so that it can be put
// right in one edit.
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

// topSection is the whole configuration. Aliases and profiles come first, since
// what follows refers to them.
var topSection = section[Config]{name: "the configuration", keys: []key[Config]{
	{"bgp-communities", value{kind: mapOfStrings, doc: "names for communities, to be used in `bgp-advertisements`", example: "{no-export: 65535:65281}"},
		func(p *parser, n *yaml.Node, _ *Config) { p.readCommunities(n) }},
	sections("bfd-profiles", value{doc: "parameters of BFD sessions, to be named by `peers`"}, profileSection,
		func(p *parser, n *yaml.Node, to *Config, place int) {
			p.within(fmt.Sprintf("bfd-profile #%d", place), func() { p.readProfile(n, to) })
		}),
	sections("peers", value{doc: "routers with which the speakers hold BGP sessions"}, peerSection,
		func(p *parser, n *yaml.Node, to *Config, place int) {
			p.within(fmt.Sprintf("peer #%d", place), func() { p.readPeer(n, to) })
		}),
	sections("address-pools", value{doc: "the addresses that Services get"}, poolSection,
		func(p *parser, n *yaml.Node, to *Config, place int) { p.readPool(n, to, place) }),
	boolean("reassign", value{byDefault: "false", doc: "`true`: a Service whose address no pool would give it any more (it has left the pools, or its pool is for others now) gets another as soon as there is one. Without it the Service keeps its address."},
		func(to *Config, b bool) { to.Reassign = b }),
}}

// warnings says of what is right by the grammar that it may not be what is meant.
func warnings(c *Config) Errors {
	var w Errors
	for _, pool := range c.Pools {
		if pool.Protocol.BGP() && len(c.Peers) == 0 {
			w = append(w, &Error{Line: pool.Line, Pool: pool.Name, Key: "protocol", Msg: fmt.Sprintf("%s, and there are no peers to advertise routes to: list your routers under peers", pool.Protocol)})
		}
	}
	for i, peer := range c.Peers {
		if peer.RouterID.IsValid() && len(peer.NodeSelectors) == 0 {
			w = append(w, &Error{Line: peer.Line, In: fmt.Sprintf("peer #%d", i+1), Key: "router-id", Msg: "all nodes have this one, and routers may refuse a second session with it: leave the key out, or select one node with node-selectors"})
		}
	}
	return w
}

// lineOr returns the line of the key, or another one if the key is not there.
func lineOr(lines map[string]int, key string, otherwise int) int {
	if line, ok := lines[key]; ok {
		return line
	}
	return otherwise
}

// unique reports a name that is missing, or taken by an earlier element.
func (p *parser) unique(names map[string]int, what, name string, at, begins int) {
	p.key = "name"
	if name == "" {
		p.errorf(at, "the %s has no name", what)
		return
	}
	if first, taken := names[name]; taken {
		p.errorf(at, "duplicate definition: a %s of this name begins on line %d", what, first)
		return
	}
	names[name] = begins
}

// placed is a range with what an error about it must say.
type placed struct {
	Range
	text, pool string
	line       int
}

// buildIndex sorts all ranges and reports the ones that overlap.
func (p *parser) buildIndex(c *Config) {
	slices.SortStableFunc(p.ranges, func(a, b placed) int { return a.From.Compare(b.From) })
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
			p.ranges[i] = a // the longer one may reach the next, too
		}
	}
	for i, pool := range c.Pools {
		for _, r := range pool.Ranges {
			c.index = append(c.index, indexEntry{Range: r, pool: i})
		}
	}
	slices.SortFunc(c.index, func(a, b indexEntry) int { return a.From.Compare(b.From) })
}
