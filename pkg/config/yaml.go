package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parser walks a YAML document and collects errors. Its fields pool, in and key are
// the present position, which errors name. It reads nodes and does not decode into a
// struct, because every error must name its line, and one error must not hide the next.
type parser struct {
	errs          Errors
	pool, in, key string

	communities map[string]community // by the name under bgp-communities
	peers       map[string]int       // by name: the line on which the peer begins
	profiles    map[string]int       // by name: the line on which the BFD profile begins
	pools       map[string]int       // by name: the line on which the pool begins
	ranges      []writtenRange
	merges      int // mappings merged so far
}

// maxMerges limits the work that merge keys can cause. Without a limit, a few lines of
// nested aliases expand without end.
const maxMerges = 1000

func (p *parser) errorf(line int, format string, args ...any) {
	p.errs = append(p.errs, &Error{Line: line, Pool: p.pool, In: p.in, Key: p.key, Msg: fmt.Sprintf(format, args...)})
}

// within runs f for an element of a list. Errors that f reports name this element.
func (p *parser) within(element string, f func()) {
	in, key := p.in, p.key
	p.in, p.key = strings.TrimPrefix(in+": "+element, ": "), ""
	f()
	p.in, p.key = in, key
}

type entry struct {
	key    string
	value  *yaml.Node
	line   int
	merged bool // came from a merge key
	read   bool // readSection has read it
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

// empty reports whether the value is null, an empty list or an empty mapping.
func (p *parser) empty(n *yaml.Node) bool {
	n = deref(n)
	return isNull(n) || n.Kind != yaml.ScalarNode && len(n.Content) == 0
}

// mapping returns the entries, each key once. A merge key and a key of the mapping
// itself override what stands before them, as in MetalLB's parser. Null is an empty
// mapping. Errors call the mapping by name.
func (p *parser) mapping(n *yaml.Node, name string) []entry {
	n = deref(n)
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		p.errorf(n.Line, "%s must be a mapping of keys to values", name)
		return nil
	}
	var entries []entry
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := deref(n.Content[i]), n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			p.errorf(key.Line, "%s must have plain keys", name)
			continue
		}
		if key.ShortTag() == "!!merge" {
			entries = p.merge(entries, value)
			continue
		}
		j := indexOf(entries, key.Value)
		if j >= 0 && !entries[j].merged {
			p.errorf(key.Line, "key %q is already set on line %d", key.Value, entries[j].line)
			continue
		}
		entries = override(entries, entry{key: key.Value, value: value, line: key.Line})
	}
	return entries
}

func (p *parser) merge(entries []entry, n *yaml.Node) []entry {
	if p.merges++; p.merges > maxMerges {
		if p.merges == maxMerges+1 {
			p.errorf(n.Line, "more than %d merged mappings", maxMerges)
		}
		return entries
	}
	n = deref(n)
	if n.Kind == yaml.SequenceNode {
		for _, m := range slices.Backward(n.Content) { // the first mapping overrides the others
			entries = p.merge(entries, m)
		}
		return entries
	}
	for _, e := range p.mapping(n, "a merged value") {
		e.merged = true
		entries = override(entries, e)
	}
	return entries
}

func indexOf(entries []entry, key string) int {
	return slices.IndexFunc(entries, func(e entry) bool { return e.key == key })
}

func override(entries []entry, e entry) []entry {
	if i := indexOf(entries, e.key); i >= 0 {
		entries = slices.Delete(entries, i, i+1)
	}
	return append(entries, e)
}

// list returns the elements. Null is an empty list.
func (p *parser) list(n *yaml.Node) []*yaml.Node {
	n = deref(n)
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		p.errorf(n.Line, "must be a list, each element on its own line after \"- \"")
		return nil
	}
	elements := make([]*yaml.Node, len(n.Content))
	for i, e := range n.Content {
		elements[i] = deref(e)
	}
	return elements
}
