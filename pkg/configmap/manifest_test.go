package configmap_test

import (
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

func TestErrorsInAManifestHaveTheManifestsLines(t *testing.T) {
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
	_, err := config.Parse(configmap.Text([]byte(manifest)))
	if err == nil || !strings.HasPrefix(err.Error(), "line 12: pool \"a\": addresses: ") || !strings.Contains(err.Error(), "\nline 13: pool \"a\": protocol: ") {
		t.Errorf("got %v", err)
	}
}

func TestTextOfWhatIsNoManifestIsTheFileItself(t *testing.T) {
	for _, text := range []string{"", "address-pools: []\n", "a: [", "- a\n", "kind: ConfigMap\ndata: {other: x}\n", "kind: ConfigMap\n"} {
		if got := configmap.Text([]byte(text)); string(got) != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	if got := configmap.Text([]byte(`{"kind": "ConfigMap", "data": {"config": "address-pools: []"}}`)); string(got) != "address-pools: []" {
		t.Errorf("JSON: %q", got)
	}
}

func FuzzText(f *testing.F) {
	for _, text := range []string{"", "address-pools: []\n", "kind: ConfigMap\ndata:\n  config: |\n    address-pools: []\n", "a: &a [*a]\n---\nkind: ConfigMap\ndata: {config: x}\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		text := configmap.Text(file)
		c, err := config.Parse(text)
		if (c == nil) == (err == nil) {
			t.Errorf("neither a configuration nor an error: %v, %v", c, err)
		}
	})
}
