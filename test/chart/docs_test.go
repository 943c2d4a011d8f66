package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// deletions returns what the commands of a section of the docs delete, like "clusterrole/name" or
// "namespace/role/name".
func deletions(t *testing.T, page, heading string) (found []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", page))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n"+heading+"\n")
	if !ok {
		t.Fatalf("%s has no heading %q", page, heading)
	}
	section, _, _ = strings.Cut(section, "\n"+strings.Repeat("#", strings.Count(heading, "#"))+" ")
	for _, m := range regexp.MustCompile(`(?m)^ *kubectl (?:-n (\S+) )?delete --ignore-not-found (\S+) (.*)$`).FindAllStringSubmatch(section, -1) {
		for kind := range strings.SplitSeq(m[2], ",") {
			for name := range strings.FieldsSeq(m[3]) {
				found = append(found, strings.TrimPrefix(m[1]+"/"+kind+"/"+name, "/"))
			}
		}
	}
	slices.Sort(found)
	return found
}

// named returns the names of objects in the form of deletions.
func named(all objects) (found []string) {
	for _, u := range all {
		found = append(found, strings.TrimPrefix(u.GetNamespace()+"/"+strings.ToLower(u.GetKind())+"/"+u.GetName(), "/"))
	}
	slices.Sort(found)
	return found
}

// kubectl apply does not delete what is not in the manifests any more.
func TestCommandsRemoveAllRightsToReportDeadNodes(t *testing.T) {
	got := deletions(t, "concepts/failover.md", "### Switch it off")
	if want := named(manifests(t, "manifests/report-dead-nodes")); !slices.Equal(got, want) {
		t.Errorf("the commands delete\n%s\nthe component has\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestCommandsOfARollbackRemoveAllNewObjects(t *testing.T) {
	first := []string{ // the manifests of 0.1.0
		"namespace/baremetal-system", "baremetal-system/serviceaccount/baremetal-ccm", "baremetal-system/serviceaccount/baremetal-speaker",
		"clusterrole/baremetal-ccm", "clusterrolebinding/baremetal-ccm", "baremetal-system/role/baremetal-ccm", "baremetal-system/rolebinding/baremetal-ccm",
		"clusterrolebinding/baremetal-ccm-auth-delegator",
		"clusterrole/baremetal-speaker", "clusterrolebinding/baremetal-speaker", "baremetal-system/role/baremetal-speaker", "baremetal-system/rolebinding/baremetal-speaker",
		"baremetal-system/deployment/baremetal-cloud-controller-manager", "baremetal-system/poddisruptionbudget/baremetal-cloud-controller-manager",
		"baremetal-system/networkpolicy/baremetal-cloud-controller-manager", "baremetal-system/daemonset/baremetal-speaker",
	}
	want := append([]string{"baremetal-system/configmap/config-in-use", "baremetal-system/configmap/config-nodes"}, // the programs write these
		slices.DeleteFunc(named(manifests(t, "manifests")), func(name string) bool { return slices.Contains(first, name) })...)
	slices.Sort(want)
	if got := deletions(t, "guides/upgrade.md", "## Roll back"); !slices.Equal(got, want) {
		t.Errorf("the commands delete\n%s\n0.1.0 did not have\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Who has installed install.yaml has no directory with the manifests.
func TestComponentCanBeAddedToTheManifestOfARelease(t *testing.T) {
	made := overlay(t, "resources: [install.yaml]\ncomponents: [MANIFESTS/report-dead-nodes]\n")
	if made["ClusterRole/baremetal-ccm-dead-nodes"] == nil || !slices.Contains(args(made[ccm]), "--report-dead-nodes=true") {
		t.Errorf("the component adds nothing to %d objects", len(made))
	}
}
