package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// parser walks a YAML document and collects errors. Its fields pool, path and key are
// the present position, which errors name. It reads nodes and does not decode into a
// struct, because every error must name its line, and one error must not hide the next.
type parser struct {
	errs      collector
	warnings  collector
	hints     []hint // reported only beside errors, which they may explain
	pool, key string
	path      []step

	budget  int  // how many more elements may be visited
	stopped bool // reading has ended before the end of the text
	known   map[string]bool

	communities map[string]community // by the name under bgp-communities
	peers       map[string]int       // by name: the line on which the peer begins
	profiles    map[string]int       // by name: the line on which the BFD profile begins
	pools       map[string]int       // by name: the line on which the pool begins
	ranges      []writtenRange

	peersByIdentity map[identity]int      // the line on which the peer begins
	bfdUses         map[netip.Addr]bfdUse // the first peer with BFD at the address
	lastName        map[netip.Addr]int    // the last number after the address
}

// step is an element of a list in the position of the parser: place 2 of "peer" is the
// second peer.
type step struct {
	name  string
	place int
}

// maxRepeated is how many elements aliases may repeat, also in merged mappings. Without a
// limit, lists of aliases inside lists of aliases multiply.
const maxRepeated = 20_000

func newParser(root *yaml.Node) *parser {
	return &parser{
		budget: countNodes(root) + maxRepeated, known: grammarKeys,
		communities: map[string]community{}, peers: map[string]int{}, profiles: map[string]int{}, pools: map[string]int{},
		peersByIdentity: map[identity]int{}, bfdUses: map[netip.Addr]bfdUse{}, lastName: map[netip.Addr]int{},
	}
}

// countNodes counts what stands in the text. It does not follow aliases.
func countNodes(n *yaml.Node) int {
	count := 1
	for _, child := range n.Content {
		count += countNodes(child)
	}
	return count
}

// errorf reports an error at a node, or at no line if the node is nil.
func (p *parser) errorf(at *yaml.Node, format string, args ...any) {
	switch {
	case p.stopped:
	case p.errs.full(): // only the number is of interest, and formatting takes time
		p.errs.count++
		p.stopped = p.errs.count >= maxCounted
	default:
		p.errs.add(p.errorAt(at, fmt.Sprintf(format, args...)))
	}
}

// warnf reports something that is valid, but probably not what the operator meant.
func (p *parser) warnf(at *yaml.Node, format string, args ...any) {
	if p.warnings.full() {
		p.warnings.count++
		return
	}
	p.warnings.add(p.errorAt(at, fmt.Sprintf(format, args...)))
}

func (p *parser) errorAt(at *yaml.Node, msg string) *Error {
	e := &Error{Pool: p.pool, In: p.position(), Key: printable(p.key), Msg: msg}
	if at != nil {
		e.Line, e.Column = at.Line, at.Column
	}
	return e
}

// position returns the path in words, like "peer #1: node-selectors #2".
func (p *parser) position() string {
	words := make([]string, len(p.path))
	for i, s := range p.path {
		words[i] = fmt.Sprintf("%s #%d", s.name, s.place)
	}
	return strings.Join(words, ": ")
}

// printable replaces line breaks and other control characters.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// within runs f for an element of a list. Errors that f reports name this element.
func (p *parser) within(name string, place int, f func()) {
	key := p.key
	p.path, p.key = append(p.path, step{name, place}), ""
	f()
	p.path, p.key = p.path[:len(p.path)-1], key
}

// visit counts visited elements, and reports whether reading may go on.
func (p *parser) visit(elements int, at *yaml.Node) bool {
	if p.stopped {
		return false
	}
	if p.budget -= elements; p.budget < 0 {
		p.errorf(at, "the aliases (like *name) repeat more than %d elements, and the rest was not read: write the elements without aliases", maxRepeated)
		p.stopped = true
	}
	return !p.stopped
}

func deref(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// blank reports whether the value is null or an empty text.
func (p *parser) blank(n *yaml.Node) bool {
	n = deref(n)
	return isNull(n) || n.Kind == yaml.ScalarNode && n.Value == ""
}

// empty reports whether the value is null, an empty list or an empty mapping.
func (p *parser) empty(n *yaml.Node) bool {
	n = deref(n)
	return isNull(n) || n.Kind != yaml.ScalarNode && len(n.Content) == 0
}

// mapping returns the entries, each key once. A merge key and a key of the mapping
// itself override what stands before them, as in MetalLB's parser. Null is an empty
// mapping. Errors call the mapping by name.
func (p *parser) mapping(n *yaml.Node, name string) entries {
	n = deref(n)
	if isNull(n) {
		return entries{}
	}
	if n.Kind != yaml.MappingNode {
		p.errorf(n, "%s must be a mapping of keys to values%s", name, p.gluedHint(n))
		return entries{}
	}
	if !p.visit(len(n.Content), n) {
		return entries{}
	}
	found := entries{all: make([]entry, 0, len(n.Content)/2)}
	for i := 0; i+1 < len(n.Content); i += 2 {
		p.mapEntry(&found, deref(n.Content[i]), n.Content[i+1], name)
	}
	return found
}

func (p *parser) mapEntry(found *entries, key, value *yaml.Node, name string) {
	switch {
	case key.Kind != yaml.ScalarNode:
		p.errorf(key, "%s must have plain keys", name)
	case len(key.Value) > maxScalar:
		p.errorf(key, "a key has %d bytes: write at most %d", len(key.Value), maxScalar)
	case key.ShortTag() == "!!merge":
		p.merge(found, value)
	default:
		if i := found.find(key.Value); i >= 0 && !found.all[i].merged {
			p.errorf(key, "key %q is already set on line %d", key.Value, found.all[i].at.Line)
			return
		}
		found.set(entry{key: key.Value, at: key, value: value})
	}
}

func (p *parser) merge(into *entries, n *yaml.Node) {
	n = deref(n)
	if n.Kind == yaml.SequenceNode {
		if !p.visit(len(n.Content), n) {
			return
		}
		for _, m := range slices.Backward(n.Content) { // the first mapping overrides the others
			p.merge(into, m)
		}
		return
	}
	for _, e := range p.mapping(n, "a merged value").all {
		e.merged = true
		into.set(e)
	}
}

// list returns the elements. Null is an empty list.
func (p *parser) list(n *yaml.Node) []*yaml.Node {
	n = deref(n)
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		p.errorf(n, "must be a list, each element on its own line after \"- \"")
		return nil
	}
	if !p.visit(len(n.Content), n) {
		return nil
	}
	elements := make([]*yaml.Node, len(n.Content))
	for i, e := range n.Content {
		elements[i] = deref(e)
	}
	return elements
}
