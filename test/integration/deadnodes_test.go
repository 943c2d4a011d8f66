package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

const ccmUser = "system:serviceaccount:baremetal-system:baremetal-ccm"

// reportDeadNodes replaces the cluster managers by one that reports dead nodes, with the rights
// and the admission policy of the component. It undoes that at the end of the test.
func (f *fixture) reportDeadNodes() *cluster.Process {
	f.Helper()
	f.applyDeadNodes()
	stop(f.cluster.CCMs())
	f.Cleanup(f.restartCCMs)
	ccm, err := f.cluster.StartCCM(context.Background(), "--report-dead-nodes", "--v=2")
	f.must(err)
	f.eventually("three speakers answer the cluster manager", func() bool {
		text, err := f.cluster.GetCCM(context.Background(), ccm, "/metrics")
		return err == nil && strings.Contains(text, "\nbaremetal_dead_nodes_speakers 3\n")
	})
	return ccm
}

// applyDeadNodes creates the rights and the policy of the component, and removes them at the end
// of the test.
func (f *fixture) applyDeadNodes() {
	f.Helper()
	for _, file := range []string{"rbac.yaml", "policy.yaml"} {
		path := f.cluster.Root() + "/manifests/report-dead-nodes/" + file
		f.kubectl("apply", "-f", path)
		f.Cleanup(func() { f.kubectl("delete", "-f", path) })
	}
}

// ready returns the condition Ready of a pod.
func (f *fixture) ready(pod string) (c v1.PodCondition) {
	f.Helper()
	p, err := f.cluster.Client.CoreV1().Pods("default").Get(context.Background(), pod, metav1.GetOptions{})
	f.must(err)
	for _, c := range p.Status.Conditions {
		if c.Type == v1.PodReady {
			return c
		}
	}
	return c
}

// isReady waits until a pod is ready, or is not.
func (f *fixture) isReady(pod string, want v1.ConditionStatus) {
	f.Helper()
	f.eventually(fmt.Sprint("the condition Ready of ", pod, " is ", want), func() bool { return f.ready(pod).Status == want })
}

func TestPodsOfADeadNodeBecomeNotReady(t *testing.T) {
	f := setUp(t)
	const dying, doomed = "node3", 20
	f.runOn("survivor", "twins", "node2")
	for i := range doomed {
		f.runOn(fmt.Sprint("doomed", i), "twins", dying)
	}
	f.create(service("twins", func(s *v1.Service) { s.Spec.Selector = map[string]string{"app": "twins"} }))
	f.isReady("survivor", v1.ConditionTrue)
	for i := range doomed {
		f.isReady(fmt.Sprint("doomed", i), v1.ConditionTrue)
	}
	// readyOn counts the ready endpoints of the Service on a node.
	readyOn := func(node string) (n int) {
		slices, err := f.cluster.Client.DiscoveryV1().EndpointSlices("default").List(context.Background(), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=twins"})
		f.must(err)
		for _, slice := range slices.Items {
			if slice.AddressType != discoveryv1.AddressTypeIPv4 {
				continue
			}
			for _, e := range slice.Endpoints {
				if *e.NodeName == node && *e.Conditions.Ready {
					n++
				}
			}
		}
		return n
	}
	f.eventually("all endpoints are ready", func() bool { return readyOn(dying) == doomed && readyOn("node2") == 1 })
	ccm := f.reportDeadNodes()

	n := f.cluster.Node(dying)
	f.must(n.Kill())
	died := time.Now()
	f.Cleanup(func() { f.must(n.Revive()); f.settled() })
	f.eventually("no endpoint on the dead node is ready", func() bool { return readyOn(dying) == 0 })
	took := time.Since(died)
	f.Logf("%d endpoints are not ready %v after the death", doomed, took)
	if took > 5*time.Second {
		f.Errorf("that took %v", took)
	}
	f.event("Node", dying, "NodeReportedDead", fmt.Sprintf("%d pods were set to not ready in ", doomed))
	if c := f.ready("doomed0"); c.Reason != "BaremetalNodeDead" || !strings.Contains(c.Message, "by the word of the speakers on node1, node2.") {
		f.Errorf("the condition is %+v", c)
	}
	if f.ready("survivor").Status != v1.ConditionTrue || readyOn("node2") != 1 {
		f.Error("a pod of another node is not ready")
	}
	text, err := f.cluster.GetCCM(f.Context(), ccm, "/metrics")
	f.must(err)
	for _, want := range []string{"\nbaremetal_dead_nodes_reported_total 1\n", fmt.Sprintf("\nbaremetal_dead_nodes_pods_total{result=\"marked\"} %d\n", doomed)} {
		if !strings.Contains(text, want) {
			f.Errorf("%q is missing in\n%s", want, grep(text, "dead_nodes"))
		}
	}
}

// The crash of a speaker is no death: its node forwards packets, and its pods run.
func TestPodsStayReadyWhenASpeakerCrashes(t *testing.T) {
	f := setUp(t)
	f.runOn("unharmed", "unharmed", "node3")
	f.isReady("unharmed", v1.ConditionTrue)
	ccm := f.reportDeadNodes()
	n := f.cluster.Node("node3")
	n.Speaker().Kill()
	f.Cleanup(func() {
		f.must(n.StartSpeaker(context.Background()))
		f.must(n.WaitReady(context.Background()))
		f.settled()
	})
	f.eventually("the other speakers have detected it", func() bool {
		text, err := f.cluster.Node("node1").Get(context.Background(), "/metrics")
		return err == nil && strings.Contains(text, "\nbaremetal_members_alive 2\n")
	})
	crashed := time.Now()
	f.eventually("two seconds pass", func() bool { return time.Since(crashed) > 2*time.Second })
	if f.ready("unharmed").Status != v1.ConditionTrue || strings.Contains(ccm.Log(), "a speaker reports a dead node") {
		f.Errorf("the condition is %+v", f.ready("unharmed"))
	}
}

// With the rights of the cluster manager, a pod can only be made not ready, for this reason.
func TestClusterManagerCanOnlyMakePodsNotReady(t *testing.T) {
	f := setUp(t)
	f.applyDeadNodes()
	f.runOn("guarded-pod", "guarded-pod", "node2")
	f.isReady("guarded-pod", v1.ConditionTrue)
	manager, err := f.cluster.ClientAs(ccmUser)
	f.must(err)
	pods := manager.CoreV1().Pods("default")
	condition := func(changes ...string) string {
		c := map[string]string{"type": "Ready", "status": "False", "reason": "BaremetalNodeDead", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"}
		for i := 0; i < len(changes); i += 2 {
			c[changes[i]] = changes[i+1]
		}
		text, err := json.Marshal(c)
		f.must(err)
		return `"conditions":[` + string(text) + `]`
	}
	good := condition()
	patch := func(text string, subresources ...string) error {
		_, err := pods.Patch(f.Context(), "guarded-pod", types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{}, subresources...)
		return err
	}
	f.eventually("the policy is in force", func() bool { return patch(`{"status":{`+condition("status", "True")+`}}`, "status") != nil })
	for name, test := range map[string]struct{ patch, refused string }{
		"Ready is True":               {`{"status":{` + condition("status", "True") + `}}`, "only to False"},
		"Ready is Unknown":            {`{"status":{` + condition("status", "Unknown") + `}}`, "only to False"},
		"another reason":              {`{"status":{` + condition("reason", "Mine") + `}}`, "with the reason BaremetalNodeDead"},
		"no change of Ready":          {`{"status":{"message":"x"}}`, "only to False"},
		"another condition":           {`{"status":{"conditions":[` + good[len(`"conditions":[`):len(good)-1] + `,{"type":"ContainersReady","status":"False"}]}}`, "only the condition Ready of a pod"},
		"a new condition":             {`{"status":{"conditions":[` + good[len(`"conditions":[`):len(good)-1] + `,{"type":"example.com/Mine","status":"False"}]}}`, "only the condition Ready of a pod"},
		"another field":               {`{"status":{"message":"x",` + good + `}}`, "only the condition Ready in the status"},
		"the phase":                   {`{"status":{"phase":"Failed",` + good + `}}`, "only the condition Ready in the status"},
		"a field less":                {`{"status":{"podIP":null,"podIPs":null,` + good + `}}`, "only the condition Ready in the status"},
		"the state of its containers": {`{"status":{"containerStatuses":null,` + good + `}}`, "only the condition Ready in the status"},
		"a label":                     {`{"metadata":{"labels":{"a":"b"}},"status":{` + good + `}}`, "does not change the metadata"},
		"a label less":                {`{"metadata":{"labels":{"app":null}},"status":{` + good + `}}`, "does not change the metadata"},
		"an annotation":               {`{"metadata":{"annotations":{"a":"b"}},"status":{` + good + `}}`, "does not change the metadata"},
		"a finalizer":                 {`{"metadata":{"finalizers":["example.com/mine"]},"status":{` + good + `}}`, "does not change the metadata"},
		"another pod":                 {`{"metadata":{"uid":"other"},"status":{` + good + `}}`, "metadata.uid"},
	} {
		if err := patch(test.patch, "status"); err == nil || !strings.Contains(err.Error(), test.refused) {
			f.Errorf("%s: got %v, want %q", name, err, test.refused)
		}
	}
	if err := patch(`{"metadata":{"labels":{"a":"b"}}}`); err == nil || !strings.Contains(err.Error(), "forbidden") {
		f.Errorf("the pod itself: %v", err)
	}
	if c := f.ready("guarded-pod"); c.Status != v1.ConditionTrue {
		f.Errorf("after refused patches the condition is %+v", c)
	}
	f.must(patch(`{"status":{`+good+`}}`, "status"))
	if c := f.ready("guarded-pod"); c.Status != v1.ConditionFalse || c.Reason != "BaremetalNodeDead" {
		f.Errorf("the condition is %+v", c)
	}
	// The policy is about the cluster manager alone: a kubelet, here the administrator, writes
	// what it wants.
	_, err = f.cluster.Client.CoreV1().Pods("default").Patch(f.Context(), "guarded-pod", types.StrategicMergePatchType, []byte(`{"status":{"message":"x",`+condition("status", "True", "reason", "")+`}}`), metav1.PatchOptions{}, "status")
	f.must(err)
	f.isReady("guarded-pod", v1.ConditionTrue)
	warnings := strings.TrimSpace(f.kubectl("get", "validatingadmissionpolicy", "baremetal-pod-status", "-o", "jsonpath={.status.typeChecking.expressionWarnings}"))
	if warnings != "" {
		f.Errorf("the API server warns about the policy: %s", warnings)
	}
}
