package chart

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const ccm, speaker = "Deployment/baremetal-cloud-controller-manager", "DaemonSet/baremetal-speaker"

// The chart 0.1.0 had these selectors. Kubernetes refuses an upgrade that changes the selector of a
// Deployment or a DaemonSet.
func TestSelectorsAreThoseOfTheFirstRelease(t *testing.T) {
	for name, all := range map[string]objects{
		"chart":     mustRender(t, "{ccm: {podLabels: {a: b}}, speaker: {podLabels: {a: b}}, monitoring: {enabled: true}}"),
		"manifests": manifests(t, "manifests", "manifests/monitoring"),
	} {
		for key, path := range map[string][]string{
			ccm: {"matchLabels"}, speaker: {"matchLabels"},
			"PodDisruptionBudget/baremetal-cloud-controller-manager": {"matchLabels"},
			"ServiceMonitor/baremetal-cloud-controller-manager":      {"matchLabels"},
			"ServiceMonitor/baremetal-speaker":                       {"matchLabels"},
			"Service/baremetal-cloud-controller-manager-metrics":     nil,
			"Service/baremetal-speaker-metrics":                      nil,
		} {
			program := "baremetal-cloud-controller-manager"
			if strings.Contains(key, "speaker") {
				program = "baremetal-speaker"
			}
			got, _, err := unstructured.NestedStringMap(all[key].Object, append([]string{"spec", "selector"}, path...)...)
			if want := map[string]string{"app.kubernetes.io/name": program}; err != nil || !maps.Equal(got, want) {
				t.Errorf("%s: the selector of %s is %v (%v), want %v", name, key, got, err, want)
			}
		}
	}
}

func TestLabelsAreTheStandardOnes(t *testing.T) {
	const values = "{config: {address-pools: []}, reportDeadNodes: true, monitoring: {enabled: true, dashboard: {enabled: true}}, ccm: {podLabels: {team: net}}, speaker: {podLabels: {team: net}}}"
	common := map[string]string{
		"app.kubernetes.io/instance": releaseName, "app.kubernetes.io/version": "v0.1.0",
		"app.kubernetes.io/part-of": "cloud-provider-baremetal", "app.kubernetes.io/managed-by": "Helm",
	}
	made := mustRender(t, values)
	if len(made) < 25 {
		t.Errorf("the chart makes only %d objects", len(made))
	}
	for key, u := range made {
		labels := u.GetLabels()
		if labels["app.kubernetes.io/name"] == "" || labels["helm.sh/chart"] != "cloud-provider-baremetal-0.1.0" {
			t.Errorf("%s has the labels %v", key, labels)
		}
		for name, want := range common {
			if labels[name] != want {
				t.Errorf("%s has the label %s=%q, want %q", key, name, labels[name], want)
			}
		}
	}
	for key, component := range map[string]string{ccm: "cluster-manager", speaker: "speaker"} {
		want := maps.Clone(common)
		_, want["app.kubernetes.io/name"], _ = strings.Cut(key, "/")
		want["app.kubernetes.io/component"], want["team"] = component, "net"
		got, _, err := unstructured.NestedStringMap(made[key].Object, "spec", "template", "metadata", "labels")
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("the pods of %s have the labels %v (%v), want %v", key, got, err, want)
		}
	}
	for key, u := range manifests(t, "manifests") {
		labels := u.GetLabels()
		for _, name := range append(slices.Collect(maps.Keys(common)), "app.kubernetes.io/name") {
			if labels[name] == "" {
				t.Errorf("manifests: %s has no label %s", key, name)
			}
		}
	}
}

func TestPodSettingsHaveTheDocumentedEffect(t *testing.T) {
	const settings = `
  nodeSelector: {edge: "true"}
  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}
  priorityClassName: mine
  updateStrategy: {type: OnDelete}
  podLabels: {team: net}
  podAnnotations: {note: "1"}
  extraEnv: [{name: HTTPS_PROXY, value: "http://proxy.example"}]
  extraArgs: [--v=4]
`
	made := mustRender(t, "logFormat: json\nccm:"+settings+"  topologySpreadConstraints: [{maxSkew: 1}]\nspeaker:"+settings)
	for _, key := range []string{ccm, speaker} {
		got := text(t, made[key])
		for _, want := range []string{
			"nodeSelector:\n        edge: \"true\"\n        kubernetes.io/os: linux\n",
			"affinity:\n        nodeAffinity:", "priorityClassName: mine\n", "trategy:\n    type: OnDelete\n", "team: net\n",
			"annotations:\n        note: \"1\"\n", "- name: HTTPS_PROXY\n", "- --v=4\n", "- --log-format=json\n",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("%q is missing in\n%s", want, got)
			}
		}
		if strings.Contains(got, "podAntiAffinity") || strings.Contains(got, "rollingUpdate") {
			t.Errorf("a default is mixed with the value:\n%s", got)
		}
	}
	if got := text(t, made[ccm]); !strings.Contains(got, "topologySpreadConstraints:\n      - maxSkew: 1\n") {
		t.Errorf("topologySpreadConstraints is missing in\n%s", got)
	}
	for _, values := range []string{"", "{ccm: {nodeSelector: null}, speaker: {nodeSelector: {kubernetes.io/os: windows}}}"} {
		for key, u := range mustRender(t, values) {
			if spec, ok, _ := unstructured.NestedMap(u.Object, "spec", "template", "spec"); ok && spec["nodeSelector"].(map[string]any)["kubernetes.io/os"] != "linux" {
				t.Errorf("with %q, %s has the node selector %v", values, key, spec["nodeSelector"])
			}
		}
	}
}

func TestImageIsNamedByRegistryTagOrDigest(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for values, want := range map[string]string{
		"": "cloud-provider-baremetal:v0.1.0",
		"image: {registry: r.example, repository: lb/x, tag: v9}":                                     "r.example/lb/x:v9",
		"image: {registry: r.example, tag: v9, digest: '" + digest + "'}":                             "r.example/cloud-provider-baremetal@" + digest,
		"{image: {registry: r.example, repository: lb/x}, global: {imageRegistry: 'mirror.example'}}": "mirror.example/lb/x:v0.1.0",
		"global: null": "cloud-provider-baremetal:v0.1.0",
		// A registry in repository, as with the chart 0.1.0.
		"image: {repository: 'r.example:5000/lb/x', tag: v9}":                                "r.example:5000/lb/x:v9",
		"image: {repository: 'mirror:5000/x'}":                                               "mirror:5000/x:v0.1.0",
		"image: {registry: theirs.example, repository: localhost/x}":                         "localhost/x:v0.1.0",
		"{image: {repository: 'r.example/lb/x'}, global: {imageRegistry: 'mirror.example'}}": "mirror.example/lb/x:v0.1.0",
	} {
		made := mustRender(t, values)
		for _, key := range []string{ccm, speaker} {
			if got := container(made[key])["image"]; got != want {
				t.Errorf("with %q, %s has the image %v, want %s", values, key, got, want)
			}
		}
		test, _, _ := unstructured.NestedSlice(made["Pod/baremetal-test-config"].Object, "spec", "containers")
		if got := test[0].(map[string]any)["image"]; got != want {
			t.Errorf("with %q, the test has the image %v, want %s", values, got, want)
		}
	}
}

func TestPullSecretsOfThisAndTheParentChartAreUsed(t *testing.T) {
	made := mustRender(t, "{imagePullSecrets: [{name: own}, both], global: {imagePullSecrets: [shared, {name: both}]}}")
	for _, key := range []string{ccm, speaker} {
		if got := text(t, made[key]); !strings.Contains(got, "imagePullSecrets:\n      - name: shared\n      - name: both\n      - name: own\n") {
			t.Errorf("%s has\n%s", key, got)
		}
	}
	if got := text(t, mustRender(t, "")[ccm]); strings.Contains(got, "imagePullSecrets") {
		t.Errorf("without the values there is\n%s", got)
	}
}

// A parent chart switches this chart on and off with a condition, and gives it values under its name.
func TestChartWorksAsASubchart(t *testing.T) {
	for _, test := range []struct {
		values string
		want   bool
	}{
		{"global: {imageRegistry: mirror.example}", true},
		{"{global: {imageRegistry: mirror.example, theirs: 1}, cloud-provider-baremetal: {enabled: true, speaker: {failover: calm}}}", true},
		{"cloud-provider-baremetal: {enabled: false}", false},
	} {
		parent := &chart.Chart{Metadata: &chart.Metadata{APIVersion: "v2", Name: "parent", Version: "1.0.0", Dependencies: []*chart.Dependency{
			{Name: "cloud-provider-baremetal", Version: "0.1.0", Condition: "cloud-provider-baremetal.enabled"},
		}}}
		parent.AddDependency(load(t))
		files, err := renderFiles(t, parent, "v1.35.0", test.values, nothing{})
		if err != nil {
			t.Fatalf("%s: %v", test.values, err)
		}
		made := read(t, files)
		if got := made[speaker] != nil; got != test.want || !got && len(made) > 0 {
			t.Errorf("%s: the chart makes %d objects, and the speakers are there: %v", test.values, len(made), got)
		}
		if !test.want {
			continue
		}
		if image := container(made[speaker])["image"]; image != "mirror.example/cloud-provider-baremetal:v0.1.0" {
			t.Errorf("%s: the image is %v", test.values, image)
		}
		calm := slices.Contains(args(made[speaker]), "--failover=calm")
		if calm != strings.Contains(test.values, "calm") {
			t.Errorf("%s: --failover=calm is set: %v", test.values, calm)
		}
	}
}
