package chart

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// overlay writes a kustomization for the manifests of this tree, and returns what kubectl makes of it. The file
// install.yaml beside it has all objects of the manifests.
func overlay(t *testing.T, text string) objects {
	t.Helper()
	base, err := filepath.Abs(filepath.Join(root, "manifests"))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(dir, base) // kustomize refuses absolute paths
	if err != nil {
		t.Fatal(err)
	}
	text = strings.ReplaceAll(text, "MANIFESTS", relative)
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var install strings.Builder
	for _, u := range manifests(t, "manifests") {
		out, err := yaml.Marshal(u.Object)
		if err != nil {
			t.Fatal(err)
		}
		install.WriteString("---\n" + string(out))
	}
	if err := os.WriteFile(filepath.Join(dir, "install.yaml"), []byte(install.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return build(t, dir)
}

var published = regexp.MustCompile(`(?m)^resources: \["https://github\.com/baremetal-lb/cloud-provider-baremetal//manifests\?ref=(.*)"\]$`)

func TestExampleOverlayMovesEverythingToItsNamespace(t *testing.T) {
	example, err := os.ReadFile(filepath.Join(root, "manifests", "examples", "another-namespace", "kustomization.yaml"))
	if err != nil || !published.Match(example) {
		t.Fatalf("the example does not name the manifests: %v\n%s", err, example)
	}
	for _, components := range []string{"", "components: [MANIFESTS/report-dead-nodes]\n"} {
		made := overlay(t, published.ReplaceAllString(string(example), "resources: [MANIFESTS, MANIFESTS/monitoring]")+components)
		if made["Namespace/lb-system"] == nil || len(made) < 20 {
			t.Errorf("with %q: the namespace is missing among %d objects", components, len(made))
		}
		for key, u := range made {
			if got := text(t, u); strings.Contains(got, "baremetal-system") {
				t.Errorf("with %q: %s still has the namespace baremetal-system:\n%s", components, key, got)
			}
			nodeLeases := strings.HasSuffix(key, "/baremetal-ccm-node-leases")
			if got := u.GetNamespace(); nodeLeases && got != "kube-node-lease" || !nodeLeases && got != "lb-system" && got != "" {
				t.Errorf("with %q: %s is in the namespace %q", components, key, got)
			}
		}
		for _, key := range []string{ccm, speaker} {
			if got := args(made[key]); !slices.Contains(got, "--config-map=$(POD_NAMESPACE)/config") {
				t.Errorf("%s has the flags %v", key, got)
			}
		}
		for key, want := range map[string]int{"ValidatingAdmissionPolicy/baremetal-service-status": 3, "ValidatingAdmissionPolicy/baremetal-pod-status": strings.Count(components, "dead")} {
			got := 0
			if made[key] != nil {
				got = strings.Count(text(t, made[key]), "system:serviceaccount:lb-system:baremetal-")
			}
			if got != want {
				t.Errorf("with %q: %s names the service accounts of the namespace %d times, want %d", components, key, got, want)
			}
		}
		if components == "" {
			continue
		}
		binding := made["RoleBinding/baremetal-ccm-node-leases"]
		subjects, _, _ := unstructured.NestedSlice(binding.Object, "subjects")
		if got := subjects[0].(map[string]any)["namespace"]; got != "lb-system" {
			t.Errorf("the right to read the Leases of nodes is given to a service account in %v", got)
		}
	}
}

func TestManifestsAndChartNameOneVersion(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "manifests", "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile(filepath.Join(root, "manifests", "examples", "another-namespace", "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	tag := regexp.MustCompile(`newTag: (.*)`).FindSubmatch(text)
	label := regexp.MustCompile(`app.kubernetes.io/version: (.*)`).FindSubmatch(text)
	ref := published.FindSubmatch(example)
	if tag == nil || label == nil || ref == nil {
		t.Fatal("the test looks in the wrong place")
	}
	for what, got := range map[string]string{"tag of the image": string(tag[1]), "label": string(label[1]), "example overlay": string(ref[1])} {
		if want := load(t).Metadata.AppVersion; got != want {
			t.Errorf("%s: the version is %s, and that of the chart is %s", what, got, want)
		}
	}
}

// A component can be used by itself: with the manifests, or alone, as the file says.
func TestDashboardIsAComponent(t *testing.T) {
	for name, made := range map[string]objects{
		"alone":              manifests(t, "manifests/monitoring/dashboard"),
		"with the manifests": overlay(t, "resources: [MANIFESTS]\ncomponents: [MANIFESTS/monitoring/dashboard]\n"),
	} {
		dashboard := made["ConfigMap/baremetal-dashboard"]
		if dashboard == nil || dashboard.GetLabels()["grafana_dashboard"] != "1" {
			t.Fatalf("%s: the dashboard is %v", name, dashboard)
		}
	}
}
