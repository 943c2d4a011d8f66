package configmap

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Text returns the configuration in a file: the file itself, or the value of Key if the
// file is the manifest of a ConfigMap. A value from a manifest begins with as many empty
// lines as the manifest has before it, so that a line has the same number in both. (In a
// folded or quoted value the numbers differ.) A manifest of a ConfigMap without the key is
// an error.
func Text(file []byte) ([]byte, error) {
	var missing error
	documents := yaml.NewDecoder(bytes.NewReader(file))
	for {
		var document yaml.Node
		if documents.Decode(&document) != nil {
			return file, missing // not a manifest, or not YAML: the parser has a better error
		}
		root := document.Content[0]
		kind, value := field(root, "kind"), field(field(root, "data"), Key)
		switch {
		case kind == nil || kind.Value != "ConfigMap":
		case value == nil:
			missing = fmt.Errorf("the manifest of the ConfigMap has no key %q in its data", Key)
		case value.Style&yaml.LiteralStyle == 0:
			return []byte(value.Value), nil
		default:
			return append(bytes.Repeat([]byte("\n"), value.Line), value.Value...), nil
		}
	}
}

// field returns the value of a key, or nil.
func field(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
