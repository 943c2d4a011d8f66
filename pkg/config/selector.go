package config

import (
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// rawSelector is a label selector as it stands in the text.
type rawSelector struct {
	labels       map[string]string
	requirements []labels.Requirement
}

type rawExpression struct {
	key, operator string
	values        []string
}

var selectorSection = section[rawSelector]{name: "a selector", keys: []key[rawSelector]{
	{"match-labels", value{kind: mapOfStrings, doc: "labels and their values; all of them must match", example: "{rack: a7}"},
		func(p *parser, n *yaml.Node, to *rawSelector) { to.labels = p.stringMap(n) }},
	sections("match-expressions", value{doc: "conditions on labels; all of them must be true"}, expressionSection,
		func(p *parser, n *yaml.Node, to *rawSelector, place, _ int) {
			p.within("match-expressions", place, func() { p.expression(n, to) })
		}),
}}

var expressionSection = section[rawExpression]{name: "a match expression", keys: []key[rawExpression]{
	text("key", value{doc: "the name of the label", required: true}, func(to *rawExpression, s string) { to.key = s }),
	text("operator", value{doc: "the condition on the label", required: true, options: []string{"In", "NotIn", "Exists", "DoesNotExist"}},
		func(to *rawExpression, s string) { to.operator = s }),
	list("values", value{doc: "with `In` and `NotIn`: the values, at least one"},
		func(_ *parser, _ *yaml.Node, to *rawExpression, s string) { to.values = append(to.values, s) }),
}}

// selectors makes a key whose value is a list of selectors. One of them must match.
func selectors[T any](name string, v value, set func(*T, labels.Selector)) key[T] {
	return sections(name, v, selectorSection, func(p *parser, n *yaml.Node, to *T, place, _ int) {
		p.within(name, place, func() {
			if s, ok := p.selector(n); ok {
				set(to, s)
			}
		})
	})
}

// selector reads one selector. {} selects everything.
func (p *parser) selector(n *yaml.Node) (labels.Selector, bool) {
	errorsBefore := p.errs.count
	var raw rawSelector
	found := readSection(p, n, selectorSection, &raw)
	p.key = "match-labels"
	for _, name := range slices.Sorted(maps.Keys(raw.labels)) {
		if r, ok := p.requirement(found.at("match-labels", n), name, selection.Equals, []string{raw.labels[name]}); ok {
			raw.requirements = append(raw.requirements, *r)
		}
	}
	p.key = ""
	return labels.NewSelector().Add(raw.requirements...), p.errs.count == errorsBefore
}

var operators = map[string]selection.Operator{"In": selection.In, "NotIn": selection.NotIn, "Exists": selection.Exists, "DoesNotExist": selection.DoesNotExist}

func (p *parser) expression(n *yaml.Node, to *rawSelector) {
	errorsBefore := p.errs.count
	var raw rawExpression
	found := readSection(p, n, expressionSection, &raw)
	if p.errs.count > errorsBefore {
		return
	}
	operator, ok := operators[raw.operator]
	if !ok {
		p.key = "operator"
		p.errorf(found.at("operator", deref(n)), "%q is not an operator: write In, NotIn, Exists or DoesNotExist", raw.operator)
		return
	}
	if p.key = "values"; len(raw.values) == 0 && (operator == selection.In || operator == selection.NotIn) {
		p.errorf(found.at("values", deref(n)), "%s needs at least one value", raw.operator)
		return
	}
	p.key = ""
	if r, ok := p.requirement(deref(n), raw.key, operator, raw.values); ok {
		to.requirements = append(to.requirements, *r)
	}
}

func (p *parser) requirement(at *yaml.Node, label string, operator selection.Operator, values []string) (*labels.Requirement, bool) {
	r, err := labels.NewRequirement(label, operator, values)
	if err != nil {
		p.errorf(at, "%v", err)
	}
	return r, err == nil
}

// stringMap reads a mapping of strings.
func (p *parser) stringMap(n *yaml.Node) map[string]string {
	m := map[string]string{}
	for _, e := range p.mapping(n, "the value").all {
		if s, ok := p.str(e.value); ok {
			m[e.key] = s
		}
	}
	return m
}
