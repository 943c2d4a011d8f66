package configmap_test

import (
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

func TestTextKeepsTheLineNumbersOfTheManifest(t *testing.T) {
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
	text, err := configmap.Text([]byte(manifest))
	if err != nil {
		t.Fatal(err)
	}
	_, err = config.Parse(text)
	if err == nil || !strings.HasPrefix(err.Error(), "line 12: pool \"a\": addresses: ") || !strings.Contains(err.Error(), "\nline 13: pool \"a\": protocol: ") {
		t.Errorf("got %v", err)
	}
}

func TestTextReturnsOtherFilesUnchanged(t *testing.T) {
	for _, text := range []string{"", "address-pools: []\n", "a: [", "- a\n", "kind: Deployment\n"} {
		if got, err := configmap.Text([]byte(text)); string(got) != text || err != nil {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got, err := configmap.Text([]byte(`{"kind": "ConfigMap", "data": {"config": "address-pools: []"}}`)); string(got) != "address-pools: []" || err != nil {
		t.Errorf("JSON: %q, %v", got, err)
	}
	for _, text := range []string{"kind: ConfigMap\ndata: {other: x}\n", "kind: ConfigMap\n"} {
		if got, err := configmap.Text([]byte(text)); err == nil {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func FuzzText(f *testing.F) {
	for _, text := range []string{"", "address-pools: []\n", "kind: ConfigMap\ndata:\n  config: |\n    address-pools: []\n", "a: &a [*a]\n---\nkind: ConfigMap\ndata: {config: x}\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		text, err := configmap.Text(file)
		if err != nil {
			return
		}
		c, err := config.Parse(text)
		if (c == nil) == (err == nil) {
			t.Errorf("neither a configuration nor an error: %v, %v", c, err)
		}
	})
}
