package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
)

// fakePorts answers for the pods.
type fakePorts func(pod string, port uint16, path string) (any, error)

func (f fakePorts) get(ctx context.Context, pod *v1.Pod, port uint16, paths ...string) (answers [][]byte, err error) {
	for _, path := range paths {
		document, err := f(pod.Name, port, path)
		if err != nil {
			return answers, err
		}
		text, err := json.Marshal(document)
		if err != nil {
			return answers, err
		}
		answers = append(answers, text)
	}
	return answers, ctx.Err()
}

// programPod is a pod as the manifests make it.
func programPod(name, node, command string, args ...string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "baremetal-system", Name: name},
		Spec:       v1.PodSpec{NodeName: node, Containers: []v1.Container{{Command: []string{"/" + command}, Args: args}}},
		Status:     v1.PodStatus{Phase: v1.PodRunning, Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}}},
	}
}

func clusterObjects() []runtime.Object {
	return []runtime.Object{
		programPod("speaker-a", "node1", speakerProgram, "--health-address=127.0.0.1:9999"),
		programPod("speaker-b", "node2", speakerProgram),
		programPod("ccm", "node1", managerProgram, "--load-balancer-class=example.com/metal,lb.baremetal/default"),
		programPod("other", "node1", "nginx"),
		&v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}}, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node2"}},
		&v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer}},
	}
}

// documentsOf answers for all pods of clusterObjects but speaker-b.
func documentsOf(t *testing.T) fakePorts {
	return func(pod string, port uint16, path string) (any, error) {
		kinds := map[string]string{debugapi.PlanPath: debugapi.PlanKind, debugapi.BGPPath: debugapi.BGPKind, debugapi.SpreadPath: debugapi.SpreadKind, debugapi.MembersPath: debugapi.MembersKind}
		switch pod {
		case "speaker-a":
			if port != 9999 {
				t.Errorf("port %d of %s", port, pod)
			}
			header := debugapi.NewHeader(kinds[path], "v1.2.3", time.Now())
			if path == debugapi.MembersPath {
				return debugapi.Members{Header: header, Members: []debugapi.Member{{Name: "node2", Alive: true, Heard: true}}}, nil
			}
			return struct{ debugapi.Header }{header}, nil
		case "ccm":
			if port != 7474 {
				t.Errorf("port %d of %s", port, pod)
			}
			return debugapi.Allocations{Header: debugapi.NewHeader(debugapi.AllocationsKind, "v1.2.3", time.Now()), Leader: true}, nil
		}
		return nil, errors.New("no answer within 5s")
	}
}

func testOptions() (*options, *bytes.Buffer) {
	streams, _, out, _ := genericiooptions.NewTestIOStreams()
	return newOptions(streams), out
}

func TestGatherReadsAllProgramsAndNamesTheMissingOne(t *testing.T) {
	o, _ := testOptions()
	in, err := o.gather(context.Background(), fake.NewClientset(clusterObjects()...), documentsOf(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(in.Speakers) != 2 || in.Speakers[0].Plan == nil || in.Speakers[0].Plan.ProgramVersion != "v1.2.3" || in.Speakers[0].Members == nil || in.Speakers[0].Problem != "" {
		t.Fatalf("%+v", in.Speakers)
	}
	if in.Speakers[1].Plan != nil || in.Speakers[1].Problem != "no answer within 5s" {
		t.Errorf("%+v", in.Speakers[1])
	}
	if len(in.Managers) != 1 || !in.Managers[0].Allocations.Leader {
		t.Errorf("%+v", in.Managers)
	}
	if len(in.Services) != 1 || len(in.Nodes) != 2 || len(in.Unknown) != 0 || in.Lease != nil || in.Config != nil {
		t.Errorf("%+v", in)
	}
	if len(in.Scope.Classes) != 2 || in.Scope.Classes[0] != "example.com/metal" {
		t.Errorf("the classes of the cluster manager's flag: %v", in.Scope.Classes)
	}
}

func TestStatusDoesNotReadTheStatesOfPlans(t *testing.T) {
	o, _ := testOptions()
	var asked atomic.Int32
	ports := fakePorts(func(pod string, port uint16, path string) (any, error) {
		if strings.HasPrefix(path, debugapi.PlanPath) {
			asked.Add(1)
			if path != debugapi.PlanPath+"?"+debugapi.WithoutState {
				t.Errorf("asked for %s", path)
			}
		}
		return documentsOf(t)(pod, port, strings.TrimSuffix(path, "?"+debugapi.WithoutState))
	})
	if in, err := o.look(context.Background(), fake.NewClientset(clusterObjects()...), ports); err != nil || asked.Load() != 2 || in.Speakers[0].Plan == nil {
		t.Errorf("%d plans were read: %v", asked.Load(), err)
	}
}

func TestGatherGoesOnWithoutTheRightToListNodes(t *testing.T) {
	client := fake.NewClientset(clusterObjects()...)
	refuse := func(k8stesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "nodes"}, "", errors.New("no right"))
	}
	client.PrependReactor("list", "nodes", refuse)
	o, _ := testOptions()
	in, err := o.gather(context.Background(), client, documentsOf(t))
	if err != nil || len(in.Unknown) != 1 || in.Unknown[0].What != "Nodes" || len(in.Services) != 1 {
		t.Errorf("%+v %v", in, err)
	}
	client.PrependReactor("list", "pods", refuse)
	if _, err := o.gather(context.Background(), client, documentsOf(t)); err == nil || !strings.Contains(err.Error(), "listing the pods of namespace baremetal-system") {
		t.Errorf("without pods: %v", err)
	}
}

func TestGatherRefusesADocumentOfAnotherVersion(t *testing.T) {
	o, _ := testOptions()
	ports := fakePorts(func(string, uint16, string) (any, error) {
		return map[string]string{"apiVersion": "debug.lb.baremetal/v2", "kind": "Plan"}, nil
	})
	in, err := o.gather(context.Background(), fake.NewClientset(clusterObjects()...), ports)
	if err != nil || in.Speakers[0].Plan != nil || !strings.Contains(in.Speakers[0].Problem, "debug.lb.baremetal/v2") || !strings.Contains(in.Managers[0].Problem, "v2") {
		t.Errorf("%+v %v", in.Speakers[0], err)
	}
}

func TestPortIsTheOneOfTheFlag(t *testing.T) {
	for arg, want := range map[string]uint16{"": 7473, "--health-address=127.0.0.1:80": 80, "--health-address=[::1]:81": 81, "--health-address=": 0, "--health-address=x": 0} {
		port, err := portOf(programPod("p", "n", speakerProgram, arg), speakerProgram, speakerAddressFlag, speakerAddress)
		if port != want || (err != nil) != (want == 0) {
			t.Errorf("%q: %d, %v", arg, port, err)
		}
	}
}

func sampleStatus(t *testing.T) *diagnose.Status {
	t.Helper()
	o, _ := testOptions()
	in, err := o.gather(context.Background(), fake.NewClientset(clusterObjects()...), documentsOf(t))
	if err != nil {
		t.Fatal(err)
	}
	return diagnose.StatusOf(in)
}

func TestStatusIsPrintedForPeopleAndPrograms(t *testing.T) {
	s := sampleStatus(t)
	for format, wants := range map[string][]string{
		formatTable: {"Configuration: ConfigMap baremetal-system/config, not in use as it is\n", "CLUSTER MANAGER   NODE    STATE   VERSION\nccm               node1   leads   v1.2.3\n",
			"node2   unreachable", "PROBLEMS:\n", "ERROR ConfigMissing: ConfigMap baremetal-system/config: it does not exist.", "  What to do: "},
		formatWide: {"hash unknown", "POD", "speaker-a"},
		formatJSON: {`"apiVersion": "debug.lb.baremetal/v1"`, `"kind": "Status"`, `"reason": "ConfigMissing"`},
		formatYAML: {"kind: Status\n", "reason: ConfigMissing\n"},
	} {
		var out bytes.Buffer
		if err := printStatus(&out, format, s); err != errProblems || exitCode(err) != 1 || err.Error() != "" {
			t.Errorf("%q: error %v", format, err)
		}
		for _, want := range wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q: %q is missing in\n%s", format, want, out.String())
			}
		}
		var back diagnose.Status
		if (format == formatJSON || format == formatYAML) && (yaml.UnmarshalStrict(out.Bytes(), &back) != nil || len(back.Problems) != len(s.Problems)) {
			t.Errorf("%s cannot be read back:\n%s", format, out.String())
		}
	}
	var out bytes.Buffer
	if err := printStatus(&out, formatTable, &diagnose.Status{}); err != nil || !strings.HasSuffix(out.String(), "\nNo problems found.\n") {
		t.Errorf("without problems: %v\n%s", err, out.String())
	}
}

func TestExplainTakesAServiceOrAnAddress(t *testing.T) {
	o, _ := testOptions()
	in, err := o.gather(context.Background(), fake.NewClientset(clusterObjects()...), documentsOf(t))
	if err != nil {
		t.Fatal(err)
	}
	for arg, want := range map[string]string{
		"web": "Service default/web\n", "svc/web": "Service default/web\n", "service/web": "Service default/web\n",
		"192.0.2.1": "Address 192.0.2.1: no Service has it", "::ffff:192.0.2.1": "Address 192.0.2.1: ",
	} {
		e, err := explain(in, "default", arg)
		if err != nil {
			t.Errorf("%s: %v", arg, err)
			continue
		}
		var out bytes.Buffer
		if err := printExplanation(&out, formatTable, e); exitCode(err) != 1 || !strings.HasPrefix(out.String(), want) || !strings.Contains(out.String(), "What to do") {
			t.Errorf("%s: %v\n%s", arg, err, out.String())
		}
	}
	for arg, want := range map[string]string{"pod/web": "is no Service", "nope": "there is no Service default/nope"} {
		if _, err := explain(in, "default", arg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

func TestExplanationPrintsPoolsAndNodesWithTheirReasons(t *testing.T) {
	now := time.Now()
	e := &diagnose.Explanation{Time: now, Services: []diagnose.ServiceExplanation{{
		Name: "default/web", Summary: "It does not work: full",
		Waiting: &debugapi.Waiting{Since: now.Add(-time.Hour), Why: "full", Pools: []debugapi.PoolReason{{Pool: "a", Why: "it is exhausted"}}, PoolsOmitted: 2},
		Addresses: []diagnose.AddressExplanation{{Protocol: "both", Owner: "node1", WhyOwner: "it is the only candidate", Excluded: []debugapi.Excluded{{Node: "node2", Why: "no link"}},
			BGP: []diagnose.NodeBGP{{Node: "node1", Reason: "Advertised", Routers: []string{"tor"}}}, Spread: "OneCandidate", Clients: "routers send to node node1"}},
	}}}
	var out bytes.Buffer
	if err := printExplanation(&out, formatTable, e); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Waits:      for 60m: full\n    pool \"a\": it is exhausted\n    and 2 more pools\n", "Owner:      node1: it is the only candidate\n", "Not:        node2: no link\n",
		"BGP:        node1: Advertised, routers with a session: tor\n", "Spread:     no: OneCandidate\n", "Clients:    routers send to node node1\n", "Ready pods: none\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

func TestCommandsThatFindNothingOutExitWith2(t *testing.T) {
	for _, args := range [][]string{{"status", "--kubeconfig=/nowhere/config"}, {"explain", "web", "--kubeconfig=/nowhere/config"}, {"status", "-o", "html"}} {
		streams, _, _, _ := genericiooptions.NewTestIOStreams()
		command := rootCommand(streams)
		command.SetArgs(args)
		if err := command.Execute(); exitCode(err) != 2 || err.Error() == "" {
			t.Errorf("%v: %v", args, err)
		}
	}
}
