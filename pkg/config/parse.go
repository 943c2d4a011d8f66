package config

import (
	"bytes"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Parse reads a configuration. The error is always an Errors. It holds everything that is
// wrong, up to MaxErrors, so that the operator can correct it all in one edit.
//
// Whatever the text is, Parse needs less than a second and less than 100 MB of memory: see
// TooLarge, maxRepeated, maxMerges, maxCounted and searchBudget.
func Parse(text []byte) (*Config, error) {
	root, errs := document(text)
	if len(errs) > 0 {
		return nil, errs
	}
	p := newParser(root)
	c := &Config{}
	readSection(p, root, topSection, c)
	p.buildIndex(c)
	if p.errs.count > 0 {
		return nil, p.problems(text)
	}
	p.addWarnings(c)
	c.Warnings = p.warnings.list("warning", true)
	return c, nil
}

// grammarKeys are the names of all keys.
var grammarKeys = keyNames(topSection.describe())

// document returns the root of the only document of the text.
func document(text []byte) (*yaml.Node, Errors) {
	documents, broken := Documents(text)
	if errs := misplaced(documents); len(errs) > 0 {
		return nil, errs
	}
	if second := secondDocument(text, documents, broken); second != nil {
		return nil, Errors{second}
	}
	if broken != nil {
		return nil, Errors{broken}
	}
	if len(documents) == 0 {
		return nil, Errors{{Msg: emptyText}}
	}
	root := documents[0].Content[0]
	if isNull(root) || root.Kind == yaml.MappingNode && len(root.Content) == 0 {
		return nil, Errors{{Msg: emptyText}}
	}
	return root, nil
}

// emptyText is the error of an empty configuration. Most are empty by mistake, for example
// because a template had no values. It must not take away all pools.
const emptyText = "the configuration is empty: to have no pools, write address-pools: []"

// secondDocument returns an error if the text has more than one YAML document. Only the
// first would be used. An empty document, like after a --- at the end, is none.
func secondDocument(text []byte, documents []*yaml.Node, broken *Error) *Error {
	if len(documents) == 0 {
		return nil
	}
	line := 0
	for _, d := range documents[1:] {
		if !isNull(d.Content[0]) {
			line = d.Line
			break
		}
	}
	if line == 0 && broken != nil { // the second document may be the one that is not valid
		line = separator(text, documents[0].Content[0].Line)
		if line > broken.Line {
			return nil
		}
	}
	if line == 0 {
		return nil
	}
	return &Error{Line: line, Column: 1, Msg: "a second YAML document begins here: the configuration is one document; remove this line, and what does not belong to the configuration"}
}

// separator returns the first line after another one that begins a document, or 0.
func separator(text []byte, after int) int {
	for number := 1; len(text) > 0; number++ {
		var line []byte
		line, text = cutLine(text)
		if number > after && bytes.HasPrefix(line, []byte("---")) && in(line, 3, " \t\r\n") {
			return number
		}
	}
	return 0
}

// problems returns the errors, with what may explain them.
func (p *parser) problems(text []byte) Errors {
	for _, h := range p.hints {
		if !bytes.Contains(lineOf(text, h.err.Line), []byte(h.word)) {
			p.errs.add(h.err)
		}
	}
	list := p.errs.list("error", !p.stopped)
	explainLines(text, list)
	return list
}

// topSection is the whole configuration. Communities and profiles come first because
// the keys after them refer to them.
var topSection = section[Config]{name: "the configuration", keys: []key[Config]{
	{"bgp-communities", value{kind: mapOfStrings, doc: "names for communities; `bgp-advertisements` can use them. A well-known name, like `no-export`, can have another value here.", example: "{ours: 64512:100}"},
		func(p *parser, n *yaml.Node, _ *Config) { p.readCommunities(n) }},
	sections("bfd-profiles", value{doc: "parameters of BFD sessions; a peer selects one with `bfd-profile`"}, profileSection,
		func(p *parser, n *yaml.Node, to *Config, place, total int) {
			to.BFDProfiles = reserve(to.BFDProfiles, total)
			p.within("bfd-profile", place, func() { p.readProfile(n, to) })
		}),
	sections("peers", value{doc: "routers with which the speakers hold BGP sessions"}, peerSection,
		func(p *parser, n *yaml.Node, to *Config, place, total int) {
			to.Peers = reserve(to.Peers, total)
			p.within("peer", place, func() { p.readPeer(n, to) })
		}),
	sections("address-pools", value{doc: "the addresses that Services get"}, poolSection,
		func(p *parser, n *yaml.Node, to *Config, place, total int) {
			to.Pools = reserve(to.Pools, total)
			p.readPool(n, to, place)
		}),
	boolean("reassign", value{byDefault: "false", doc: "`true`: if no pool would give a Service its address any more (the address is in no pool, or its pool now serves other namespaces or Services), the Service gets another address as soon as one is free. `false`: the Service keeps its address."},
		func(to *Config, b bool) { to.Reassign = b }),
}}

// addWarnings reports combinations of settings that are valid, but probably not what the
// operator meant.
func (p *parser) addWarnings(c *Config) {
	for i := range c.Pools {
		if pool := &c.Pools[i]; pool.Protocol.BGP() && len(c.Peers) == 0 {
			p.warnings.add(&Error{Line: pool.Line, Pool: pool.Name, Key: "protocol", Msg: fmt.Sprintf("%s, but there is no peer to advertise routes to: list your routers under peers", pool.Protocol)})
		}
	}
	for i, peer := range c.Peers {
		if peer.RouterID.IsValid() && len(peer.NodeSelectors) == 0 {
			p.warnings.add(&Error{Line: peer.Line, In: fmt.Sprintf("peer #%d", i+1), Key: "router-id", Msg: "all nodes use this router ID, and a router may refuse a second session with the same ID: remove this key, or select one node with node-selectors"})
		}
	}
}

// unique reports a name that is missing, or that an earlier element has. at is the name,
// element is what has it, and begins is where the element begins.
func (p *parser) unique(names map[string]int, element, name string, at, begins *yaml.Node) {
	p.key = "name"
	if name == "" {
		p.errorf(at, "the %s has no name", element)
		return
	}
	if first, taken := names[name]; taken {
		p.errorf(at, "duplicate definition: a %s of this name begins on line %d", element, first)
		return
	}
	names[name] = begins.Line
}

// writtenRange is a range as it stands in the text. An error about it names its text,
// pool and line.
type writtenRange struct {
	Range
	at   *yaml.Node
	pool string
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
		if first.at.Line > second.at.Line {
			first, second = second, first
		}
		p.pool, p.key = second.pool, "addresses"
		p.errorf(second.at, "%s overlaps with %s of pool %q on line %d", second.at.Value, first.at.Value, first.pool, first.at.Line)
		if !a.To.Less(b.To) {
			p.ranges[i] = a // the longer range may also overlap with the next one
		}
	}
	if p.errs.count > 0 {
		return
	}
	c.index = make([]indexEntry, 0, len(p.ranges))
	c.byName = make(map[string]int, len(c.Pools))
	for i, pool := range c.Pools {
		c.byName[pool.Name] = i
		for _, r := range pool.Ranges {
			c.index = append(c.index, indexEntry{Range: r, pool: i})
		}
	}
	slices.SortFunc(c.index, func(a, b indexEntry) int { return a.From.Compare(b.From) })
}
