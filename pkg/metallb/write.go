package metallb

import (
	"fmt"
	"slices"
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

// text returns the configuration, and the origin of each of its lines.
func (c *converter) text() (string, []origin) {
	if !c.hasResources {
		return c.legacyText()
	}
	var pools, peers []*element
	for _, p := range c.sortedPools() {
		pools = append(pools, c.poolElement(p))
	}
	for _, p := range c.peers {
		c.checkFamilies(p)
		peers = append(peers, p.out)
	}
	c.noteAdvertisements()
	c.demote()
	for _, l := range c.legacy {
		c.note(l.object, "", Ignored, "", "MetalLB does not read this ConfigMap when there are custom resources")
	}
	printed := map[int]bool{}
	body := &writer{comments: func(e *element) []string { return c.comments(e, printed) }}
	body.section("bgp-communities", nil, c.aliases)
	body.section("bfd-profiles", c.profiles, nil)
	body.section("peers", peers, nil)
	body.section("address-pools", pools, nil)
	if len(pools) == 0 {
		body.line(0, origin{}, "")
		body.line(0, origin{}, "address-pools: []")
	}
	head := c.header(printed)
	head.lines, head.origins = append(head.lines, body.lines...), append(head.origins, body.origins...)
	return strings.Join(head.lines, "\n") + "\n", head.origins
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

// comments returns the notes about an element that a person should see there.
func (c *converter) comments(e *element, printed map[int]bool) (texts []string) {
	pool := ""
	if e.from.object != nil && e.from.object.kind == "IPAddressPool" {
		pool = e.from.object.name
	}
	for i, n := range c.notes {
		mine := n.object == e.from.object
		for _, o := range e.also {
			mine = mine || n.object == o
		}
		inPool := n.pool == "" || n.pool == pool || pool == "" && n.object.kind == "BGPAdvertisement"
		if mine && inPool && !printed[i] && n.forPeople() {
			printed[i] = true
			texts = append(texts, n.comment())
		}
	}
	return texts
}

// demote corrects the notes of objects that the text does not have, or has only as a comment.
func (c *converter) demote() {
	missing := map[*object]string{}
	for _, p := range c.peers {
		if !p.converted() {
			missing[p.object] = "the text has the peer only as a comment"
		}
	}
	for _, a := range c.l2 {
		if !c.used[a.object] {
			missing[a.object] = "no pool has anything of this advertisement"
		}
	}
	for _, a := range c.bgp {
		if !c.used[a.object] {
			missing[a.object] = "no pool has anything of this advertisement"
		}
	}
	for i := range c.notes {
		if why := missing[c.notes[i].object]; why != "" && c.notes[i].Outcome == Carried {
			c.notes[i].Outcome, c.notes[i].Message, c.notes[i].quiet = NotCarried, why, true
		}
	}
}

// forPeople reports whether the note belongs into the comments.
func (n Note) forPeople() bool {
	return (n.Outcome == Changed || n.Outcome == NotCarried) && !n.quiet
}

func (n Note) comment() string {
	begin := "CHANGED"
	if n.Outcome == NotCarried {
		begin = "NOT CARRIED OVER"
	}
	return fmt.Sprintf("%s: %s %s: %s", begin, n.Kind, strings.TrimSpace(n.Name+" "+n.Field), n.Message)
}

// header returns the comments at the beginning of the text: those that belong to no element.
func (c *converter) header(printed map[int]bool) *writer {
	w := &writer{}
	r := Result{Notes: c.notes}
	w.comment(0, "Converted from MetalLB by kubectl baremetal convert. Read the comments before you apply it.")
	w.comment(0, fmt.Sprintf("Fields carried over: %d, changed: %d, not carried over: %d.", r.Count(Carried), r.Count(Changed), r.Count(NotCarried)))
	if slices.ContainsFunc(c.peers, func(p *peer) bool { return p.converted() && p.external && !p.multihop }) {
		w.comment(0, "External peers must be on a link of the nodes, unless they have ebgp-multihop: true. MetalLB in the mode native does not need that key.")
	}
	services := 0
	for i, n := range c.notes {
		switch {
		case printed[i] || !n.forPeople():
		case n.Kind == "Service":
			services++
		default:
			w.comment(0, n.comment())
		}
	}
	if services > 0 {
		w.comment(0, fmt.Sprintf("Not carried over of Services: %d. They are not listed here, because they are no part of the configuration.", services))
	}
	return w
}
