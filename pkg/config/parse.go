package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Parse reads a configuration in MetalLB v0.12's grammar. An empty text is a
// configuration without pools. Every error is an Errors that holds all that is
// wrong, so that it can be put right in one edit.
func Parse(text []byte) (*Config, error) {
	var document yaml.Node
	err := yaml.NewDecoder(bytes.NewReader(text)).Decode(&document)
	if errors.Is(err, io.EOF) {
		return &Config{}, nil
	}
	if err != nil {
		return nil, Errors{syntaxError(text, err)}
	}
	p := &parser{names: map[string]int{}}
	c := p.config(document.Content[0])
	if len(p.errs) > 0 {
		return nil, p.errs.sorted()
	}
	return c, nil
}

// later names the parts of the grammar that are understood but not yet served.
// They are refused rather than dropped: an address that nobody announces is
// worse than an error.
var later = []string{"peers", "bgp-communities", "bfd-profiles"}

func (p *parser) config(root *yaml.Node) *Config {
	c := &Config{}
	for _, e := range p.mapping(root, "the configuration") {
		p.key = e.key
		switch {
		case e.key == "address-pools":
			for i, n := range p.list(e.value) {
				if pool, ok := p.poolAt(n, i); ok {
					c.Pools = append(c.Pools, pool)
				}
			}
		case slices.Contains(later, e.key):
			if !p.empty(e.value) {
				p.errorf(e.line, "BGP is not supported by this version: remove this key")
			}
		default:
			p.errorf(e.line, "unknown key; the keys here are address-pools, %s", strings.Join(later, ", "))
		}
	}
	p.pool, p.key = "", ""
	p.buildIndex(c)
	return c
}

// poolAt reads the pool at place i of the list.
func (p *parser) poolAt(n *yaml.Node, i int) (Pool, bool) {
	errorsBefore := len(p.errs)
	p.pool, p.key = fmt.Sprintf("#%d", i+1), ""
	defer func() { p.pool = "" }()

	pool := Pool{AutoAssign: true, Line: n.Line}
	if n.Kind != yaml.MappingNode {
		p.errorf(n.Line, "a pool must be a mapping of keys to values")
		return pool, false
	}
	entries := p.mapping(n, "a pool")
	var protocol string
	nameOK, protocolOK := true, true           // until something is there that is no string
	if i := indexOf(entries, "name"); i >= 0 { // first: errors carry it
		p.key = "name"
		if pool.Name, nameOK = p.str(entries[i].value); pool.Name != "" {
			p.pool = pool.Name
		}
	}
	for _, e := range entries {
		p.key = e.key
		switch e.key {
		case "name":
		case "protocol":
			protocol, protocolOK = p.str(e.value)
		case "addresses":
			for _, a := range p.list(e.value) {
				if r, ok := p.addressRange(a); ok {
					pool.Ranges = append(pool.Ranges, r)
					p.ranges = append(p.ranges, placed{Range: r, text: a.Value, pool: p.pool, line: a.Line})
				}
			}
			if p.empty(e.value) {
				p.errorf(e.line, "the pool has no addresses: list at least one CIDR or range")
			}
		case "auto-assign":
			pool.AutoAssign = p.boolean(e.value, true)
		case "avoid-buggy-ips":
			pool.AvoidBuggyIPs = p.boolean(e.value, false)
		case "bgp-advertisements":
			if !p.empty(e.value) {
				p.errorf(e.line, "belongs to protocol: bgp, which is not supported by this version: remove this key")
			}
		default:
			p.errorf(e.line, "unknown key; the keys of a pool are name, protocol, addresses, auto-assign, avoid-buggy-ips")
		}
	}
	if nameOK {
		p.checkName(pool.Name, n.Line, entries)
	}
	if protocolOK {
		pool.Protocol = p.checkProtocol(protocol, n.Line, entries)
	}
	if indexOf(entries, "addresses") < 0 {
		p.key = "addresses"
		p.errorf(n.Line, "the pool has no addresses: list at least one CIDR or range")
	}
	return pool, len(p.errs) == errorsBefore
}

func (p *parser) checkName(name string, line int, entries []entry) {
	p.key = "name"
	at := lineOf(entries, "name", line)
	if name == "" {
		p.errorf(at, "the pool has no name")
		return
	}
	if first, taken := p.names[name]; taken {
		p.errorf(at, "duplicate definition: a pool of this name begins on line %d", first)
		return
	}
	p.names[name] = line
}

func (p *parser) checkProtocol(protocol string, line int, entries []entry) Protocol {
	p.key = "protocol"
	switch at := lineOf(entries, "protocol", line); protocol {
	case string(Layer2):
	case "":
		p.errorf(at, "address pool is missing the protocol field: write protocol: layer2")
	case "bgp":
		p.errorf(at, "bgp is not supported by this version: write protocol: layer2")
	default:
		p.errorf(at, "unknown protocol %q: write layer2", protocol)
	}
	return Layer2
}

// lineOf returns the line of the key, or that of the pool without it.
func lineOf(entries []entry, key string, pool int) int {
	if i := indexOf(entries, key); i >= 0 {
		return entries[i].line
	}
	return pool
}

func (p *parser) addressRange(n *yaml.Node) (Range, bool) {
	text, ok := p.str(n)
	if !ok {
		return Range{}, false
	}
	r, err := ParseRange(text)
	if err != nil {
		p.errorf(n.Line, "%v", err)
	}
	return r, err == nil
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
