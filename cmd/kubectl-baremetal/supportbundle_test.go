package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

// bgpPassword needs quotes in YAML and JSON. memberKey stands for the key of the speakers.
const (
	bgpPassword = `hun'ter"2\`
	memberKey   = "0123456789abcdef0123456789abcdef"
)

// documentPods serve empty documents of all kinds, and metrics. The pods of node3 do not answer.
type documentPods struct{}

func (documentPods) get(_ context.Context, pod *v1.Pod, _ uint16, paths ...string) (all [][]byte, err error) {
	if pod.Spec.NodeName == "node3" {
		return nil, errors.New("no answer within 5s")
	}
	kinds := map[string]string{
		debugapi.PlanPath: debugapi.PlanKind, debugapi.BGPPath: debugapi.BGPKind, debugapi.SpreadPath: debugapi.SpreadKind,
		debugapi.MembersPath: debugapi.MembersKind, debugapi.AllocationsPath: debugapi.AllocationsKind,
	}
	for _, path := range paths {
		if path == debugapi.MetricsPath {
			all = append(all, []byte("baremetal_layer2_owned 1\n"))
			continue
		}
		h := debugapi.NewHeader(kinds[path], "v1.2.3", time.Unix(1, 0))
		h.Problem = "a problem with " + bgpPassword // should never be, and is removed all the same
		text, err := json.Marshal(struct{ debugapi.Header }{h})
		if err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, nil
}

// unpack returns the files of a bundle by their names.
func unpack(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	uncompressed, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(uncompressed); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(header.Name, bundleFolder)] = string(text)
	}
}

// bundleOf makes a bundle of a cluster with secrets in many places.
func bundleOf(t *testing.T) map[string]string {
	t.Helper()
	text := "peers:\n- {peer-address: 192.0.2.254, peer-asn: 64500, my-asn: 64501, password: 'hun''ter\"2\\'}\n"
	misspelt := text + "- {peer-address: 192.0.2.253, pasword: misspelt1}\n- {peer-address: 192.0.2.252, passwort: misspelt2}\n- {peer-address: 192.0.2.251, Password: misspelt3}\n"
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "baremetal-system", Name: name, UID: "u", Annotations: map[string]string{
			"kubectl.kubernetes.io/last-applied-configuration": "everything, also " + bgpPassword, "lb.baremetal/pool": "main",
		}, ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}}}
	}
	pod := func(name, node, command string) *v1.Pod {
		return &v1.Pod{ObjectMeta: meta(name), Spec: v1.PodSpec{NodeName: node, Containers: []v1.Container{{
			Name: "main", Command: []string{command}, Env: []v1.EnvVar{{Name: "HTTP_PROXY", Value: "http://user:proxysecret@proxy"}},
		}}, EphemeralContainers: []v1.EphemeralContainer{{EphemeralContainerCommon: v1.EphemeralContainerCommon{
			Name: "debug", Args: []string{"--token=proxysecret"}, Env: []v1.EnvVar{{Name: "TOKEN", Value: "proxysecret"}},
		}}}}, Status: v1.PodStatus{ContainerStatuses: []v1.ContainerStatus{{Name: "main", RestartCount: 1}}}}
	}
	web := meta("web")
	web.Namespace = "shop"
	slice := meta("web-1")
	slice.Namespace, slice.Labels = "shop", map[string]string{discoveryv1.LabelServiceName: "web"}
	client := fake.NewClientset(
		&v1.ConfigMap{ObjectMeta: meta("config"), Data: map[string]string{"config": misspelt}},
		&v1.ConfigMap{ObjectMeta: meta("config-in-use"), Data: map[string]string{"config": text, "orphans": "[]"}},
		&v1.Secret{ObjectMeta: meta("memberlist"), Data: map[string][]byte{"secretkey": []byte(memberKey)}},
		&v1.Service{ObjectMeta: web, Spec: v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer}},
		&v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "internal"}, Spec: v1.ServiceSpec{Type: v1.ServiceTypeClusterIP}},
		&discoveryv1.EndpointSlice{ObjectMeta: slice},
		&v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}, Status: v1.NodeStatus{NodeInfo: v1.NodeSystemInfo{KubeletVersion: "v1.37.2"}}},
		&v1.Event{ObjectMeta: meta("e"), Reason: "ConfigRefused", Message: "the configuration has the password " + bgpPassword + ", and misspelt1"},
		&appsv1.DaemonSet{ObjectMeta: meta("speaker"), Spec: appsv1.DaemonSetSpec{Template: v1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: meta("x").Annotations}, Spec: v1.PodSpec{Containers: []v1.Container{{Command: []string{"/baremetal-speaker"}}}}}}},
		pod("speaker-1", "node1", "/baremetal-speaker"), pod("speaker-3", "node3", "/baremetal-speaker"), pod("manager", "node1", "/baremetal-cloud-controller-manager"),
	)
	streams, _, _, _ := genericiooptions.NewTestIOStreams()
	b, err := newOptions(streams).collectBundle(t.Context(), client, documentPods{}, time.Unix(1000, 0))
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	n, err := b.write(&archive)
	files := unpack(t, archive.Bytes())
	if err != nil || n != len(files) {
		t.Errorf("%d files of %d, %v", len(files), n, err)
	}
	return files
}

func TestSupportBundleHasNoPasswordAndNoKey(t *testing.T) {
	files := bundleOf(t)
	inJSON, _ := json.Marshal(bgpPassword)
	for name, text := range files {
		for _, secret := range []string{bgpPassword, string(inJSON[1 : len(inJSON)-1]), `hun''ter`, memberKey, "misspelt1", "misspelt2", "misspelt3", "proxysecret", "last-applied-configuration", "managedFields"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s has %q: %s", name, secret, text)
			}
		}
	}
	for _, name := range []string{"config/operator/config.yaml", "config/in-use/config.yaml"} {
		if text := files[name]; !strings.Contains(text, "peer-address: 192.0.2.254") || !strings.Contains(text, "password: redacted") {
			t.Errorf("%s: %s", name, text)
		}
	}
	if text := files["objects/events.yaml"]; !strings.Contains(text, "has the password (password removed), and (password removed)") {
		t.Errorf("the Event: %s", text)
	}
}

func TestSupportBundleHasWhatHelps(t *testing.T) {
	files := bundleOf(t)
	for name, want := range map[string]string{
		"index.txt":                         "speakers/node1/plan.json",
		"versions.txt":                      "speaker of node node1 v1.2.3\nnode node1: kubelet v1.37.2",
		"status.txt":                        "CLUSTER MANAGER",
		"status.json":                       `"problems"`,
		"config/in-use/orphans":             "[]",
		"objects/services.yaml":             "lb.baremetal/pool: main",
		"objects/endpointslices.yaml":       "kind: EndpointSlice",
		"objects/nodes.yaml":                "kind: Node",
		"objects/pods.yaml":                 "name: HTTP_PROXY",
		"objects/events.yaml":               "reason: ConfigRefused",
		"speakers/node1/plan.json":          `"kind": "Plan"`,
		"speakers/node1/bgp.json":           `"kind": "BGP"`,
		"speakers/node1/spread.json":        `"kind": "Spread"`,
		"speakers/node1/members.json":       `"kind": "Members"`,
		"speakers/node1/metrics.txt":        "baremetal_layer2_owned 1",
		"speakers/node1/main.log":           "fake logs",
		"speakers/node1/main.before.log":    "fake logs",
		"speakers/node3/main.log":           "fake logs",
		"managers/manager/allocations.json": `"kind": "Allocations"`,
		"managers/manager/metrics.txt":      "baremetal_layer2_owned 1",
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s does not have %q: %q", name, want, files[name])
		}
	}
	if strings.Contains(files["objects/services.yaml"], "name: internal") {
		t.Error("a Service is in the bundle that the product does not serve")
	}
}

func TestSupportBundleSaysWhatIsMissingAndWhy(t *testing.T) {
	_, missing, ok := strings.Cut(bundleOf(t)["index.txt"], "\nMISSING\n")
	if !ok {
		t.Fatal("the index has no such part")
	}
	for _, want := range []string{
		"the documents of the speaker of node node3: no answer within 5s", "metrics of the speaker of node node3: no answer within 5s", "what the speakers publish: ",
	} {
		if !slices.ContainsFunc(strings.Split(missing, "\n"), func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("%q is missing in\n%s", want, missing)
		}
	}
}

func TestConfigurationThatIsNoYAMLIsLeftOut(t *testing.T) {
	b := &bundle{}
	b.addConfigMap("config/", "the configuration", &v1.ConfigMap{Data: map[string]string{"config": "\tpassword: hunter2"}})
	if len(b.files) > 0 || len(b.missing) != 1 || !strings.Contains(b.missing[0].why, "removing the passwords") || strings.Contains(b.missing[0].why, "hunter2") {
		t.Errorf("%+v", b)
	}
}
