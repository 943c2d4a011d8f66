package metallb

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/quote"
)

// group is the API group of MetalLB's custom resources.
const group = "metallb.io"

// legacyKind stands for the kind of a file that is no Kubernetes object, but the text of a
// ConfigMap of MetalLB 0.12.
const legacyKind = "configuration of MetalLB 0.12"

// Source is a file with YAML documents, each a Kubernetes object or a list of objects.
type Source struct {
	// Name is the name of the file, for messages.
	Name string
	Text []byte
	// FromCluster is true for an object that the API server returned: it has no file, so
	// messages name neither a document nor a line.
	FromCluster bool
}

// object is a Kubernetes object.
type object struct {
	source           string
	document         int // counted from 1; 0 for an object of the cluster
	place            int // of the object among all objects
	apiVersion, kind string
	namespace, name  string
	labels           map[string]string
	root             *yaml.Node
	// legacy is the text of a file that is itself a configuration of MetalLB 0.12.
	legacy string
}

// String returns the kind and the name.
func (o *object) String() string { return strings.TrimSpace(o.kind + " " + o.name) }

// line returns the line of a field, or the line of its closest parent that the object has. It
// is 0 for an object of the cluster.
func (o *object) line(field string) int {
	if o.document == 0 {
		return 0
	}
	n := o.root
	line := n.Line
	for _, step := range strings.Split(field, ".") {
		key, value := lookUp(n, strings.TrimSuffix(step, "[]"))
		if value == nil {
			return line
		}
		line, n = key.Line, value
	}
	return line
}

// Limits of what aliases can make of a text.
const (
	maxNodes = 200_000
	maxDepth = 100
)

// read returns the objects of a source, and what is wrong with its documents.
func read(s Source) (found []*object, errs Errors) {
	documents, broken := config.Documents(s.Text)
	if broken != nil {
		return nil, Errors{&Error{Source: s.Name, Line: broken.Line, Document: len(documents) + 1, Msg: broken.Msg}}
	}
	budget := maxNodes
	for i, d := range documents {
		root, err := expand(d.Content[0], &budget, 0)
		var objects []*object
		if err == nil {
			objects, err = objectsOf(root)
		}
		if err != nil {
			errs = append(errs, &Error{Source: s.Name, Line: d.Content[0].Line, Document: i + 1, Msg: err.Error()})
		}
		for _, o := range objects {
			if o.source = s.Name; !s.FromCluster {
				o.document = i + 1
			}
			if o.kind == legacyKind {
				if len(documents) > 1 {
					errs = append(errs, &Error{Source: s.Name, Line: root.Line, Document: i + 1, Msg: "this document is a configuration of MetalLB 0.12, and no Kubernetes object: give it in a file of its own"})
				}
				o.legacy = string(s.Text)
			}
			found = append(found, o)
		}
	}
	return found, errs
}

// expand returns the node with all aliases and merge keys replaced by what they stand for.
func expand(n *yaml.Node, budget *int, depth int) (*yaml.Node, error) {
	if *budget--; *budget < 0 || depth > maxDepth {
		return nil, fmt.Errorf("the document is too large or too deep, also because of aliases like *name: write the objects without aliases, in several files")
	}
	if n.Kind == yaml.AliasNode {
		return expand(n.Alias, budget, depth+1)
	}
	copied := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value, Style: n.Style, Line: n.Line, Column: n.Column}
	var merged []*yaml.Node
	for i, child := range n.Content {
		inner, err := expand(child, budget, depth+1)
		if err != nil {
			return nil, err
		}
		if n.Kind == yaml.MappingNode && i%2 == 1 && n.Content[i-1].ShortTag() == "!!merge" {
			copied.Content = copied.Content[:len(copied.Content)-1]
			merged = append(merged, inner)
			continue
		}
		copied.Content = append(copied.Content, inner)
	}
	for _, m := range merged {
		mergeInto(copied, m)
	}
	return copied, nil
}

// mergeInto adds the keys of a mapping, or of a list of mappings, that the target does not
// have.
func mergeInto(target, m *yaml.Node) {
	if m.Kind == yaml.SequenceNode {
		for _, one := range m.Content {
			mergeInto(target, one)
		}
	}
	if m.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if _, own := lookUp(target, m.Content[i].Value); own == nil {
			target.Content = append(target.Content, m.Content[i], m.Content[i+1])
		}
	}
}

// objectsOf returns the object of a document, or the items of a list.
func objectsOf(root *yaml.Node) ([]*object, error) {
	if isNull(root) {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("a Kubernetes object is expected, with apiVersion, kind and metadata")
	}
	kind := text(root, "kind")
	if _, pools := lookUp(root, "address-pools"); kind == "" && pools != nil {
		return []*object{{kind: legacyKind, root: root}}, nil
	}
	if kind == "" {
		return nil, fmt.Errorf("the document has no kind: a Kubernetes object is expected, with apiVersion, kind and metadata")
	}
	_, items := lookUp(root, "items")
	itemKind, isList := strings.CutSuffix(kind, "List")
	if !isList || items == nil {
		return []*object{newObject(root, kind, text(root, "apiVersion"))}, nil
	}
	var found []*object
	if items.Kind != yaml.SequenceNode && !isNull(items) {
		return nil, fmt.Errorf("the items of %s must be a list", kind)
	}
	for i, item := range items.Content {
		if item.Kind != yaml.MappingNode {
			return nil, fmt.Errorf("item %d of %s is not a Kubernetes object", i+1, kind)
		}
		o := newObject(item, text(item, "kind"), text(item, "apiVersion"))
		if o.kind == "" { // the items of a typed list may have neither
			o.kind, o.apiVersion = itemKind, text(root, "apiVersion")
		}
		found = append(found, o)
	}
	return found, nil
}

func newObject(root *yaml.Node, kind, apiVersion string) *object {
	_, metadata := lookUp(root, "metadata")
	o := &object{kind: kind, apiVersion: apiVersion, name: text(metadata, "name"), namespace: text(metadata, "namespace"), labels: map[string]string{}, root: root}
	if _, l := lookUp(metadata, "labels"); l != nil && l.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(l.Content); i += 2 {
			o.labels[l.Content[i].Value] = l.Content[i+1].Value
		}
	}
	return o
}

// group returns the API group of the object, "" for the core group.
func (o *object) group() string {
	g, _, ok := strings.Cut(o.apiVersion, "/")
	if !ok {
		return ""
	}
	return g
}

// version returns the API version of the object without its group.
func (o *object) version() string {
	_, v, ok := strings.Cut(o.apiVersion, "/")
	if !ok {
		return o.apiVersion
	}
	return v
}

// lookUp returns a key of a mapping and its value, or nil.
func lookUp(n *yaml.Node, name string) (key, value *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

// text returns the value of a key as it is written, "" if there is none.
func text(n *yaml.Node, name string) string {
	if _, value := lookUp(n, name); value != nil && value.Kind == yaml.ScalarNode && !isNull(value) {
		return value.Value
	}
	return ""
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// describe returns what a value is, for messages.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	return quote.Short(n.Value)
}
