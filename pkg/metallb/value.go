package metallb

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// fields reads the values of a mapping of an object. A value of the wrong type is an error
// of the converter.
type fields struct {
	c    *converter
	o    *object
	path string
	n    *yaml.Node // nil if the object does not have the mapping
}

// spec returns the spec of an object.
func (c *converter) spec(o *object) fields {
	return fields{c: c, o: o, n: o.root}.inner("spec")
}

// at returns the path of a field.
func (f fields) at(name string) string {
	if f.path == "" {
		return name
	}
	return f.path + "." + name
}

// inner returns the mapping in a field.
func (f fields) inner(name string) fields {
	value := f.value(name)
	if value != nil && value.Kind != yaml.MappingNode {
		f.c.fail(f.o, f.at(name), "must be a mapping, and is %s", describe(value))
		value = nil
	}
	return fields{f.c, f.o, f.at(name), value}
}

// value returns the value of a field, nil if the object does not have it or if it is null.
func (f fields) value(name string) *yaml.Node {
	_, value := lookUp(f.n, name)
	if value == nil || isNull(value) {
		return nil
	}
	return value
}

// text returns a string as it is written.
func (f fields) text(name string) (text string, ok bool) {
	value := f.value(name)
	if value == nil {
		return "", false
	}
	if value.Kind != yaml.ScalarNode {
		f.c.fail(f.o, f.at(name), "must be a text, and is %s", describe(value))
		return "", false
	}
	return value.Value, true
}

// boolean returns true or false.
func (f fields) boolean(name string) (value, ok bool) {
	n := f.value(name)
	if n == nil {
		return false, false
	}
	if n.Kind == yaml.ScalarNode && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0 {
		switch strings.ToLower(n.Value) { // those of YAML 1.1, which Kubernetes reads
		case "true", "yes", "on":
			return true, true
		case "false", "no", "off":
			return false, true
		}
	}
	f.c.fail(f.o, f.at(name), "must be true or false, and is %s", describe(n))
	return false, false
}

// number returns a whole number.
func (f fields) number(name string) (value int64, ok bool) {
	n := f.value(name)
	if n == nil {
		return 0, false
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" {
		if value, err := strconv.ParseInt(strings.ReplaceAll(n.Value, "_", ""), 0, 64); err == nil {
			return value, true
		}
	}
	f.c.fail(f.o, f.at(name), "must be a whole number, and is %s", describe(n))
	return 0, false
}

// list returns the elements of a list.
func (f fields) list(name string) []*yaml.Node {
	value := f.value(name)
	if value == nil {
		return nil
	}
	if value.Kind != yaml.SequenceNode {
		f.c.fail(f.o, f.at(name), "must be a list, and is %s", describe(value))
		return nil
	}
	return value.Content
}

// item is an element of a list of texts.
type item struct {
	text string
	line int
}

// texts returns the elements of a list of texts.
func (f fields) texts(name string) (items []item) {
	for _, n := range f.list(name) {
		if n.Kind != yaml.ScalarNode || isNull(n) {
			f.c.fail(f.o, f.at(name), "must be a list of texts, and has %s in it", describe(n))
			continue
		}
		items = append(items, item{n.Value, n.Line})
	}
	return items
}

// selector is a label selector.
type selector struct {
	labels.Selector
	out  *yaml.Node // as this project's configuration has it
	line int
}

// everything reports whether the selector selects all objects.
func (s selector) everything() bool { return s.Empty() }

// selectors returns the elements of a list of label selectors.
func (f fields) selectors(name string) (found []selector) {
	for _, n := range f.list(name) {
		if s, ok := f.selector(name, n); ok {
			found = append(found, s)
		}
	}
	return found
}

var operators = map[string]selection.Operator{"In": selection.In, "NotIn": selection.NotIn, "Exists": selection.Exists, "DoesNotExist": selection.DoesNotExist}

func (f fields) selector(name string, n *yaml.Node) (selector, bool) {
	if n.Kind != yaml.MappingNode {
		f.c.fail(f.o, f.at(name), "must be a list of label selectors, and has %s in it", describe(n))
		return selector{}, false
	}
	s := selector{Selector: labels.NewSelector(), out: &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}, line: n.Line}
	require := func(key string, op selection.Operator, values []string) bool {
		r, err := labels.NewRequirement(key, op, values)
		if err != nil {
			f.c.fail(f.o, f.at(name), "%v", err)
			return false
		}
		s.Selector = s.Add(*r)
		return true
	}
	inner := fields{f.c, f.o, f.at(name), n}
	matchLabels := inner.inner("matchLabels")
	wanted := map[string]string{}
	for i := 0; matchLabels.n != nil && i+1 < len(matchLabels.n.Content); i += 2 {
		key := matchLabels.n.Content[i].Value
		wanted[key], _ = matchLabels.text(key)
	}
	if len(wanted) > 0 {
		out := flow(yaml.MappingNode)
		for _, key := range slices.Sorted(maps.Keys(wanted)) {
			if !require(key, selection.Equals, []string{wanted[key]}) {
				return selector{}, false
			}
			out.Content = append(out.Content, scalar(key), scalar(wanted[key]))
		}
		s.out.Content = append(s.out.Content, scalar("match-labels"), out)
	}
	expressions := flow(yaml.SequenceNode)
	for _, e := range inner.list("matchExpressions") {
		expression := fields{f.c, f.o, inner.at("matchExpressions"), e}
		key, _ := expression.text("key")
		operator, _ := expression.text("operator")
		var values []string
		for _, v := range expression.texts("values") {
			values = append(values, v.text)
		}
		op, known := operators[operator]
		if !known {
			f.c.fail(f.o, f.at(name), "the operator of an expression is %q: write In, NotIn, Exists or DoesNotExist", operator)
			return selector{}, false
		}
		if !require(key, op, values) {
			return selector{}, false
		}
		out := flow(yaml.MappingNode, scalar("key"), scalar(key), scalar("operator"), scalar(operator))
		if len(values) > 0 {
			list := flow(yaml.SequenceNode)
			for _, v := range values {
				list.Content = append(list.Content, scalar(v))
			}
			out.Content = append(out.Content, scalar("values"), list)
		}
		expressions.Content = append(expressions.Content, out)
	}
	if len(expressions.Content) > 0 {
		s.out.Content = append(s.out.Content, scalar("match-expressions"), expressions)
	}
	return s, true
}

// same reports whether two lists select the same, as far as the text of the selectors shows.
func same(a, b []selector) bool {
	a, b = normal(a), normal(b)
	return slices.EqualFunc(a, b, func(a, b selector) bool { return a.String() == b.String() })
}

// normal returns a list without duplicates, in an order that does not depend on the file.
// A list that selects everything is empty.
func normal(list []selector) []selector {
	if slices.ContainsFunc(list, selector.everything) {
		return nil
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b selector) int { return strings.Compare(a.String(), b.String()) })
	return slices.CompactFunc(list, func(a, b selector) bool { return a.String() == b.String() })
}

// union returns a list that selects what one of the lists selects.
func union(lists ...[]selector) (all []selector) {
	for _, list := range lists {
		if len(normal(list)) == 0 {
			return nil
		}
		for _, s := range list {
			if !slices.ContainsFunc(all, func(other selector) bool { return other.String() == s.String() }) {
				all = append(all, s)
			}
		}
	}
	return all
}

func flow(kind yaml.Kind, content ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: kind, Style: yaml.FlowStyle, Content: content}
}

// scalar returns a text. The YAML library quotes it where that is necessary.
func scalar(text string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(text)
	if strings.ContainsAny(text, "\n\r") {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}
