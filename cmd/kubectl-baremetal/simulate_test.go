package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/build"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plandoc"
)

const inUse = `# The pools of this cluster.
address-pools:
- {name: a, protocol: layer2, addresses: [10.0.1.0/24]}
`

var clusterNodes = []string{"node1", "node2"}

// testCluster is a cluster of two nodes with the Service web at 10.0.1.1. Its speakers answer.
type testCluster struct {
	t      *testing.T
	client *fake.Clientset
	states map[string]plan.State
	// silent are nodes whose speakers do not answer.
	silent map[string]bool
	// version is that of the speakers, and decide changes what they say they have decided.
	version string
	decide  func(*debugapi.Decision)
}

func newTestCluster(t *testing.T, objects ...runtime.Object) *testCluster {
	t.Helper()
	c := &testCluster{t: t, states: map[string]plan.State{}, silent: map[string]bool{}, version: build.Version(), decide: func(*debugapi.Decision) {}}
	objects = append(objects,
		&v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "baremetal-system", Name: "config", UID: "c"}, Data: map[string]string{configmap.Key: inUse, "other": "stays"}},
		&v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "w"}, Spec: v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, IPFamilies: []v1.IPFamily{v1.IPv4Protocol}},
			Status: v1.ServiceStatus{LoadBalancer: v1.LoadBalancerStatus{Ingress: []v1.LoadBalancerIngress{{IP: "10.0.1.1"}}}}},
		endpointSlice("web", map[string]string{"web-1": "node1", "web-2": "node2"}),
	)
	parsed, err := config.Parse([]byte(inUse))
	if err != nil {
		t.Fatal(err)
	}
	base := plan.State{Config: parsed, Services: []plan.Service{{Name: "default/web", VIPs: []netip.Addr{netip.MustParseAddr("10.0.1.1")}}}}
	for i, name := range clusterNodes {
		address := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)}), 8)
		m := plan.Member{Name: name, Segments: []plan.Segment{{Link: "eth0", IPv4: address, Networks: []netip.Prefix{address.Masked()}}}}
		base.Nodes, base.Members, base.Holders = append(base.Nodes, plan.Node{Name: name}), append(base.Members, m), append(base.Holders, m)
		objects = append(objects, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "baremetal-system", Name: "speaker-" + name},
			Spec:       v1.PodSpec{NodeName: name, Containers: []v1.Container{{Name: "speaker", Command: []string{"/baremetal-speaker"}}}},
			Status:     v1.PodStatus{Phase: v1.PodRunning},
		})
	}
	for _, name := range clusterNodes {
		s := base
		s.Node = name
		c.states[name] = s
	}
	c.client = fake.NewClientset(objects...)
	return c
}

// endpointSlice returns the endpoints of a Service: pods and their nodes.
func endpointSlice(svc string, pods map[string]string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: svc + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: svc}}, AddressType: discoveryv1.AddressTypeIPv4}
	for pod, node := range pods {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{"10.244.0.1"}, NodeName: &node, TargetRef: &v1.ObjectReference{Kind: "Pod", Namespace: "default", Name: pod}})
	}
	return s
}

// owner returns the node that announces the address of web, and the other one.
func (c *testCluster) owner() (owner, other string) {
	owner = plan.Make(c.states["node1"], plan.Plan{}).Decisions[0].Owner
	if owner == "node1" {
		return owner, "node2"
	}
	return owner, "node1"
}

func (c *testCluster) get(_ context.Context, pod *v1.Pod, _ uint16, paths ...string) (answers [][]byte, err error) {
	if c.silent[pod.Spec.NodeName] {
		return nil, errors.New("no answer")
	}
	s := c.states[pod.Spec.NodeName]
	state, err := plandoc.FromState(s, inUse, "")
	if err != nil {
		c.t.Fatal(err)
	}
	header := func(kind string) debugapi.Header {
		h := debugapi.NewHeader(kind, c.version, time.Now())
		h.Node = s.Node
		return h
	}
	doc := debugapi.Plan{Header: header(debugapi.PlanKind), State: state}
	plandoc.Fill(&doc, plan.Make(s, plan.Plan{}), s)
	c.decide(&doc.Decisions[0])
	documents := map[string]any{
		debugapi.PlanPath: doc, debugapi.BGPPath: debugapi.BGP{Header: header(debugapi.BGPKind)},
		debugapi.SpreadPath: debugapi.Spread{Header: header(debugapi.SpreadKind)}, debugapi.MembersPath: debugapi.Members{Header: header(debugapi.MembersKind)},
	}
	for _, path := range paths {
		answer, err := json.Marshal(documents[path])
		if err != nil {
			c.t.Fatal(err)
		}
		answers = append(answers, answer)
	}
	return answers, nil
}

// simulator returns the command, which reads stdin, and its output.
func (c *testCluster) simulator(stdin string) (simulator, *bytes.Buffer) {
	var out bytes.Buffer
	o := newOptions(genericiooptions.IOStreams{In: strings.NewReader(stdin), Out: &out, ErrOut: &out})
	return simulator{o, c.client, c}, &out
}

func TestSimulatePrintsWhatMoves(t *testing.T) {
	c := newTestCluster(t)
	owner, other := c.owner()
	s, out := c.simulator("")
	r, err := s.run(t.Context(), []string{owner}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := printSimulation(out, formatTable, r); err != nil {
		t.Errorf("nothing is lost, but: %v", err)
	}
	want := "With " + owner + ` drained, something would change for 1 of 1 address:

10.0.1.1  default/web
  layer 2      ` + owner + " → " + other + `
  connections  they usually break: the kernel of the new owner does not know them

NODE    ANNOUNCES BY LAYER 2   BGP SESSIONS   BGP ROUTES
node1   ` + map[bool]string{true: "1 → 0", false: "0 → 1"}[owner == "node1"] + `                  -              -
node2   ` + map[bool]string{true: "1 → 0", false: "0 → 1"}[owner == "node2"] + `                  -              -

Note: Connections to pods that are evicted end with the pods.`
	if !strings.HasPrefix(out.String(), want) {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
}

func TestSimulateFailsIfSomethingIsServedByNobody(t *testing.T) {
	c := newTestCluster(t)
	for _, format := range []string{formatTable, formatJSON, formatYAML} {
		s, out := c.simulator("")
		r, err := s.run(t.Context(), nil, clusterNodes, "")
		if err != nil {
			t.Fatal(err)
		}
		err = printSimulation(out, format, r)
		if exitCode(err) != 1 || err == nil || err.Error() != "1 address would be served by nobody: 10.0.1.1" {
			t.Errorf("%s: exit status %d, %v", format, exitCode(err), err)
		}
		if want := map[string]string{formatTable: "\n  NOT SERVED   ", formatJSON: `"unserved": true`, formatYAML: "  unserved: true\n"}[format]; !strings.Contains(out.String(), want) {
			t.Errorf("%s: %q is missing in\n%s", format, want, out)
		}
	}
}

func TestSimulateKnowsThePodsThatADrainLeaves(t *testing.T) {
	controller := true
	pod := func(name, kind string, annotations map[string]string) *v1.Pod {
		p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Annotations: annotations}, Spec: v1.PodSpec{NodeName: "node1"}}
		if kind != "" {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: kind, Controller: &controller}}
		}
		return p
	}
	for name, tt := range map[string]struct {
		pod    *v1.Pod
		status int
	}{
		"of a ReplicaSet": {pod("web-1", "ReplicaSet", nil), 1},
		"of a DaemonSet":  {pod("web-1", "DaemonSet", nil), 0},
		"static":          {pod("web-1", "", map[string]string{v1.MirrorPodAnnotationKey: "x"}), 0},
	} {
		c := newTestCluster(t, tt.pod)
		if _, err := c.client.DiscoveryV1().EndpointSlices("default").Update(t.Context(), endpointSlice("web", map[string]string{"web-1": "node1"}), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		s, out := c.simulator("")
		r, err := s.run(t.Context(), []string{"node1"}, nil, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := exitCodeOf(printSimulation(out, formatTable, r)); got != tt.status {
			t.Errorf("%s: exit status %d\n%s", name, got, out)
		}
	}
}

// exitCodeOf returns the exit status for an error, which can be nil.
func exitCodeOf(err error) int {
	if err == nil {
		return 0
	}
	return exitCode(err)
}

func TestSimulateSaysWhatAConfigurationDoes(t *testing.T) {
	c := newTestCluster(t)
	for name, tt := range map[string]struct {
		text   string
		want   []string
		status int
	}{
		"another pool": {strings.Replace(inUse, "10.0.1.0/24", "10.0.9.0/24", 1), []string{
			"default/web would keep an address that no pool gives it", "With this configuration, something would change for 1 of 1 address", "pool         a → none", "they go on"}, 0},
		"reassign": {"reassign: true\n" + strings.Replace(inUse, "10.0.1.0/24", "10.0.9.0/24", 1), []string{
			"default/web has 10.0.1.1, and would get 10.0.9.0", "NOT SERVED   no Service would have the address any more"}, 1},
		"another protocol": {strings.Replace(inUse, "layer2", "bgp", 1), []string{"NOT SERVED   no node has an established session"}, 1},
		"no change":        {inUse, []string{"no change for 1 Service\n", "With this configuration, no address would be announced in another way than now (1 address)."}, 0},
	} {
		s, out := c.simulator(tt.text)
		r, err := s.run(t.Context(), nil, nil, "-")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := exitCodeOf(printSimulation(out, formatTable, r)); got != tt.status {
			t.Errorf("%s: exit status %d", name, got)
		}
		for _, want := range tt.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is missing in\n%s", name, want, out)
			}
		}
	}
	s, _ := c.simulator("address-pools:\n- {name: a, colour: red}\n")
	if _, err := s.run(t.Context(), nil, nil, "-"); err == nil || !strings.Contains(err.Error(), "-:2:13: pool \"a\": colour: unknown key") {
		t.Errorf("a bad configuration: %v", err)
	}
}

func TestNodesOfFlagsAreCompleted(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/nodes" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(v1.NodeList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "NodeList"}, Items: []v1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "node1"}}, {ObjectMeta: metav1.ObjectMeta{Name: "node2"}}}})
	}))
	defer api.Close()
	for _, flag := range []string{"--drain", "--lose"} {
		var out bytes.Buffer
		root := rootCommand(genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &out})
		root.SetArgs([]string{"__complete", "--server=" + api.URL, "simulate", flag, ""})
		if err := root.Execute(); err != nil || !strings.HasPrefix(out.String(), "node1\nnode2\n:") {
			t.Errorf("%s: %v, printed\n%s", flag, err, out.String())
		}
	}
}
