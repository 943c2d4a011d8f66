package project_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

var (
	yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$")
	// ourKey is at the beginning of a line only in a configuration of this project.
	ourKey = regexp.MustCompile(`(?m)^(address-pools|peers|bfd-profiles|bgp-communities):`)
)

// configurations returns the configurations of this project in a page: blocks that are one, and
// those in a ConfigMap.
func configurations(t *testing.T, path, page string) (texts []string) {
	for _, block := range yamlBlock.FindAllStringSubmatch(page, -1) {
		text := block[1]
		if strings.Contains(text, "\nkind: ConfigMap\n") {
			var cm v1.ConfigMap
			if err := yaml.Unmarshal([]byte(text), &cm); err != nil {
				t.Errorf("%s: %v\n%s", path, err, text)
			}
			text = cm.Data[configmap.Key]
		}
		if ourKey.MatchString(text) {
			texts = append(texts, text)
		}
	}
	return texts
}

func TestDocsHaveValidConfigurations(t *testing.T) {
	found := 0
	err := filepath.WalkDir("docs", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".md" {
			return err
		}
		page, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, text := range configurations(t, path, string(page)) {
			found++
			if _, err := config.Parse([]byte(text)); err != nil {
				t.Errorf("%s: %v\n%s", path, err, text)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 3 {
		t.Errorf("only %d configurations were found: the test looks in the wrong place", found)
	}
}
