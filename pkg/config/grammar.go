package config

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// section is a mapping of the grammar that is read into a T. Its keys are in the order
// in which they are read and documented.
type section[T any] struct {
	name string // with an article, for error messages
	keys []key[T]
}

// key is one key of a section.
type key[T any] struct {
	name string
	value
	read func(p *parser, n *yaml.Node, to *T)
}

// value describes a key for the reference and the JSON Schema.
type value struct {
	kind kind
	doc  string
	byDefault,
	example string
	required bool
	min, max uint64      // for a number: the lowest and the highest value
	options  []string    // for a string: the allowed values; empty allows all
	inner    *sectionDoc // for a list of mappings: the keys of each mapping
}

type kind int

const (
	aString kind = iota
	aBoolean
	aNumber
	aDuration
	listOfStrings
	listOfSections
	mapOfStrings
)

// sectionDoc is the documentation of a section, without the type that it is read into.
type sectionDoc struct {
	name string
	keys []keyDoc
}

type keyDoc struct {
	name string
	value
}

func (s section[T]) describe() *sectionDoc {
	d := &sectionDoc{name: s.name}
	for _, k := range s.keys {
		d.keys = append(d.keys, keyDoc{k.name, k.value})
	}
	return d
}

// readSection reads a mapping into to, and returns the line of each key that the text
// has. It reads the keys in the order of the table, not of the text.
func readSection[T any](p *parser, n *yaml.Node, s section[T], to *T) map[string]int {
	lines := map[string]int{}
	outer := p.key
	p.key = ""
	entries := p.mapping(n, s.name)
	var names []string
	for _, k := range s.keys {
		names = append(names, k.name)
		if i := indexOf(entries, k.name); i >= 0 {
			p.key = k.name
			lines[k.name] = entries[i].line
			k.read(p, entries[i].value, to)
			entries[i].read = true
		}
	}
	for _, e := range entries {
		if p.key = e.key; !e.read {
			p.errorf(e.line, "unknown key; the keys of %s are %s", s.name, strings.Join(names, ", "))
		}
	}
	p.key = outer
	return lines
}

// The functions below make keys. They do not call set for null, which leaves the
// default, nor for a value that cannot be read.

func text[T any](name string, v value, set func(*T, string)) key[T] {
	v.kind = aString
	return key[T]{name, v, func(p *parser, n *yaml.Node, to *T) {
		if s, ok := p.str(n); ok {
			set(to, s)
		}
	}}
}

func boolean[T any](name string, v value, set func(*T, bool)) key[T] {
	v.kind = aBoolean
	return key[T]{name, v, func(p *parser, n *yaml.Node, to *T) {
		if b, ok := p.boolean(n); ok {
			set(to, b)
		}
	}}
}

func number[T any](name string, v value, set func(*T, uint64)) key[T] {
	v.kind = aNumber
	return key[T]{name, v, func(p *parser, n *yaml.Node, to *T) {
		if i, ok := p.number(n, v.min, v.max); ok {
			set(to, i)
		}
	}}
}

func list[T any](name string, v value, set func(p *parser, n *yaml.Node, to *T, s string)) key[T] {
	v.kind = listOfStrings
	return key[T]{name, v, func(p *parser, n *yaml.Node, to *T) {
		for _, e := range p.list(n) {
			if s, ok := p.str(e); ok {
				set(p, e, to, s)
			}
		}
	}}
}

// sections makes a key whose value is a list of mappings. It calls read for each
// mapping, with its place in the list, counted from 1.
func sections[T, S any](name string, v value, inner section[S], read func(p *parser, n *yaml.Node, to *T, place int)) key[T] {
	v.kind, v.inner = listOfSections, inner.describe()
	return key[T]{name, v, func(p *parser, n *yaml.Node, to *T) {
		for i, e := range p.list(n) {
			read(p, e, to, i+1)
		}
	}}
}
