package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// configurations returns configurations that the parser accepts: its own tests, and the examples.
func configurations(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, pattern := range []string{"pkg/config/testdata/good-*.yaml", "manifests/examples/*.yaml"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(files) < 3 {
			t.Fatalf("%s: %v (%v)", pattern, files, err)
		}
		for _, file := range files {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var manifest struct{ Data struct{ Config string } }
			if err := yaml.Unmarshal(content, &manifest); err == nil && manifest.Data.Config != "" {
				content = []byte(manifest.Data.Config)
			}
			found[filepath.Base(file)] = string(content)
		}
	}
	return found
}

// The map goes through Helm, as JSON and back to YAML, and the programs read the same from it. Numbers of
// autonomous systems are large, and communities look like times.
func TestConfigAsAMapMeansTheSameAsTheText(t *testing.T) {
	for name, text := range configurations(t) {
		if name == "good-odd-but-legal.yaml" {
			continue // texts that are odd on purpose, for example with keys twice
		}
		var content map[string]any
		if err := yaml.Unmarshal([]byte(text), &content); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		values, err := yaml.Marshal(map[string]any{"config": content})
		if err != nil {
			t.Fatal(err)
		}
		made, err := render(t, string(values))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, _, _ := unstructured.NestedString(made["ConfigMap/config"].Object, "data", "config")
		asMap, err := config.Parse([]byte(got))
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, got)
			continue
		}
		asText, err := config.Parse([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		withoutLines(asMap)
		withoutLines(asText)
		if !reflect.DeepEqual(asMap, asText) {
			t.Errorf("%s: the map means\n%+v\nand the text means\n%+v", name, asMap, asText)
		}
	}
}

// withoutLines removes the lines at which the parts of a configuration begin. Warnings name lines, too.
func withoutLines(c *config.Config) {
	c.Warnings = nil
	for i := range c.Pools {
		c.Pools[i].Line = 0
	}
	for i := range c.Peers {
		c.Peers[i].Line = 0
	}
	for i := range c.BFDProfiles {
		c.BFDProfiles[i].Line = 0
	}
}

// linted returns what `helm lint` complains about, from warnings on.
func linted(t *testing.T, values string) (found []string) {
	t.Helper()
	given, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	version := &chartutil.KubeVersion{Version: "v1.35.0", Major: "1", Minor: "35"}
	for _, m := range lint.AllWithKubeVersion(filepath.Join(root, "manifests", "helm"), given, releaseNamespace, version).Messages {
		if m.Severity >= support.WarningSev {
			found = append(found, m.Error())
		}
	}
	return found
}

func TestLintFindsATypoInTheConfig(t *testing.T) {
	const good = `{name: default, protocol: layer2, addresses: [192.0.2.0/24]}`
	for _, test := range []struct{ config, want string }{
		{`{address-pools: [` + good + `]}`, ""},
		{`{address-pools: [{name: default, protocol: layer2, adresses: [192.0.2.0/24]}]}`, "adresses"},
		{`{address-pools: [{name: default, protocol: layer3, addresses: [192.0.2.0/24]}]}`, "protocol"},
		{`{address-pools: [` + good + `], peers: [{peer-address: 192.0.2.1, peer-asn: 64512, my-asn: many}]}`, "my-asn"},
		{`{address-pool: [` + good + `]}`, "address-pool"},
	} {
		found := linted(t, "config: "+test.config)
		if test.want == "" && len(found) > 0 || test.want != "" && !strings.Contains(strings.Join(found, "\n"), test.want) {
			t.Errorf("%s: helm lint says %q, want %q", test.config, found, test.want)
		}
	}
	if found := linted(t, ""); len(found) > 0 {
		t.Errorf("the default values: %q", found)
	}
}

// Editors read draft-07, the version of the schema of the values. The documented schema of the
// configuration has a later one.
func TestConfigSchemaIsThatOfTheReference(t *testing.T) {
	var values struct {
		Definitions struct{ Configuration map[string]any }
	}
	var reference map[string]any
	for file, into := range map[string]any{"manifests/helm/values.schema.json": &values, "docs/reference/config.schema.json": &reference} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	delete(reference, "$schema")
	delete(reference, "title")
	if len(reference) < 2 || !reflect.DeepEqual(values.Definitions.Configuration, reference) {
		t.Error("the schemas differ: go test ./pkg/config -run Documented -update")
	}
}
