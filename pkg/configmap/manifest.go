package configmap

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// Source is the text of a configuration, and its place in the file that it was read from.
type Source struct {
	Text []byte
	// Line is the number of lines of the file before the first line of Text. It is 0 if Text
	// is the whole file, or if the manifest has it as a quoted or folded value, whose lines
	// are not the lines of the file.
	Line int
	// Column is by how many columns the file indents the lines of Text.
	Column int
}

// Text returns the configuration in a file: the file itself, or the value of Key if the
// file has the manifest of a ConfigMap, alone, between other YAML documents, or in a list
// like that of kubectl get -o yaml. If there are several ConfigMaps, it takes the one that
// ref names.
//
// A manifest without that ConfigMap, or with a mistake around its text, is an error. It is
// a *config.Error, with the line in the file, if the line is known.
func Text(file []byte, ref Ref) (Source, error) {
	documents, broken := config.Documents(file)
	if large := config.TooLarge(file); large != nil && bytes.Contains(file, []byte("kind:")) {
		large.Msg += ". If the file has other objects, too, give only the manifest of the ConfigMap"
		return Source{}, large
	}
	found := objects(documents)
	if broken != nil && len(found) > 0 {
		return Source{}, broken
	}
	configMaps := ofKind(found, "ConfigMap")
	if broken != nil || len(configMaps) == 0 {
		return Source{Text: file}, nil // not a manifest, or not YAML: the parser has a better error
	}
	cm, err := choose(configMaps, ref)
	if err != nil {
		return Source{}, err
	}
	_, data := field(cm, "data")
	key, value := field(data, Key)
	switch {
	case value == nil:
		return Source{}, fmt.Errorf("the manifest of the ConfigMap has no key %q in its data", Key)
	case value.Kind != yaml.ScalarNode:
		return Source{}, &config.Error{Line: key.Line, Column: key.Column, Msg: fmt.Sprintf("the value of %s must be a text, but it is a mapping or a list: write \"%[1]s: |\", and indent the lines after it", Key)}
	case value.Style&yaml.LiteralStyle == 0:
		return Source{Text: []byte(value.Value)}, nil
	}
	text := []byte(value.Value)
	return Source{Text: text, Line: value.Line, Column: indentation(file, value.Line, text)}, nil
}

// object is a Kubernetes object in a file.
type object struct {
	kind string
	node *yaml.Node
}

// objects returns the Kubernetes objects of the documents. Instead of a list it returns its
// items.
func objects(documents []*yaml.Node) (found []object) {
	seen := map[*yaml.Node]bool{} // an alias can repeat an item many times
	for _, document := range documents {
		root := deref(document.Content[0])
		_, kind := field(root, "kind")
		if kind == nil {
			continue
		}
		_, items := field(root, "items")
		itemKind, isList := strings.CutSuffix(kind.Value, "List")
		if !isList || items == nil || items.Kind != yaml.SequenceNode {
			found = append(found, object{kind.Value, root})
			continue
		}
		for _, item := range items.Content {
			if item = deref(item); seen[item] {
				continue
			}
			seen[item] = true
			kind := itemKind // the items of a ConfigMapList have no kind
			if _, own := field(item, "kind"); own != nil {
				kind = own.Value
			}
			found = append(found, object{kind, item})
		}
	}
	return found
}

func ofKind(objects []object, kind string) (nodes []*yaml.Node) {
	for _, o := range objects {
		if o.kind == kind {
			nodes = append(nodes, o.node)
		}
	}
	return nodes
}

// maxListed is how many ConfigMaps an error lists.
const maxListed = 10

// choose returns the only ConfigMap, or the one that ref names. A manifest may leave out
// the namespace.
func choose(configMaps []*yaml.Node, ref Ref) (*yaml.Node, error) {
	if len(configMaps) == 1 {
		return configMaps[0], nil
	}
	named := map[Ref][]*yaml.Node{}
	var names []string
	for _, cm := range configMaps {
		r := refOf(cm)
		named[r] = append(named[r], cm)
		if len(names) < maxListed {
			names = append(names, strings.TrimPrefix(r.String(), "/"))
		}
	}
	right := named[ref]
	if len(right) == 0 {
		right = named[Ref{Name: ref.Name}]
	}
	switch len(right) {
	case 1:
		return right[0], nil
	case 0:
		if len(configMaps) > maxListed {
			names = append(names, "…")
		}
		return nil, fmt.Errorf("the file has %d ConfigMaps, but not %s: it has %s; select one of them with --config-map", len(configMaps), &ref, strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("the file has the ConfigMap %s %d times: remove all but one", &ref, len(right))
}

func refOf(cm *yaml.Node) Ref {
	var r Ref
	_, metadata := field(cm, "metadata")
	if _, name := field(metadata, "name"); name != nil {
		r.Name = name.Value
	}
	if _, namespace := field(metadata, "namespace"); namespace != nil {
		r.Namespace = namespace.Value
	}
	return r
}

// field returns a key of a mapping and its value, or nil.
func field(n *yaml.Node, name string) (key, value *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := deref(n.Content[i]); key.Value == name {
			return key, deref(n.Content[i+1])
		}
	}
	return nil, nil
}

func deref(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// indentation returns by how many columns a file indents a text that begins after a number
// of lines. It compares the first line of the text that is not empty.
func indentation(file []byte, before int, text []byte) int {
	lineBreak := []byte("\n")
	for range before {
		_, file, _ = bytes.Cut(file, lineBreak)
	}
	for len(text) > 0 {
		var inFile, inText []byte
		inFile, file, _ = bytes.Cut(file, lineBreak)
		inText, text, _ = bytes.Cut(text, lineBreak)
		if len(inText) == 0 {
			continue
		}
		indent, ok := bytes.CutSuffix(bytes.TrimSuffix(inFile, []byte("\r")), inText)
		if !ok {
			return 0
		}
		return len(indent)
	}
	return 0
}
