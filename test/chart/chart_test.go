// Package chart tests the Helm chart with Helm's own engine. The chart must make the same
// objects as the manifests, and every value must have the documented effect.
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

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

const root = "../.."

// objects are Kubernetes objects, by KIND/NAME.
type objects map[string]*unstructured.Unstructured

// render returns the objects that `helm template` makes with these values. The error says
// why the chart or its schema refuses the values.
func render(t *testing.T, values string) (objects, error) { return renderFor(t, "v1.35.0", values) }

// renderFor is render for a version of Kubernetes.
func renderFor(t *testing.T, version, values string) (objects, error) {
	t.Helper()
	files, err := renderFiles(t, load(t), version, values, nothing{})
	if err != nil {
		return nil, err
	}
	return read(t, files), nil
}

// load reads the chart.
func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load(filepath.Join(root, "manifests", "helm"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The release that the tests render.
const releaseName, releaseNamespace = "lb", "baremetal-system"

// renderFiles returns what Helm makes of each template. live is what Helm finds in the cluster.
func renderFiles(t *testing.T, c *chart.Chart, version, values string, live engine.ClientProvider) (map[string]string, error) {
	t.Helper()
	given, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	if err := chartutil.ProcessDependencies(c, given); err != nil {
		return nil, err
	}
	return renderRelease(c, version, given, chartutil.ReleaseOptions{Name: releaseName, Namespace: releaseNamespace, Revision: 1, IsInstall: true}, live)
}

// renderRelease is renderFiles for a release.
func renderRelease(c *chart.Chart, version string, given chartutil.Values, release chartutil.ReleaseOptions, live engine.ClientProvider) (map[string]string, error) {
	capabilities := chartutil.DefaultCapabilities.Copy() // of a version without admission policies
	capabilities.KubeVersion = chartutil.KubeVersion{Version: version, Major: "1", Minor: strings.Split(version, ".")[1]}
	all, err := chartutil.ToRenderValues(c, given, release, capabilities)
	if err != nil {
		return nil, err
	}
	return engine.RenderWithClientProvider(c, all, live)
}

// read returns the objects of the rendered templates.
func read(t *testing.T, files map[string]string) objects {
	t.Helper()
	found := objects{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".yaml") {
			found.read(t, name, []byte(strings.TrimSpace(files[name]))) // Helm also removes space at the end
		}
	}
	return found
}

// mustRender is like render, and ends the test if the chart refuses the values.
func mustRender(t *testing.T, values string) objects {
	t.Helper()
	o, err := render(t, values)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// read adds the objects of a YAML file. name is used in messages.
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
			t.Errorf("%s: %s exists twice", name, key)
		}
		o[key] = u
	}
}

// manifests returns the objects that `kubectl apply -k` makes of these directories.
func manifests(t *testing.T, dirs ...string) objects {
	t.Helper()
	found := objects{}
	for _, dir := range dirs {
		maps.Copy(found, build(t, filepath.Join(root, dir)))
	}
	return found
}

// build returns the objects that kustomize makes of a directory.
func build(t *testing.T, dir string) objects {
	t.Helper()
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatalf("%s: %v", dir, err)
	}
	text, err := made.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	found := objects{}
	found.read(t, dir, text)
	return found
}

// args removes the arguments of the only container from an object, and returns them.
func args(u *unstructured.Unstructured) (list []string) {
	containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
	container := containers[0].(map[string]any)
	for _, a := range container["args"].([]any) {
		list = append(list, a.(string))
	}
	delete(container, "args")
	_ = unstructured.SetNestedSlice(u.Object, containers, "spec", "template", "spec", "containers") // cannot fail, because the field exists
	return list
}

// container returns the only container of an object.
func container(u *unstructured.Unstructured) map[string]any {
	containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "template", "spec", "containers")
	return containers[0].(map[string]any)
}

// With the default values the chart makes the same objects as the manifests, except that
// it sets every flag and names the image.
func TestChartMakesTheSameObjectsAsTheManifests(t *testing.T) {
	chart, want := mustRender(t, "monitoring: {enabled: true, dashboard: {enabled: true}}"), manifests(t, "manifests", "manifests/monitoring")
	delete(want, "Namespace/baremetal-system") // made by `helm install --create-namespace`
	delete(chart, "Pod/baremetal-test-config") // made by `helm test`
	if got, want := slices.Sorted(maps.Keys(chart)), slices.Sorted(maps.Keys(want)); !slices.Equal(got, want) {
		t.Fatalf("the chart makes these objects:\n%s\nthe manifests have these objects:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, key := range []string{"Deployment/baremetal-cloud-controller-manager", "DaemonSet/baremetal-speaker"} {
		given := args(chart[key])
		for _, a := range args(want[key]) {
			if !slices.Contains(given, a) {
				t.Errorf("%s has no argument %s", key, a)
			}
		}
		c := container(chart[key])
		if c["image"] != "cloud-provider-baremetal:v0.1.0" || c["imagePullPolicy"] != "IfNotPresent" {
			t.Errorf("%s has the image %v with the pull policy %v", key, c["image"], c["imagePullPolicy"])
		}
		unify(t, chart[key], want[key])
	}
	for key := range want {
		ownLabels(chart[key])
		ownLabels(want[key])
		if !reflect.DeepEqual(chart[key].Object, want[key].Object) {
			t.Errorf("%s differs; in the chart:\n%s\nin the manifests:\n%s", key, text(t, chart[key]), text(t, want[key]))
		}
	}
}

// With reportDeadNodes the chart makes also the objects of the component.
func TestChartReportsDeadNodesAsTheManifestsDo(t *testing.T) {
	const dir = "manifests/report-dead-nodes"
	chart, before, want := mustRender(t, "reportDeadNodes: true\nspeaker: {metricsPort: 9}"), mustRender(t, ""), manifests(t, dir)
	for key, made := range chart {
		switch {
		case want[key] == nil && before[key] == nil:
			t.Errorf("%s is in the chart only", key)
		case want[key] != nil && !reflect.DeepEqual(ownLabels(made).Object, ownLabels(want[key]).Object):
			t.Errorf("%s differs; in the chart:\n%s\nin the manifests:\n%s", key, text(t, made), text(t, want[key]))
		}
	}
	for key := range want {
		if chart[key] == nil || before[key] != nil {
			t.Errorf("%s: with the value it is there: %v, without it: %v", key, chart[key] != nil, before[key] != nil)
		}
	}
	const flag = "--report-dead-nodes=true"
	if given := args(chart[ccm]); !slices.Contains(given, flag) || !slices.Contains(given, "--speaker-metrics-port=9") {
		t.Errorf("the flags are %v", given)
	}
	component, err := os.ReadFile(filepath.Join(root, dir, "kustomization.yaml"))
	if err != nil || !bytes.Contains(component, []byte("value: "+flag+"\n")) {
		t.Errorf("the component does not set %s (%v)", flag, err)
	}
	if _, err := renderFor(t, "v1.29.0", "reportDeadNodes: true"); err == nil || !strings.Contains(err.Error(), "needs Kubernetes 1.30") {
		t.Errorf("Kubernetes 1.29 has no policy: %v", err)
	}
}

// unify removes the fields in which the chart and the manifests may differ.
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

// ownLabels removes the labels that say who has made an object, and in which version.
func ownLabels(u *unstructured.Unstructured) *unstructured.Unstructured {
	for _, fields := range [][]string{{"metadata", "labels"}, {"spec", "template", "metadata", "labels"}} {
		if labels, ok, _ := unstructured.NestedMap(u.Object, fields...); ok {
			for _, label := range []string{"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/part-of", "app.kubernetes.io/version", "helm.sh/chart"} {
				delete(labels, label)
			}
			_ = unstructured.SetNestedMap(u.Object, labels, fields...) // cannot fail, because the field exists
		}
	}
	return u
}

// text returns an object as YAML.
func text(t *testing.T, u *unstructured.Unstructured) string {
	t.Helper()
	out, err := yaml.Marshal(u.Object)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestValuesHaveTheDocumentedEffect(t *testing.T) {
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
			[]string{"replicas: 3", "- --v=2", "memory: 1Gi", "name: GOMEMLIMIT\n          value: 870MiB", "nodeSelector:\n        a: b", "tolerations:\n      - operator: Exists"}},
		{"speaker: {failover: fast, membersPort: 1, heartbeatPort: 2, metricsPort: 3, healthPort: 4, extraArgs: [--log-level=debug]}", speaker,
			[]string{"- --failover=fast", "- --members-port=1", "- --heartbeat-port=2", "- --metrics-address=:3", "- --health-address=127.0.0.1:4", "- --insecure-metrics=false", "- --log-level=debug",
				"containerPort: 3\n          name: metrics", "containerPort: 4\n          name: health"}},
		{"speaker: {insecureMetrics: true}", speaker, []string{"- --insecure-metrics=true"}},
		{"speaker: {metricsTLSSecret: mine}", speaker, []string{"- --tls-cert-file=/etc/baremetal/tls/tls.crt", "- --tls-private-key-file=/etc/baremetal/tls/tls.key",
			"volumeMounts:\n        - mountPath: /etc/baremetal/tls", "volumes:\n      - name: tls\n        secret:\n          secretName: mine"}},
		{"bgp: {passwordSecrets: [a, b]}", "Role/baremetal-speaker", []string{"resourceNames:\n  - a\n  - b\n  resources:\n  - secrets\n  verbs:\n  - get\n  - list\n  - watch"}},
		{"monitoring: {enabled: true}", "ServiceMonitor/baremetal-speaker", []string{"scheme: https", "bearerTokenFile: "}},
		{"speaker: {closedPorts: leave, answerPing: false}", speaker, []string{"- --closed-ports=leave", "- --answer-ping=false", "- NET_RAW\n            - NET_ADMIN"}},
		{"speaker: {spread: \"off\"}", speaker, []string{"- --spread=off", "- NET_RAW\n            - NET_ADMIN"}},
		{"speaker: {spread: off, closedPorts: leave}", speaker, []string{"- --spread=off", "add:\n            - NET_RAW\n            drop:"}},
		{"speaker: {spread: auto, closedPorts: leave}", speaker, []string{"--answer-ping=true\n        command:", "- NET_RAW\n            - NET_ADMIN"}},
		{"speaker: {resources: {limits: {memory: 1Gi}}, nodeSelector: {a: b}, tolerations: [{operator: Exists, key: x}]}", speaker,
			[]string{"memory: 1Gi", "name: GOMEMLIMIT\n          value: 870MiB", "nodeSelector:\n        a: b", "tolerations:\n      - key: x\n        operator: Exists"}},
		{"speaker: {resources: {limits: {memory: 268435456}}}", speaker, []string{"memory: 268435456", "value: 217MiB"}},
		{"speaker: {resources: {limits: {memory: 300M}}}", speaker, []string{"memory: 300M", "value: 243MiB"}},
		{"loadBalancerClass: example.com/lb\ndefaultLoadBalancer: false\nadmissionPolicy: {allowedUsers: [\"system:serviceaccount:dns:names\"]}", "ValidatingAdmissionPolicy/baremetal-service-status",
			[]string{"example.com/lb", ": false", "[''system:serviceaccount:dns:names'']"}},
		{"loadBalancerClass: example.com/a,example.com/b", ccm, []string{"- --load-balancer-class=example.com/a,example.com/b\n"}},
		{"loadBalancerClass: example.com/a,example.com/b", "ValidatingAdmissionPolicy/baremetal-service-status", []string{"in [''example.com/a'', ''example.com/b'']"}},
		{"monitoring: {enabled: true, labels: {release: prometheus}}", "PrometheusRule/cloud-provider-baremetal", []string{"release: prometheus", "{{ $labels.pool }}"}},
		{"monitoring: {enabled: true, runbooks: 'https://wiki.example/lb', alerts: {BaremetalPoolNearlyFull: {threshold: 0.75, for: 1h, severity: page}, BaremetalHTTPFlood: {threshold: 0}}}", "PrometheusRule/cloud-provider-baremetal",
			[]string{"> 0.75\n", "for: 1h\n", "severity: page\n", "runbook_url: https://wiki.example/lb#baremetalpoolnearlyfull\n", "(rate(baremetal_http_rejected_total[5m])) > 0\n"}},
		{"monitoring: {dashboard: {enabled: true, labels: {dash: \"2\"}, annotations: {grafana_folder: Network}}}", "ConfigMap/baremetal-dashboard",
			[]string{"dash: \"2\"\n", "grafana_folder: Network\n", `"title": "cloud-provider-baremetal"`}},
		{"monitoring: {dashboard: {enabled: true, namespace: grafana}}", "ConfigMap/baremetal-dashboard", []string{"namespace: grafana\n"}},
		{"logFormat: json", speaker, []string{"- --log-format=json\n"}},
		{"monitoring: {enabled: true, labels: {release: prometheus}}", "ServiceMonitor/baremetal-speaker", []string{"release: prometheus"}},
	} {
		made := mustRender(t, test.values)[test.object]
		if made == nil {
			t.Errorf("with the values %s there is no %s", test.values, test.object)
			continue
		}
		for _, want := range test.want {
			if got := text(t, made); !strings.Contains(got, want) {
				t.Errorf("with the values %s, %q is missing in\n%s", test.values, want, got)
			}
		}
	}
	off := text(t, mustRender(t, "monitoring: {enabled: true, alerts: {BaremetalHTTPFlood: {enabled: false}}}")["PrometheusRule/cloud-provider-baremetal"])
	if strings.Contains(off, "BaremetalHTTPFlood") || strings.Count(off, "- alert:") < 7 {
		t.Errorf("one alert is switched off, and the rules are\n%s", off)
	}
	insecure := text(t, mustRender(t, "monitoring: {enabled: true}\nspeaker: {insecureMetrics: true}")["ServiceMonitor/baremetal-speaker"])
	if strings.Contains(insecure, "https") || strings.Contains(insecure, "bearerTokenFile") {
		t.Errorf("with insecureMetrics, Prometheus sends its token without TLS:\n%s", insecure)
	}
	if made := mustRender(t, "networkPolicy: {enabled: false}"); made["NetworkPolicy/baremetal-cloud-controller-manager"] != nil || made["ServiceMonitor/baremetal-speaker"] != nil || made["ConfigMap/config"] != nil {
		t.Error("the chart makes a NetworkPolicy, a ServiceMonitor or a ConfigMap that the values did not ask for")
	}
	for _, key := range []string{ccm, speaker} {
		made := text(t, mustRender(t, "{ccm: {resources: {limits: null}}, speaker: {resources: {limits: null}}}")[key])
		if strings.Contains(made, "GOMEMLIMIT") || strings.Contains(made, "limits:") {
			t.Errorf("without a limit %s has\n%s", key, made)
		}
	}
}

func TestAdmissionPolicyIsThereByDefaultWhereItCanBe(t *testing.T) {
	for _, test := range []struct {
		version, values string
		want            bool
	}{
		{"v1.35.0", "", true}, {"v1.29.0", "", false}, {"v1.30.0-rc.1", "", true},
		{"v1.35.0", "admissionPolicy: {enabled: false}", false}, {"v1.29.0", "admissionPolicy: {enabled: true}", true},
	} {
		made, err := renderFor(t, test.version, test.values)
		if err != nil {
			t.Fatal(err)
		}
		if got := made["ValidatingAdmissionPolicy/baremetal-service-status"] != nil && made["ValidatingAdmissionPolicyBinding/baremetal-service-status"] != nil; got != test.want {
			t.Errorf("%s with %q: the policy is there: %v", test.version, test.values, got)
		}
		for key, u := range made {
			if strings.HasPrefix(key, "ClusterRole/baremetal-speaker") && strings.Contains(text(t, u), "services/status") && !test.want {
				t.Errorf("%s with %q: %s lets the speakers write any status", test.version, test.values, key)
			}
		}
	}
}

func TestConfigIsPassedThroughUnchanged(t *testing.T) {
	const pools = "address-pools:\n- name: default\n  protocol: layer2\n  addresses: [192.0.2.0/24]   # all of it\n"
	made := mustRender(t, "config: |\n  "+strings.ReplaceAll(strings.TrimRight(pools, "\n"), "\n", "\n  ")+"\n")["ConfigMap/config"]
	got, _, _ := unstructured.NestedString(made.Object, "data", "config")
	if got != pools {
		t.Errorf("got %q, want %q", got, pools)
	}
	if c, err := config.Parse([]byte(got)); err != nil || len(c.Pools) != 1 {
		t.Errorf("the configuration is %+v, want one pool (%v)", c, err)
	}
}

func TestValuesAreRefusedByTheSchemaIfInvalid(t *testing.T) {
	for values, want := range map[string]string{
		"speaker: {failover: slow}":                                      "failover",
		"admissionPolicy: {enabled: maybe}":                              "admissionPolicy",
		"speaker: {closedPorts: drop}":                                   "closedPorts",
		"speaker: {spread: true}":                                        "spread",
		"speakers: {}":                                                   "speakers",
		"loadBalancerClass: \"a, b\"":                                    "loadBalancerClass",
		"loadBalancerClass: a'b":                                         "loadBalancerClass",
		"admissionPolicy: {allowedUsers: [\"it's\"]}":                    "allowedUsers",
		"ccm: {replicas: 0}":                                             "replicas",
		"config: [address-pools]":                                        "config",
		"config: {address-pool: []}":                                     "address-pool",
		"image: {digest: sha256:abc}":                                    "digest",
		"image: {registry: registry.example/}":                           "registry",
		"logFormat: xml":                                                 "logFormat",
		"speaker: {podLabels: {app.kubernetes.io/name: mine}}":           "podLabels",
		"speaker: {topologySpreadConstraints: []}":                       "topologySpreadConstraints",
		"ccm: {extraEnv: [{name: GOMEMLIMIT, value: 1GiB}]}":             "extraEnv",
		"monitoring: {alerts: {BaremetalNothing: {}}}":                   "BaremetalNothing",
		"monitoring: {alerts: {BaremetalConfigRefused: {threshold: 1}}}": "threshold",
		"monitoring: {alerts: {BaremetalConfigRefused: {for: soon}}}":    "for",
		"speaker: {metricsPort: 70000}":                                  "metricsPort",
		"speaker: {resources: {limits: {memory: 1.5Gi}}}":                "memory",
		"bgp: {passwordSecrets: one}":                                    "passwordSecrets",
		"image: {repository: \"\"}":                                      "repository",
		"ccm: {extraArgs: [not-a-flag]}":                                 "extraArgs",
		"monitoring: {labels: {release: 1}}":                             "labels",
		"speaker: {nodeSelector: {edge: on }}":                           "nodeSelector",
		"reportDeadNodes: 1":                                             "reportDeadNodes",
		"reportDeadNodes: true\nspeaker: {insecureMetrics: true}":        "reportDeadNodes needs TLS",
	} {
		if _, err := render(t, values); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the values %s must be refused with %q, got the error %v", values, want, err)
		}
	}
}

// If the programs do not have a metric, its alert can never fire.
func TestAlertsUseDocumentedMetrics(t *testing.T) {
	documented, err := os.ReadFile(filepath.Join(root, "docs", "reference", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	rules := text(t, manifests(t, "manifests/monitoring")["PrometheusRule/cloud-provider-baremetal"])
	names := regexp.MustCompile(`baremetal_[a-z0-9_]+`).FindAllString(rules, -1)
	if len(names) < 7 {
		t.Fatalf("the rules name only the metrics %v, want 7 or more", names)
	}
	for _, name := range names {
		if !bytes.Contains(documented, []byte("`"+name+"`")) {
			t.Errorf("%s is not documented", name)
		}
	}
}
