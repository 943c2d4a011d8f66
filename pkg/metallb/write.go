package metallb

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

const mapping, sequence = yaml.MappingNode, yaml.SequenceNode

// origin is where a line of the text comes from.
type origin struct {
	object *object
	field  string
	line   int // of the field, 0 if the object says it
}

// entry is a key of the text. Its value is a *yaml.Node, a []listItem or a []*element.
type entry struct {
	key   string
	from  origin
	value any
}

// listItem is an element of a list of values.
type listItem struct {
	*yaml.Node
	from origin
}

// element is an element of a list of mappings.
type element struct {
	from    origin
	also    []*object // the objects whose notes are comments of this element, too
	entries []entry
	// disabled writes the element as a comment.
	disabled bool
}

func (e *element) add(key string, from origin, value any) {
	e.entries = append(e.entries, entry{key, from, value})
}

func (e *element) addItems(key string, from origin, items []item) {
	var list []listItem
	for _, i := range items {
		at := from
		at.line = i.line
		list = append(list, listItem{scalar(i.text), at})
	}
	if len(list) > 0 {
		e.add(key, from, list)
	}
}

func (e *element) addSelectors(key string, from origin, selectors []selector) {
	var list []listItem
	for _, s := range selectors {
		at := from
		at.line = s.line
		list = append(list, listItem{s.out, at})
	}
	if len(list) > 0 {
		e.add(key, from, list)
	}
}

func (e *element) addElements(key string, from origin, list []*element) {
	if len(list) > 0 {
		e.add(key, from, list)
	}
}

// identity is the same for two elements with the same keys and values.
func (e *element) identity() string {
	w := &writer{}
	w.element(0, e)
	return strings.Join(w.lines, "\n")
}

func integer(n int64) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatInt(n, 10)}
}

func boolean(b bool) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(b)}
}

// writer writes the text, and remembers for each line where it comes from.
type writer struct {
	lines   []string
	origins []origin
	// comments returns the comments of an element, nil for none.
	comments func(*element) []string
}

func (w *writer) line(indent int, from origin, text string) {
	w.lines = append(w.lines, strings.Repeat(" ", indent)+text)
	w.origins = append(w.origins, from)
}

// width is the length of the longest line of a comment.
const width = 100

// comment writes a comment, and breaks it into lines.
func (w *writer) comment(indent int, text string) {
	line := "#"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > width-indent && line != "#" {
			w.line(indent, origin{}, line)
			line = "#  "
		}
		line += " " + word
	}
	w.line(indent, origin{}, line)
}

// element writes an element of a list, with its comments before it.
func (w *writer) element(indent int, e *element) {
	if w.comments != nil {
		for _, text := range w.comments(e) {
			w.comment(indent, text)
		}
	}
	to := w
	if e.disabled {
		to = &writer{}
	}
	for i, entry := range e.entries {
		begin := "  "
		if i == 0 {
			begin = "- "
		}
		to.entry(indent, begin, entry)
	}
	if e.disabled {
		for _, line := range to.lines {
			w.line(indent, origin{}, "# "+strings.TrimPrefix(line, strings.Repeat(" ", indent)))
		}
	}
}

func (w *writer) entry(indent int, begin string, e entry) {
	switch value := e.value.(type) {
	case *yaml.Node:
		w.line(indent, e.from, fmt.Sprintf("%s%s: %s", begin, inline(scalar(e.key)), inline(value)))
	case []listItem:
		w.line(indent, e.from, begin+e.key+":")
		for _, v := range value {
			w.line(indent+4, v.from, "- "+inline(v.Node))
		}
	case []*element:
		w.line(indent, e.from, begin+e.key+":")
		for _, v := range value {
			w.element(indent+4, v)
		}
	}
}

// inline returns a value in one line.
func inline(n *yaml.Node) string {
	text, err := yaml.Marshal(n)
	if err != nil { // a node of texts always has a form
		return strconv.Quote(n.Value)
	}
	return strings.TrimSuffix(string(text), "\n")
}

// section writes a key of the configuration with its elements or entries.
func (w *writer) section(key string, elements []*element, entries []entry) {
	if len(elements)+len(entries) == 0 {
		return
	}
	begin := "# "
	for _, e := range elements {
		if !e.disabled {
			begin = ""
		}
	}
	if len(entries) > 0 {
		begin = ""
	}
	w.line(0, origin{}, "")
	w.line(0, origin{}, begin+key+":")
	for _, e := range entries {
		w.entry(2, "", e)
	}
	for _, e := range elements {
		w.element(2, e)
	}
}
