package chart

import (
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// inCluster are objects that Helm's function lookup finds.
type inCluster []runtime.Object

// nothing is a cluster without the objects that the chart looks for.
type nothing = inCluster

var _ engine.ClientProvider = inCluster{}

func (c inCluster) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	gvr := schema.FromAPIVersionAndKind(apiVersion, kind).GroupVersion().WithResource(strings.ToLower(kind) + "s")
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{gvr: kind + "List"}, c...)
	return client.Resource(gvr), kind == "ConfigMap", nil
}

// liveConfig returns the ConfigMap "config" of a release, with a text. A release "" is none.
func liveConfig(release, text string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{"config": text}}}
	u.SetName("config")
	u.SetNamespace(releaseNamespace)
	u.SetAnnotations(map[string]string{"lb.baremetal/status": "In use"})
	if release != "" {
		u.SetAnnotations(map[string]string{"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": releaseNamespace, "lb.baremetal/status": "In use"})
	}
	return u
}

func liveRole(annotations map[string]string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}}
	u.SetName("baremetal-ccm")
	u.SetAnnotations(annotations)
	return u
}

// renderIn renders the chart for a cluster that has these objects.
func renderIn(t *testing.T, values string, live ...runtime.Object) (objects, string, error) {
	t.Helper()
	c := load(t)
	files, err := renderFiles(t, c, "v1.35.0", values, inCluster(live))
	if err != nil {
		return nil, "", err
	}
	return read(t, files), files[c.Name()+"/templates/NOTES.txt"], nil
}

// A ConfigMap that is not in the manifest of the new revision would be deleted by Helm.
func TestUpgradeWithoutConfigKeepsTheConfigMap(t *testing.T) {
	const before = "# ours\naddress-pools:\n- name: default   # edited with kubectl \n  protocol: layer2\n  addresses: [192.0.2.0/24]\n\n"
	const given = "address-pools: [{name: new, protocol: layer2, addresses: [198.51.100.0/24]}]\n"
	for _, test := range []struct{ name, values, release, want string }{
		{"no value", "", releaseName, before},
		{"an empty value, as the chart 0.1.0 has it with --reuse-values", `config: ""`, releaseName, before},
		{"a new value", "config: |\n  " + given, releaseName, given},
		{"a ConfigMap that Helm did not create", "", "", ""},
		{"a ConfigMap of another release", "", "other", ""},
	} {
		made, _, err := renderIn(t, test.values, liveConfig(test.release, before))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if cm := made["ConfigMap/config"]; cm != nil {
			got, _, _ = unstructured.NestedString(cm.Object, "data", "config")
			if len(cm.GetAnnotations()) > 0 {
				t.Errorf("%s: the chart writes the annotations %v, which belong to Helm and to the cluster manager", test.name, cm.GetAnnotations())
			}
		}
		if got != test.want {
			t.Errorf("%s: the chart makes the configuration %q, want %q", test.name, got, test.want)
		}
	}
}

func TestSecondReleaseIsRefusedWithASentence(t *testing.T) {
	for _, test := range []struct{ name, release, namespace, want string }{
		{"another namespace", releaseName, "elsewhere", `this cluster already has the release "lb" of this chart in the namespace "elsewhere", and a cluster can have only one`},
		{"another name", "first", releaseNamespace, `this cluster already has the release "first" of this chart in the namespace "baremetal-system"`},
		{"itself, in an upgrade", releaseName, releaseNamespace, ""},
	} {
		_, _, err := renderIn(t, "", liveRole(map[string]string{"meta.helm.sh/release-name": test.release, "meta.helm.sh/release-namespace": test.namespace}))
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
	// Helm itself refuses to take over what kubectl has installed, unless the user asks for that.
	if _, _, err := renderIn(t, "", liveRole(nil)); err != nil {
		t.Errorf("installed with kubectl: %v", err)
	}
}

func TestNotesNameTheNextCommands(t *testing.T) {
	for _, test := range []struct {
		name, values string
		live         inCluster
		want, not    string
	}{
		{"with pools", "config: {address-pools: []}", nil, "get configmap config", "helm upgrade"},
		{"with the pools of the cluster", "", inCluster{liveConfig("", "x")}, "get configmap config", "helm upgrade"},
		{"without pools", "", nil, "helm upgrade -n baremetal-system lb CHART", "get configmap config"},
		{"only Services with the class", "defaultLoadBalancer: false\nloadBalancerClass: example.com/lb", nil, `{"loadBalancerClass":"example.com/lb"}`, "\n\n\n"},
		{"without a class", "", nil, "--type=LoadBalancer && kubectl get service", "overrides"},
	} {
		_, notes, err := renderIn(t, test.values, test.live...)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(notes, test.want) || strings.Contains(notes, test.not) {
			t.Errorf("%s: want %q, and not %q, in\n%s", test.name, test.want, test.not, notes)
		}
		if commands := strings.Count(notes, "\n   kubectl ") + strings.Count(notes, "\n   helm "); commands != 3 {
			t.Errorf("%s: %d commands, want 3, in\n%s", test.name, commands, notes)
		}
	}
	_, notes, err := renderIn(t, "")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(notes, "--set-json 'config=")
	example, _, ok := strings.Cut(rest, "'\n")
	if c, err := config.Parse([]byte(example)); !ok || err != nil || len(c.Pools) != 1 {
		t.Errorf("the example %q is not a configuration with one pool (%v)", example, err)
	}
}
