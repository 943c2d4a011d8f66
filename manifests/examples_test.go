// Package manifests_test checks that the example configurations are valid.
package manifests_test

import (
	"os"
	"path/filepath"
	"testing"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

func TestExamplesAreValidConfigurations(t *testing.T) {
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("examples: %v (%v)", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var cm v1.ConfigMap
		if err := yaml.UnmarshalStrict(text, &cm); err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if ref := (configmap.Ref{Namespace: cm.Namespace, Name: cm.Name}); ref != configmap.DefaultRef {
			t.Errorf("%s is the ConfigMap %s, which the programs do not read by default", file, &ref)
		}
		if c, err := config.Parse([]byte(cm.Data[configmap.Key])); err != nil || len(c.Pools) == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
}
