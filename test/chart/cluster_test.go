package chart

import (
	"crypto/sha256"
	"fmt"
	"maps"
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

// annotated returns an object with one more annotation.
func annotated(u *unstructured.Unstructured, name, value string) *unstructured.Unstructured {
	annotations := u.GetAnnotations()
	annotations[name] = value
	u.SetAnnotations(annotations)
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

// The annotation with which the chart records the last value of config that it has written.
const sumAnnotation = "lb.baremetal/chart-config-sha256"

func sum(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

// A ConfigMap that is not in the manifest of the new revision would be deleted by Helm.
func TestUpgradeKeepsEditsUntilTheValueChanges(t *testing.T) {
	const edited = "# ours\naddress-pools:\n- name: default   # edited with kubectl \n  protocol: layer2\n  addresses: [192.0.2.0/24]\n\n"
	const first = "address-pools: [{name: old, protocol: layer2, addresses: [192.0.2.0/25]}]\n"
	const second = "address-pools: [{name: new, protocol: layer2, addresses: [198.51.100.0/24]}]\n"
	const asMap = "address-pools:\n- addresses:\n  - 192.0.2.0/25\n  name: old\n  protocol: layer2" // as the chart writes the map
	value := func(text string) string { return "config: |\n  " + text }
	written := func(text, value string) *unstructured.Unstructured {
		return annotated(liveConfig(releaseName, text), sumAnnotation, sum(value))
	}
	empty := written("", first)
	delete(empty.Object, "data")
	for _, test := range []struct {
		name, values  string
		live          *unstructured.Unstructured
		want, wantSum string // an empty sum stands for no annotation
	}{
		{"an installation", value(first), nil, first, sum(first)},
		{"the same value", value(first), written(first, first), first, sum(first)},
		{"the same value after an edit", value(first), written(edited, first), edited, sum(first)},
		{"the same map after an edit", "config:\n  " + first, written(edited, asMap), edited, sum(asMap)},
		{"an edit with empty lines at its end", value(first), written("address-pools: []\n\n\n", first), "address-pools: []\n\n\n", sum(first)},
		{"a new value after an edit", value(second), written(edited, first), second, sum(second)},
		{"the first value again, after a second one", value(first), written(second, second), first, sum(first)},
		{"no value", "", written(edited, first), edited, sum(first)},
		{"no value, and nothing in the ConfigMap", "", empty, "", sum(first)},
		{"made by 0.1.0: no value", "", liveConfig(releaseName, edited), edited, ""},
		{"made by 0.1.0: its empty value, with --reuse-values", `config: ""`, liveConfig(releaseName, edited), edited, ""},
		{"made by 0.1.0: the same value, and no edit", value(first), liveConfig(releaseName, first), first, sum(first)},
		{"made by 0.1.0: the user keeps the ConfigMap", value(first), written(edited, first), edited, sum(first)},
		{"made by 0.1.0: the user replaces it", value(first), annotated(liveConfig(releaseName, edited), sumAnnotation, "replace"), first, sum(first)},
		{"a ConfigMap that Helm did not create", value(first), liveConfig("", edited), first, sum(first)}, // which Helm refuses
	} {
		live := nothing{}
		if test.live != nil {
			live = append(live, test.live)
		}
		made, _, err := renderIn(t, test.values, live...)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		cm := made["ConfigMap/config"]
		if cm == nil {
			t.Errorf("%s: the chart makes no ConfigMap, so Helm would delete it", test.name)
			continue
		}
		if got, _, _ := unstructured.NestedString(cm.Object, "data", "config"); got != test.want {
			t.Errorf("%s: the chart makes the configuration %q, want %q", test.name, got, test.want)
		}
		want := map[string]string{sumAnnotation: test.wantSum}
		if test.wantSum == "" {
			want = nil
		}
		if got := cm.GetAnnotations(); !maps.Equal(got, want) {
			t.Errorf("%s: the chart writes the annotations %v, want %v", test.name, got, want)
		}
	}
	for _, release := range []string{"", "other"} {
		made, _, err := renderIn(t, "", liveConfig(release, edited))
		if err != nil || made["ConfigMap/config"] != nil {
			t.Errorf("without a value, the ConfigMap of the release %q is in the manifest (%v)", release, err)
		}
	}
}

// Nothing says whether the value or the ConfigMap is newer.
func TestUpgradeFromTheFirstChartAsksWhichConfigIsNewer(t *testing.T) {
	const text = "address-pools: []\n"
	_, _, err := renderIn(t, "config: |\n  "+text, liveConfig(releaseName, "# edited\n"))
	for _, want := range []string{
		"the value config differs from the ConfigMap baremetal-system/config", "Nothing was changed",
		"kubectl -n baremetal-system annotate configmap config " + sumAnnotation + "=" + sum(text),
		"kubectl -n baremetal-system annotate configmap config " + sumAnnotation + "=replace",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q in it", err, want)
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
		{"with an edit in the cluster", "config: x", inCluster{annotated(liveConfig(releaseName, "edited"), sumAnnotation, sum("x"))}, "The edit stays", "helm upgrade"},
		{"without an edit", "config: x", inCluster{annotated(liveConfig(releaseName, "x"), sumAnnotation, sum("x"))}, "get configmap config", "The edit stays"},
		{"only Services with two classes", "defaultLoadBalancer: false\nloadBalancerClass: example.com/a,example.com/b", nil, `{"loadBalancerClass":"example.com/a"}`, "\n\n\n"},
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
