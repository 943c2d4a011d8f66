package configmap_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

const manifest = `# The namespace comes first.
apiVersion: v1
kind: Namespace
metadata: {name: baremetal-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {namespace: baremetal-system, name: config}
data:
  config: |
    address-pools:
    - name: a
      protocol: layer3
`

func TestTextKnowsItsPlaceInTheManifest(t *testing.T) {
	for name, test := range map[string]struct {
		file         string
		line, column int
	}{
		"literal":               {manifest, 10, 4},
		"more indentation":      {strings.ReplaceAll(manifest, "    ", "         "), 10, 9},
		"empty line first":      {strings.Replace(manifest, "config: |\n", "config: |-\n\n", 1), 10, 4},
		"indentation indicator": {strings.Replace(manifest, "config: |\n", "config: |2 # two\n", 1), 10, 4},
		"line breaks":           {strings.ReplaceAll(manifest, "\n", "\r\n"), 10, 4},
		"in a list":             {"kind: List\nitems:\n- kind: Service\n- kind: ConfigMap\n  data:\n    config: |\n      peers: []\n", 6, 6},
	} {
		source, err := configmap.Text([]byte(test.file), configmap.DefaultRef)
		if err != nil || source.Line != test.line || source.Column != test.column {
			t.Errorf("%s: line %d column %d (%v)", name, source.Line, source.Column, err)
		}
	}
	source, err := configmap.Text([]byte(manifest), configmap.DefaultRef)
	if err != nil {
		t.Fatal(err)
	}
	_, err = config.Parse(source.Text)
	if err == nil || !strings.HasPrefix(err.Error(), "line 2: pool \"a\": addresses: ") || !strings.Contains(err.Error(), "\nline 3: pool \"a\": protocol: ") {
		t.Errorf("got %v", err)
	}
}

func TestTextReturnsOtherFilesUnchanged(t *testing.T) {
	for _, text := range []string{"", "address-pools: []\n", "a: [", "- a\n", "kind: Deployment\n", "a: b\n---\nc: [", "kind: List\n", strings.Repeat("#\n", 300_000)} {
		got, err := configmap.Text([]byte(text), configmap.DefaultRef)
		if string(got.Text) != text || got.Line != 0 || got.Column != 0 || err != nil {
			t.Errorf("%.40q became %.40q (%v)", text, got.Text, err)
		}
	}
	for name, file := range map[string]string{
		"JSON":   `{"kind": "ConfigMap", "data": {"config": "address-pools: []"}}`,
		"quoted": "kind: ConfigMap\ndata:\n  config: 'address-pools: []'\n",
		"alias":  "text: &a 'address-pools: []'\nkind: ConfigMap\ndata: {config: *a}\n",
		"items":  `{"kind": "ConfigMapList", "items": [{"data": {"config": "address-pools: []"}}]}`,
	} {
		if got, err := configmap.Text([]byte(file), configmap.DefaultRef); string(got.Text) != "address-pools: []" || got.Line != 0 || err != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestTextTakesTheConfigMapOfTheName(t *testing.T) {
	object := func(metadata, text string) string {
		return "---\nkind: ConfigMap\nmetadata: {" + metadata + "}\ndata:\n  config: " + text + "\n"
	}
	for name, test := range map[string]struct{ file, want, err string }{
		"alone, whatever its name is": {object("name: x, namespace: y", "alone"), "alone", ""},
		"the right name":              {object("name: x", "wrong") + object("name: config, namespace: baremetal-system", "right"), "right", ""},
		"no namespace":                {object("name: config", "right") + object("name: x", "wrong"), "right", ""},
		"namespace before none":       {object("name: config", "wrong") + object("name: config, namespace: baremetal-system", "right"), "right", ""},
		"in a list":                   {"kind: List\nitems:\n- {kind: ConfigMap, metadata: {name: x}}\n- {kind: ConfigMap, metadata: {name: config}, data: {config: right}}\n", "right", ""},
		"no right one":                {object("name: config, namespace: a", "x") + object("name: b", "y"), "", "the file has 2 ConfigMaps, but not baremetal-system/config: it has a/config, b; select one of them with --config-map"},
		"twice":                       {object("name: config", "x") + object("name: config", "y"), "", "the file has the ConfigMap baremetal-system/config 2 times: remove all but one"},
	} {
		got, err := configmap.Text([]byte(test.file), configmap.DefaultRef)
		if string(got.Text) != test.want || (err != nil || test.err != "") && fmt.Sprint(err) != test.err {
			t.Errorf("%s: %q, %v", name, got.Text, err)
		}
	}
	got, err := configmap.Text([]byte(object("name: config", "x")+object("name: b, namespace: a", "y")), configmap.Ref{Namespace: "a", Name: "b"})
	if err != nil || string(got.Text) != "y" {
		t.Errorf("another name: %q, %v", got.Text, err)
	}
}

func TestTextRefusesAWrongManifest(t *testing.T) {
	for file, want := range map[string]string{
		"kind: ConfigMap\ndata: {other: x}\n":                        `the manifest of the ConfigMap has no key "config" in its data`,
		"kind: ConfigMap\n":                                          `the manifest of the ConfigMap has no key "config" in its data`,
		"kind: ConfigMap\ndata:\n  config:\n    address-pools: []\n": `line 3: the value of config must be a text, but it is a mapping or a list: write "config: |", and indent the lines after it`,
		"kind: ConfigMap\ndata: {config: []}\n":                      "line 2: the value of config must be a text",
		"kind: Service\n---\nkind: ConfigMap\n\tdata: {}\n":          "line 4: not valid YAML: the line is indented with a tab",
	} {
		got, err := configmap.Text([]byte(file), configmap.DefaultRef)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %q, %v", file, got.Text, err)
		}
		if e, ok := errors.AsType[*config.Error](err); strings.HasPrefix(want, "line ") && (!ok || e.Line == 0) {
			t.Errorf("%q: the error does not know its line", file)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, text := range []string{
		"", "address-pools: []\n", "kind: ConfigMap\ndata:\n  config: |\n    address-pools: []\n", "a: &a [*a]\n---\nkind: ConfigMap\ndata: {config: x}\n",
		"kind: List\nitems: &i\n- {kind: ConfigMap, metadata: {name: config}, data: {config: x}}\n- {kind: List, items: *i}\n", manifest,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		source, err := configmap.Text(file, configmap.DefaultRef)
		if err != nil {
			return
		}
		if lines := strings.Count(string(file), "\n"); source.Line < 0 || source.Line > lines+1 && !strings.ContainsAny(string(file), "\r\u0085\u2028\u2029") || source.Column < 0 {
			t.Errorf("line %d column %d in a file of %d lines", source.Line, source.Column, lines)
		}
		c, err := config.Parse(source.Text)
		if (c == nil) == (err == nil) {
			t.Errorf("neither a configuration nor an error: %v, %v", c, err)
		}
	})
}
