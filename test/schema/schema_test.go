// Package schema tests the published JSON Schema with a validator, as an editor uses it.
package schema

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile("../../docs/reference/config.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, file string) error {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var manifest v1.ConfigMap
	if yaml.Unmarshal(text, &manifest) == nil && manifest.Kind == "ConfigMap" {
		text = []byte(manifest.Data["config"])
	}
	asJSON, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(asJSON, &value); err != nil {
		t.Fatal(err)
	}
	return s.Validate(value)
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("%s: no files (%v)", pattern, err)
	}
	return found
}

func TestSchemaAcceptsWhatTheParserAccepts(t *testing.T) {
	s := schema(t)
	for _, file := range append(files(t, "../../pkg/config/testdata/good-*.yaml"), files(t, "../../manifests/examples/*.yaml")...) {
		if err := validate(t, s, file); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestSchemaRefusesErrorsInASingleKey(t *testing.T) {
	// A schema cannot find these errors: several keys contradict each other, or the file
	// is not YAML.
	beyond := []string{"bad-overlap", "bad-syntax", "bad-tab", "bad-unclosed"}
	s := schema(t)
	for _, file := range files(t, "../../pkg/config/testdata/bad-*.yaml") {
		if slices.Contains(beyond, strings.TrimSuffix(filepath.Base(file), ".yaml")) {
			continue
		}
		if validate(t, s, file) == nil {
			t.Errorf("the schema accepts %s", file)
		}
	}
}
