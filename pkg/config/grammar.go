package config

import (
	"fmt"
	"maps"
	"slices"
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

// readSection reads a mapping into to, and returns the entries that the text has. It reads
// the keys in the order of the table, not of the text.
func readSection[T any](p *parser, n *yaml.Node, s section[T], to *T) entries {
	outer := p.key
	p.key = ""
	found := p.mapping(n, s.name)
	for _, k := range s.keys {
		if i := found.find(k.name); i >= 0 {
			p.key = k.name
			k.read(p, found.all[i].value, to)
		}
	}
	for _, e := range found.all {
		if !s.has(e.key) && !p.stopped {
			p.key = e.key
			p.errorf(e.at, "%s", s.unknown(e.key, p.known, &found))
		}
	}
	p.key = outer
	return found
}

func (s section[T]) has(name string) bool {
	return slices.ContainsFunc(s.keys, func(k key[T]) bool { return k.name == name })
}

// unknown says what is wrong with a key that the section does not have.
// It proposes a key that the mapping has already only if the name is almost the same.
func (s section[T]) unknown(name string, known map[string]bool, present *entries) string {
	names := make([]string, len(s.keys))
	var likely []string
	for i, k := range s.keys {
		names[i] = k.name
		if present.find(k.name) < 0 || distance(normalize(name[:min(len(name), maxTypo)]), normalize(k.name)) < 2 {
			likely = append(likely, k.name)
		}
	}
	all := fmt.Sprintf("keys of %s are %s", s.name, strings.Join(names, ", "))
	if written, ok := gluedKey(name, known); ok {
		return fmt.Sprintf("unknown key: there is no space after the colon: write %q", written)
	}
	if like := closest(name, likely); like != "" {
		return fmt.Sprintf("unknown key: did you mean %q? The %s", like, all)
	}
	return "unknown key; the " + all
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
			if p.stopped {
				return
			}
			if s, ok := p.str(e); ok {
				set(p, e, to, s)
			}
		}
	}}
}

// sections makes a key whose value is a list of mappings. It calls read for each
// mapping, with its place in the list, counted from 1, and the length of the list.
func sections[T, S any](name string, v value, inner section[S], read func(p *parser, n *yaml.Node, to *T, place, total int)) key[T] {
	v.kind, v.inner = listOfSections, inner.describe()
	return key[T]{name, v, func(p *parser, n *yaml.Node, to *T) {
		elements := p.list(n)
		for i, e := range elements {
			if p.stopped {
				return
			}
			read(p, e, to, i+1, len(elements))
		}
	}}
}

// reserve makes room for all elements of a list when the first one is read. Without it, a
// long list is copied again and again while it grows.
func reserve[T any](list []T, total int) []T {
	if list == nil {
		return make([]T, 0, total)
	}
	return list
}

// keyNames returns the names of all keys of a section and of the sections in it.
func keyNames(d *sectionDoc) map[string]bool {
	names := map[string]bool{}
	for _, k := range d.keys {
		names[k.name] = true
		if k.inner != nil {
			maps.Copy(names, keyNames(k.inner))
		}
	}
	return names
}
