// Package chart tests the Helm chart with Helm's own engine: that it makes what the
// manifests are, and that every value does what it says.
package chart

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

const root = "../.."

// objects are Kubernetes objects by kind and name.
type objects map[string]*unstructured.Unstructured

// render does what `helm template` does, and checks the values against the schema.
func render(t *testing.T, values string) (objects, error) {
	t.Helper()
	c, err := loader.Load(filepath.Join(root, "manifests", "helm"))
	if err != nil {
		t.Fatal(err)
	}
	given, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	release := chartutil.ReleaseOptions{Name: "lb", Namespace: "baremetal-system", Revision: 1, IsInstall: true}
	all, err := chartutil.ToRenderValues(c, given, release, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		t.Fatal(err)
	}
	found := objects{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".yaml") {
			found.read(t, name, []byte(files[name]))
		}
	}
	return found, nil
}

func mustRender(t *testing.T, values string) objects {
	t.Helper()
	o, err := render(t, values)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (o objects) read(t *testing.T, name string, text []byte) {
	t.Helper()
	decoder := kyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := decoder.Read()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		u := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(document, &u.Object); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, document)
		}
		if len(u.Object) == 0 {
			continue
		}
		key := u.GetKind() + "/" + u.GetName()
		if o[key] != nil {
			t.Errorf("%s: %s is there twice", name, key)
		}
		o[key] = u
	}
}

// manifests are the files that kubectl apply -k reads.
func manifests(t *testing.T, dirs ...string) objects {
	t.Helper()
	found := objects{}
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(root, dir, "*.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if filepath.Base(file) == "kustomization.yaml" {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			found.read(t, file, text)
		}
	}
	return found
}

// args takes the arguments of the only container out of an object.
func args(u *unstructured.Unstructured) (list []string) {
	containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
	container := containers[0].(map[string]any)
	for _, a := range container["args"].([]any) {
		list = append(list, a.(string))
	}
	delete(container, "args")
	_ = unstructured.SetNestedSlice(u.Object, containers, "spec", "template", "spec", "containers") // it was there
	return list
}

func image(u *unstructured.Unstructured) map[string]any {
	containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
	return containers[0].(map[string]any)
}

// With the values as they are the chart makes the same as the manifests, but that it
// says every flag, and which image.
func TestTheChartMakesWhatTheManifestsAre(t *testing.T) {
	chart, want := mustRender(t, "monitoring: {enabled: true}"), manifests(t, "manifests", "manifests/monitoring")
	delete(want, "Namespace/baremetal-system") // Helm's --create-namespace
	if got, want := slices.Sorted(maps.Keys(chart)), slices.Sorted(maps.Keys(want)); !slices.Equal(got, want) {
		t.Fatalf("the chart makes\n%s\nand the manifests are\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, key := range []string{"Deployment/baremetal-cloud-controller-manager", "DaemonSet/baremetal-speaker"} {
		given := args(chart[key])
		for _, a := range args(want[key]) {
			if !slices.Contains(given, a) {
				t.Errorf("%s has no argument %s", key, a)
			}
		}
		container := image(chart[key])
		if container["image"] != "cloud-provider-baremetal:v0.1.0" || container["imagePullPolicy"] != "IfNotPresent" {
			t.Errorf("%s has the image %v", key, container["image"])
		}
		unify(t, chart[key], want[key])
	}
	for key := range want {
		if !reflect.DeepEqual(chart[key].Object, want[key].Object) {
			t.Errorf("%s of the chart:\n%s\nof the manifests:\n%s", key, text(t, chart[key]), text(t, want[key]))
		}
	}
}

// unify leaves out what is allowed to differ.
func unify(t *testing.T, all ...*unstructured.Unstructured) {
	t.Helper()
	for _, u := range all {
		containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
		delete(containers[0].(map[string]any), "image")
		delete(containers[0].(map[string]any), "imagePullPolicy")
		if err := unstructured.SetNestedSlice(u.Object, containers, "spec", "template", "spec", "containers"); err != nil {
			t.Fatal(err)
		}
	}
}

func text(t *testing.T, u *unstructured.Unstructured) string {
	t.Helper()
	out, err := yaml.Marshal(u.Object)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestEveryValueDoesWhatItSays(t *testing.T) {
	const ccm, speaker = "Deployment/baremetal-cloud-controller-manager", "DaemonSet/baremetal-speaker"
	for _, test := range []struct {
		values, object string
		want           []string
	}{
		{"image: {repository: registry.example/lb, tag: v9}", ccm, []string{"image: registry.example/lb:v9"}},
		{"image: {pullPolicy: Always}", speaker, []string{"imagePullPolicy: Always"}},
		{"imagePullSecrets: [{name: mine}]", speaker, []string{"imagePullSecrets:\n      - name: mine"}},
		{"loadBalancerClass: example.com/lb\ndefaultLoadBalancer: false", ccm, []string{"- --load-balancer-class=example.com/lb", "- --default-load-balancer=false"}},
		{"loadBalancerClass: example.com/lb\ndefaultLoadBalancer: false", speaker, []string{"- --load-balancer-class=example.com/lb", "- --default-load-balancer=false"}},
		{"ccm: {replicas: 3, extraArgs: [--v=2], resources: {limits: {memory: 1Gi}}, nodeSelector: {a: b}, tolerations: [{operator: Exists}]}", ccm,
			[]string{"replicas: 3", "- --v=2", "memory: 1Gi", "nodeSelector:\n        a: b", "tolerations:\n      - operator: Exists"}},
		{"speaker: {failover: fast, membersPort: 1, heartbeatPort: 2, metricsPort: 3, extraArgs: [--log-level=debug]}", speaker,
			[]string{"- --failover=fast", "- --members-port=1", "- --heartbeat-port=2", "- --metrics-address=:3", "- --log-level=debug", "containerPort: 3\n          name: metrics"}},
		{"speaker: {resources: {limits: {memory: 1Gi}}, nodeSelector: {a: b}, tolerations: [{operator: Exists, key: x}]}", speaker,
			[]string{"memory: 1Gi", "nodeSelector:\n        a: b", "tolerations:\n      - key: x\n        operator: Exists"}},
		{"monitoring: {enabled: true, labels: {release: prometheus}}", "PrometheusRule/cloud-provider-baremetal", []string{"release: prometheus", "{{ $labels.pool }}"}},
		{"monitoring: {enabled: true, labels: {release: prometheus}}", "ServiceMonitor/baremetal-speaker", []string{"release: prometheus"}},
	} {
		made := mustRender(t, test.values)[test.object]
		if made == nil {
			t.Errorf("%s: no %s", test.values, test.object)
			continue
		}
		for _, want := range test.want {
			if got := text(t, made); !strings.Contains(got, want) {
				t.Errorf("%s: no %q in\n%s", test.values, want, got)
			}
		}
	}
	if made := mustRender(t, "networkPolicy: {enabled: false}"); made["NetworkPolicy/baremetal-cloud-controller-manager"] != nil || made["ServiceMonitor/baremetal-speaker"] != nil || made["ConfigMap/config"] != nil {
		t.Error("there is what was not asked for")
	}
}

func TestTheConfigurationComesThroughAsItIsWritten(t *testing.T) {
	const pools = "address-pools:\n- name: default\n  protocol: layer2\n  addresses: [192.0.2.0/24]   # all of it\n"
	made := mustRender(t, "config: |\n  "+strings.ReplaceAll(strings.TrimRight(pools, "\n"), "\n", "\n  ")+"\n")["ConfigMap/config"]
	got, _, _ := unstructured.NestedString(made.Object, "data", "config")
	if got != pools {
		t.Errorf("got %q, want %q", got, pools)
	}
	if c, err := config.Parse([]byte(got)); err != nil || len(c.Pools) != 1 {
		t.Errorf("%v", err)
	}
}

func TestValuesThatAreNotThereAreRefused(t *testing.T) {
	for values, want := range map[string]string{
		"speaker: {failover: slow}":            "failover",
		"speakers: {}":                         "speakers",
		"ccm: {replicas: 0}":                   "replicas",
		"config: {address-pools: []}":          "config",
		"speaker: {metricsPort: 70000}":        "metricsPort",
		"image: {repository: \"\"}":            "repository",
		"ccm: {extraArgs: [not-a-flag]}":       "extraArgs",
		"monitoring: {labels: {release: 1}}":   "labels",
		"speaker: {nodeSelector: {edge: on }}": "nodeSelector",
	} {
		if _, err := render(t, values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", values, err)
		}
	}
}

// An alert on a metric that nobody has would never be raised.
func TestAlertsAreOnMetricsThatThereAre(t *testing.T) {
	documented, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	rules := text(t, manifests(t, "manifests/monitoring")["PrometheusRule/cloud-provider-baremetal"])
	names := regexp.MustCompile(`baremetal_[a-z0-9_]+`).FindAllString(rules, -1)
	if len(names) < 7 {
		t.Fatalf("only %v in the rules", names)
	}
	for _, name := range names {
		if !bytes.Contains(documented, []byte("`"+name+"`")) {
			t.Errorf("%s is not documented", name)
		}
	}
}
