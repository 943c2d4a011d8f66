package speaker

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/baremetal-lb/cloud-provider-baremetal/"

// TestImportsGoDownward holds the shape of the project: what decides knows
// nothing of Kubernetes, and siblings do not know each other.
func TestImportsGoDownward(t *testing.T) {
	selectors := []string{"k8s.io/apimachinery/pkg/labels", "k8s.io/apimachinery/pkg/selection"} // pure, and the grammar's own
	rules := []struct{ from, never string }{
		{"pkg/config", "k8s.io/"}, {"pkg/ipam", "k8s.io/"}, {"pkg/election", "k8s.io/"},
		{"speaker/layer2", "k8s.io/"}, {"speaker/members", "k8s.io/"}, {"speaker/heartbeat", "k8s.io/"}, {"speaker/links", "k8s.io/"}, {"speaker/bfd", "k8s.io/"}, {"speaker/bgp", "k8s.io/"},
		{"pkg/", module + "speaker"}, {"pkg/", module + "cloudprovider"}, {"pkg/", module + "cmd"},
		{"speaker", module + "cloudprovider"}, {"cloudprovider", module + "speaker"},
		{"speaker/layer2", module + "speaker/"}, {"speaker/members", module + "speaker/"}, {"speaker/heartbeat", module + "speaker/"}, {"speaker/links", module + "speaker/"}, {"speaker/bfd", module + "speaker/"}, {"speaker/bgp", module + "speaker/layer2"},
	}
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	checked := 0
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		pkg := strings.TrimPrefix(words[0], module)
		for _, rule := range rules {
			if pkg != rule.from && !strings.HasPrefix(pkg, strings.TrimSuffix(rule.from, "/")+"/") {
				continue
			}
			checked++
			for _, imported := range words[1:] {
				if strings.HasPrefix(imported, rule.never) && !slices.Contains(selectors, imported) {
					t.Errorf("%s imports %s", pkg, imported)
				}
			}
		}
	}
	if checked < len(rules) {
		t.Errorf("%d checks for %d rules: a package of the rules is not there", checked, len(rules))
	}
}
