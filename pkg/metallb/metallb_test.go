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

func TestConvertNotesObjectsWithoutFields(t *testing.T) {
	for _, kind := range []string{"L2Advertisement", "BGPAdvertisement", "BFDProfile", "Community"} {
		r, err := convert("f", "apiVersion: metallb.io/v1beta1\nkind: "+kind+"\nmetadata: {name: x}\n")
		if err != nil || len(r.Notes) != 1 || r.Notes[0].Name != "x" {
			t.Errorf("%s: %v, %v", kind, err, r.Notes)
		}
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
