package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	k8stesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// runConvert runs the command on a cluster with the objects.
func runConvert(t *testing.T, stdin, objects string, args ...string) (out, errOut string, err error) {
	t.Helper()
	streams, in, stdout, stderr := genericiooptions.NewTestIOStreams()
	in.WriteString(stdin)
	c := &conversion{options: newOptions(streams), resources: func() (dynamic.Interface, error) { return clusterWith(t, objects), nil }}
	command := c.command()
	command.SilenceErrors, command.SilenceUsage = true, true
	command.SetArgs(args)
	err = command.ExecuteContext(t.Context())
	return stdout.String(), stderr.String(), err
}

// clusterWith returns the client of a cluster with the objects, YAML documents.
func clusterWith(t *testing.T, objects string) dynamic.Interface {
	t.Helper()
	var all []runtime.Object
	for document := range strings.SplitSeq(objects, "---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(document), &o.Object); err != nil {
			t.Fatal(err)
		}
		if len(o.Object) > 0 {
			all = append(all, o)
		}
	}
	lists := map[schema.GroupVersionResource]string{{Version: "v1", Resource: "configmaps"}: "ConfigMapList", {Version: "v1", Resource: "services"}: "ServiceList"}
	for _, r := range metalLBResources {
		for _, version := range r.versions {
			lists[schema.GroupVersionResource{Group: "metallb.io", Version: version, Resource: r.resource}] = r.resource + "List"
		}
	}
	lists[frrConfigurations] = "FRRConfigurationList"
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, all...)
}

const (
	layer2Objects = `apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: office, namespace: metallb-system}
spec: {addresses: [192.0.2.0/24], autoAssign: true}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: all, namespace: metallb-system}
`
	layer2Config = `
address-pools:
  - name: office
    protocol: layer2
    addresses:
      - 192.0.2.0/24
`
	vrfObject = `apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: red, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64512, peerAddress: 198.51.100.1, vrf: red}
`
)

func fileWith(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "objects.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestConvertReadsFilesAndStandardInput(t *testing.T) {
	pool, advertisement, _ := strings.Cut(layer2Objects, "---\n")
	for name, args := range map[string][]string{
		"one file":       {fileWith(t, layer2Objects)},
		"two files":      {fileWith(t, pool), fileWith(t, advertisement)},
		"standard input": {"-"},
	} {
		out, errOut, err := runConvert(t, layer2Objects, "", append([]string{"--from=metallb"}, args...)...)
		if err != nil || !strings.HasSuffix(out, layer2Config) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		if errOut != "Fields carried over: 3, changed: 0, not carried over: 0. The configuration is valid.\n" {
			t.Errorf("%s: %s", name, errOut)
		}
	}
}

func TestConvertReadsTheCluster(t *testing.T) {
	const services = `---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {metallb.io/rate-limit: "7"}}
spec: {type: LoadBalancer}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: metallb-system}
data: {config: "address-pools: []"}
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: elsewhere, namespace: other}
spec: {addresses: [198.51.100.0/24]}
`
	out, errOut, err := runConvert(t, "", layer2Objects+services, "--from=metallb")
	if exitCode(err) != 3 || !strings.HasSuffix(out, layer2Config) {
		t.Errorf("%v\n%s", err, out)
	}
	if want := "not carried over: cluster: Service shop/web: metadata.annotations: metallb.io/rate-limit: the cluster manager does not know this annotation"; !strings.HasPrefix(errOut, want) {
		t.Errorf("%s", errOut)
	}
}

func TestConvertNamesTheFRRConfigurationsOfAnOperator(t *testing.T) {
	const frr = `---
apiVersion: frrk8s.metallb.io/v1beta1
kind: FRRConfiguration
metadata: {name: metallb-node1, namespace: frr-k8s-system}
---
apiVersion: frrk8s.metallb.io/v1beta1
kind: FRRConfiguration
metadata: {name: filters, namespace: frr-k8s-system}
`
	_, errOut, err := runConvert(t, "", layer2Objects+frr, "--from=metallb")
	if exitCode(err) != 3 || !strings.Contains(errOut, "not carried over: cluster: FRRConfiguration filters: is a configuration of FRR") || strings.Contains(errOut, "metallb-node1") {
		t.Errorf("%v\n%s", err, errOut)
	}
}

func TestConvertGoesOnWithoutTheRightToReadFRR(t *testing.T) {
	streams, _, _, stderr := genericiooptions.NewTestIOStreams()
	client := clusterWith(t, layer2Objects).(*dynamicfake.FakeDynamicClient)
	client.PrependReactor("list", "frrconfigurations", func(k8stesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(frrConfigurations.GroupResource(), "", errors.New("no right"))
	})
	c := &conversion{options: newOptions(streams), resources: func() (dynamic.Interface, error) { return client, nil }}
	command := c.command()
	command.SetArgs([]string{"--from=metallb"})
	if err := command.ExecuteContext(t.Context()); err != nil || !strings.Contains(stderr.String(), "warning: listing frrconfigurations.frrk8s.metallb.io: ") {
		t.Errorf("%v\n%s", err, stderr)
	}
}

func TestConvertReadsTheConfigMapOfOldMetalLB(t *testing.T) {
	out, _, err := runConvert(t, "", `apiVersion: v1
kind: ConfigMap
metadata: {name: metallb, namespace: lb}
data: {config: "address-pools: [{name: a, protocol: layer2, addresses: [192.0.2.0/24]}]"}
`, "--from=metallb", "--metallb-namespace=lb")
	if err != nil || !strings.HasSuffix(out, "address-pools: [{name: a, protocol: layer2, addresses: [192.0.2.0/24]}]\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestConvertSaysWhereItLookedInAnEmptyCluster(t *testing.T) {
	_, _, err := runConvert(t, "", "", "--from=metallb")
	if exitCode(err) != 1 || !strings.Contains(err.Error(), "in the namespace metallb-system (--metallb-namespace names another one") {
		t.Errorf("%v", err)
	}
}

func TestConvertExitsWithThreeIfSomethingIsMissing(t *testing.T) {
	out, errOut, err := runConvert(t, layer2Objects+"---\n"+vrfObject, "", "--from=metallb", "-")
	if exitCode(err) != 3 {
		t.Errorf("%v", err)
	}
	if !strings.Contains(out, "# NOT CARRIED OVER: BGPPeer red spec.vrf: ") || !strings.Contains(errOut, "not carried over: standard input:13: document 3: BGPPeer red: spec.vrf: ") {
		t.Errorf("%s\n%s", out, errOut)
	}
	if _, _, err := runConvert(t, "kind: [", "", "--from=metallb", "-"); exitCode(err) != 1 {
		t.Errorf("%v", err)
	}
}

func TestConvertPrintsNotesAsJSON(t *testing.T) {
	out, errOut, err := runConvert(t, layer2Objects+"---\n"+vrfObject, "", "--from=metallb", "-o", "json", "-")
	if exitCode(err) != 3 || errOut != "" {
		t.Errorf("%v: %s", err, errOut)
	}
	var got struct {
		Configuration string
		Notes         []map[string]any
		Warnings      []string
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	last := got.Notes[len(got.Notes)-1]
	if !strings.HasSuffix(got.Configuration, layer2Config) || got.Warnings == nil || last["name"] != "red" || last["outcome"] != "not-carried" || last["line"] != 13.0 {
		t.Errorf("%s", out)
	}
}

func TestConvertPrintsAManifestOfTheConfigMap(t *testing.T) {
	plain, _, err := runConvert(t, layer2Objects, "", "--from=metallb", "-")
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := runConvert(t, layer2Objects, "", "--from=metallb", "--configmap", "-")
	if err != nil {
		t.Fatal(err)
	}
	var cm v1.ConfigMap
	if err := yaml.UnmarshalStrict([]byte(out), &cm); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if cm.Namespace != "baremetal-system" || cm.Name != "config" || cm.Data[configmap.Key] != plain {
		t.Errorf("%s", out)
	}
	source, err := configmap.Text([]byte(out), configmap.DefaultRef)
	if err != nil || !bytes.Equal(source.Text, []byte(plain)) {
		t.Errorf("%v\n%s", err, source.Text)
	}
	if _, err := config.Parse(source.Text); err != nil {
		t.Error(err)
	}
}

func TestConvertRefusesFlagsThatItDoesNotHave(t *testing.T) {
	for want, args := range map[string][]string{
		`required flag(s) "from" not set`:             {"-"},
		"--from=kube-vip is not supported":            {"--from=kube-vip", "-"},
		"--output=wide is not supported":              {"--from=metallb", "-o", "wide", "-"},
		"--configmap needs --output=yaml":             {"--from=metallb", "-o", "json", "--configmap", "-"},
		"- is given twice":                            {"--from=metallb", "-", "-"},
		"reading missing.yaml: open missing.yaml: no": {"--from=metallb", "missing.yaml"},
	} {
		if _, _, err := runConvert(t, layer2Objects, "", args...); exitCode(err) != 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// The conversion says that these annotations mean the same. The cluster manager must read
// them so.
func TestConvertKnowsTheAnnotationsThatServicesCanHave(t *testing.T) {
	for _, prefix := range []string{"metallb.io/", "metallb.universe.tf/"} {
		svc := &v1.Service{}
		svc.Annotations = map[string]string{prefix + "address-pool": "p", prefix + "loadBalancerIPs": "192.0.2.1", prefix + "allow-shared-ip": "k"}
		addrs, err := service.RequestedAddrs(svc)
		if err != nil || len(addrs) != 1 || service.Pool(svc) != "p" || service.ShareKey(svc) != "k" {
			t.Errorf("%s: %v %q %q: %v", prefix, addrs, service.Pool(svc), service.ShareKey(svc), err)
		}
		var lines []string
		for name := range svc.Annotations {
			lines = append(lines, name+": x")
		}
		_, errOut, err := runConvert(t, layer2Objects+"---\napiVersion: v1\nkind: Service\nmetadata: {name: s, annotations: {"+strings.Join(lines, ", ")+"}}\nspec: {type: LoadBalancer}\n", "", "--from=metallb", "-")
		if err != nil || !strings.HasPrefix(errOut, "Fields carried over: 6") {
			t.Errorf("%v: %s", err, errOut)
		}
	}
}
