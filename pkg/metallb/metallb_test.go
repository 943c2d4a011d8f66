package metallb_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/metallb"
)

var update = flag.Bool("update", false, "write the expected files")

// convert converts one file.
func convert(name, text string) (metallb.Result, error) {
	return metallb.Convert([]metallb.Source{{Name: name, Text: []byte(text)}}, metallb.Options{Classes: []string{"lb.baremetal/default"}})
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// converted converts a file of testdata.
func converted(t *testing.T, name string) metallb.Result {
	t.Helper()
	r, err := convert(name, read(t, filepath.Join("testdata", name)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return r
}

// The golden files have the text, the parser's warnings, and each note.
func TestConvertWritesTheExpectedFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/good-*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		r := converted(t, filepath.Base(file))
		var b strings.Builder
		b.WriteString(r.Text + "\n# Warnings and notes:\n")
		for _, w := range r.Warnings {
			fmt.Fprintf(&b, "# warning: %s\n", w)
		}
		for _, n := range r.Notes {
			fmt.Fprintf(&b, "# %s\t%s\t%s\n", n.Outcome, n.Key, n)
		}
		golden := strings.TrimSuffix(file, ".yaml") + ".golden"
		if *update {
			if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want := read(t, golden); b.String() != want {
			t.Errorf("%s: got\n%s\nwant\n%s\nCompare, and run go test ./pkg/metallb -update if the change is right.", file, b.String(), want)
		}
	}
}

// crdFields returns the fields of MetalLB's custom resources, by kind.
func crdFields(t *testing.T) map[string][]string {
	t.Helper()
	fields := map[string][]string{}
	for line := range strings.Lines(read(t, "testdata/crd-fields.txt")) {
		if words := strings.Fields(line); len(words) == 3 && words[0] != "#" {
			fields[words[0]] = append(fields[words[0]], words[2])
		}
	}
	if len(fields) != 6 {
		t.Fatalf("fields of %d kinds", len(fields))
	}
	return fields
}

func TestFieldsAreThoseOfTheResourceDefinitions(t *testing.T) {
	known := map[string]bool{}
	for _, f := range metallb.Fields() {
		known[f.Kind+" "+f.Path] = true
	}
	used := map[string]bool{}
	for kind, paths := range crdFields(t) {
		for _, path := range paths {
			// The fields inside a selector are those of Kubernetes.
			path, _, _ = strings.Cut(path, "[].match")
			if !known[kind+" "+path] {
				t.Errorf("MetalLB has %s of %s: add it to Fields", path, kind)
			}
			used[kind+" "+path] = true
		}
	}
	for name := range known {
		if !used[name] {
			t.Errorf("MetalLB does not have %s", name)
		}
	}
}

func TestConvertNotesEveryFieldThatMetalLBHas(t *testing.T) {
	text := read(t, "testdata/all-fields.yaml")
	r, err := convert("all-fields.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	present := specFields(t, text)
	for kind, paths := range crdFields(t) {
		for _, path := range paths {
			if path, _, _ = strings.Cut(path, "[].match"); !present[kind+" "+path] {
				t.Errorf("all-fields.yaml has no %s of %s", path, kind)
			}
		}
	}
	for _, n := range r.Notes {
		if strings.Contains(n.Message, "no such field") {
			t.Error(n)
		}
	}
	checkEveryFieldHasANote(t, text, r)
}

func TestConvertNotesEveryFieldOfEveryObject(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		checkEveryFieldHasANote(t, read(t, file), converted(t, filepath.Base(file)))
	}
}

// checkEveryFieldHasANote fails if a field in a spec of a custom resource has no note.
func checkEveryFieldHasANote(t *testing.T, text string, r metallb.Result) {
	t.Helper()
	noted := map[string]bool{}
	for _, n := range r.Notes {
		noted[n.Kind+" "+n.Field] = true
		if n.Field == "" {
			noted[n.Kind] = true
		}
		if n.Message == "" && n.Outcome != metallb.Carried {
			t.Errorf("%s has no message", n.Subject())
		}
	}
	for field := range specFields(t, text) {
		kind, path, _ := strings.Cut(field, " ")
		ok := kind == "AddressPool" && noted[kind]
		for !ok && path != "" { // a note about an unknown field is also about the fields inside
			ok = noted[kind+" "+path]
			path = strings.TrimSuffix(path[:max(0, strings.LastIndex(path, "."))], "[]")
		}
		if !ok {
			t.Errorf("%s has no note", field)
		}
	}
}

// specFields returns the fields in the specs of MetalLB's custom resources, as Fields has
// their paths.
func specFields(t *testing.T, text string) map[string]bool {
	t.Helper()
	known, selectors := map[string]bool{}, map[string]bool{}
	for _, f := range metallb.Fields() {
		known[f.Kind+" "+f.Path] = true
		selectors[f.Kind+" "+f.Path] = strings.HasSuffix(f.Path, "Selectors")
	}
	found := map[string]bool{}
	var walk func(kind, path string, value any)
	walk = func(kind, path string, value any) {
		if selectors[kind+" "+path] || known[kind+" "+path] {
			found[kind+" "+path] = true
			return
		}
		switch value := value.(type) {
		case map[string]any:
			for key, inner := range value {
				walk(kind, path+"."+key, inner)
			}
		case []any:
			for _, inner := range value {
				walk(kind, path+"[]", inner)
			}
		default:
			if value != nil || path != "spec" {
				found[kind+" "+path] = true
			}
		}
	}
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(text)))
	for {
		var object map[string]any
		if decoder.Decode(&object) != nil {
			return found
		}
		objects := []any{object}
		if items, ok := object["items"].([]any); ok {
			objects = items
		}
		for _, o := range objects {
			o, _ := o.(map[string]any)
			version, _ := o["apiVersion"].(string)
			kind, _ := o["kind"].(string)
			if strings.HasPrefix(version, "metallb.io/") && kind != "ServiceL2Status" {
				walk(kind, "spec", o["spec"])
			}
		}
	}
}

// Each error names the file, the line, the document and the field.
func TestConvertNamesThePlaceOfAnError(t *testing.T) {
	const (
		pool = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a}\nspec:\n"
		peer = "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {name: p}\nspec:\n"
		adv  = "---\napiVersion: metallb.io/v1beta1\nkind: BGPAdvertisement\nmetadata: {name: r}\nspec:\n"
	)
	for text, want := range map[string]string{
		"":                         "the input has no configuration of MetalLB: it has neither custom resources of metallb.io nor a ConfigMap with address-pools",
		"kind: Service\n":          "the input has no configuration of MetalLB: it has neither custom resources of metallb.io nor a ConfigMap with address-pools",
		"a: [":                     "f:1: document 1: ",
		"- x":                      "f:1: document 1: a Kubernetes object is expected, with apiVersion, kind and metadata",
		"metadata: {name: a}":      "f:1: document 1: the document has no kind",
		"kind: XList\nitems: [1]":  "f:1: document 1: item 1 of XList is not a Kubernetes object",
		pool + "  addresses: 7\n":  "f:5: document 1: IPAddressPool a: spec.addresses: must be a list, and is \"7\"",
		pool + "  addresses: []\n": "f:1: document 1: IPAddressPool a: addresses: the pool has no addresses",
		pool + "  addresses:\n  - 192.0.2.0/24\n  - 192.0.2.9-x\n":                                                                   "f:7: document 1: IPAddressPool a: spec.addresses: ",
		pool + "  autoAssign: 3\n":                                                                                                   "f:5: document 1: IPAddressPool a: spec.autoAssign: must be true or false, and is \"3\"",
		pool + "  autoAssign: true\n  autoAssign: true\n":                                                                            "f:5: document 1: IPAddressPool a: spec.autoAssign: is written twice",
		pool + "  serviceAllocation: [a]\n":                                                                                          "f:5: document 1: IPAddressPool a: spec.serviceAllocation: must be a mapping, and is a list",
		pool + "  addresses: [192.0.2.0/24]\n---\n" + pool + "  addresses: [198.51.100.0/24]\n":                                      "f:9: document 2: IPAddressPool a: metadata.name: duplicate definition",
		strings.Replace(pool, "v1beta1", "v9", 1):                                                                                    "f:1: document 1: IPAddressPool a: apiVersion: metallb.io/v9 is not known",
		strings.Replace(pool, "name: a", "", 1):                                                                                      "f:3: document 1: IPAddressPool: metadata.name: is missing",
		peer + "  peerAddress: 192.0.2.1\n  peerASN: 1\n":                                                                            "document 1: BGPPeer p: spec.myASN: ",
		peer + "  myASN: 1\n  peerASN: 1\n":                                                                                          "document 1: BGPPeer p: peer-address: missing",
		peer + "  {myASN: 1, peerASN: 2, peerAddress: router}\n":                                                                     "f:5: document 1: BGPPeer p: spec.peerAddress: ",
		peer + "  {myASN: one, peerASN: 2, peerAddress: 192.0.2.1}\n":                                                                "f:5: document 1: BGPPeer p: spec.myASN: must be a whole number, and is \"one\"",
		peer + "  {myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, holdTime: 9}\n":                                                     "f:5: document 1: BGPPeer p: spec.holdTime: \"9\" is not a duration like 90s",
		peer + "  {myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, bfdProfile: b}\n":                                                   "f:5: document 1: BGPPeer p: spec.bfdProfile: there is no \"b\"",
		peer + "  {myASN: 1, peerASN: 2, dynamicASN: internal, peerAddress: 192.0.2.1}\n":                                            "f:5: document 1: BGPPeer p: spec.peerASN: and dynamicASN exclude each other",
		peer + "  {myASN: 1, peerASN: 2, peerAddress: 192.0.2.1, nodeSelectors: [{matchLabels: {a b: c}}]}\n":                        "f:5: document 1: BGPPeer p: spec.nodeSelectors: ",
		peer + "  {nodeSelectors: [{matchExpressions: [{key: a, operator: Gt, values: ['1']}]}]}\n":                                  "f:5: document 1: BGPPeer p: spec.nodeSelectors: the operator of an expression is \"Gt\"",
		pool + "  addresses: [192.0.2.0/24]\n" + adv + "  communities: [nobody-knows]\n":                                             "f:11: document 2: BGPAdvertisement r: spec.communities: \"nobody-knows\" is neither",
		pool + "  addresses: [192.0.2.0/24]\n" + adv + "  aggregationLength: 20\n":                                                   "f:11: document 2: BGPAdvertisement r: spec.aggregationLength: /20 is wider than the range",
		"address-pools: [{name: a, protocol: layer2, addresses: [x]}]":                                                               "f:1: document 1: configuration of MetalLB 0.12: data.config: addresses: ",
		"address-pools: []\n---\nkind: Service\n":                                                                                    "f:1: document 1: this document is a configuration of MetalLB 0.12",
		"kind: ConfigMap\nmetadata: {name: c}\ndata:\n  config: |\n    address-pools: []\n    peers: [{my-asn: 1, hold-time: 0s}]\n": "f:6: document 1: ConfigMap c: data.config: ",
		"kind: ConfigMap\ndata: {config: 'address-pools: []'}\n---\nkind: ConfigMap\ndata: {config: 'address-pools: []'}\n":          "document 2: ConfigMap: is the second configuration",
	} {
		r, err := convert("f", text)
		if err == nil {
			t.Errorf("%q was converted to\n%s", text, r.Text)
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v\nwant\n%s", text, err, want)
		}
	}
}

func TestConvertReportsAllErrorsAtOnce(t *testing.T) {
	_, err := convert("f", "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a}\nspec: {addresses: 1, autoAssign: 2}\n---\n- x\n")
	if err == nil {
		t.Fatal("no error")
	}
	_, err2 := convert("f", "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a}\nspec: {addresses: 1, autoAssign: 2}\n")
	if err2 == nil || strings.Count(err2.Error(), "\n") != 1 {
		t.Errorf("%v", err2)
	}
}

func TestConvertReadsAliasesAndMergeKeys(t *testing.T) {
	r, err := convert("f", `
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: a}
spec: &spec {myASN: 64512, peerASN: 64512, peerAddress: &router 198.51.100.1}
---
apiVersion: v1
kind: List
items:
- apiVersion: metallb.io/v1beta2
  kind: BGPPeer
  metadata: {name: b}
  spec: &b {myASN: 64512, peerASN: 64512, peerAddress: 198.51.100.2}
- apiVersion: metallb.io/v1beta2
  kind: BGPPeer
  metadata: {name: c}
  spec: {<<: *b, peerAddress: 198.51.100.3}
`)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse([]byte(r.Text))
	if err != nil || len(c.Peers) != 3 || c.Peers[2].Address.String() != "198.51.100.3" || c.Peers[2].MyASN != 64512 {
		t.Errorf("%v\n%s", err, r.Text)
	}
}

func TestConvertBoundsWhatAliasesRepeat(t *testing.T) {
	text := "kind: X\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for i := 1; i < 9; i++ {
		text += fmt.Sprintf("a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	if _, err := convert("f", text); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("%v", err)
	}
}

func FuzzConvert(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("kind: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := convert("fuzz", text)
		if err != nil {
			return
		}
		if _, err := config.Parse([]byte(r.Text)); err != nil {
			t.Errorf("the text is not valid: %v\n%s", err, r.Text)
		}
		again, err := convert("fuzz", text)
		if err != nil || again.Text != r.Text || len(again.Notes) != len(r.Notes) {
			t.Errorf("the second time: %v\n%s", err, again.Text)
		}
		for _, n := range r.Notes {
			if n.Message == "" && n.Outcome != metallb.Carried {
				t.Errorf("%s has no message", n.Subject())
			}
		}
	})
}
