package diagnose_test

import (
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
)

func TestDeadNodeIsTheOnlyProblem(t *testing.T) {
	notReady := func(in *diagnose.Input) {
		in.Nodes[2].Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionUnknown}}
		in.Speakers[2].Pod.Status.Conditions = nil
	}
	for name, test := range map[string]struct {
		change   func(*diagnose.Input)
		severity diagnose.Severity
		what     string
	}{
		"a second ago": {func(*diagnose.Input) {}, diagnose.Warning, "Its kernel is silent on all links. No address is left there"},
		"a minute ago": {notReady, diagnose.Warning, "Kubernetes says that it is not ready"},
		"a cluster manager on it": {func(in *diagnose.Input) {
			in.Managers[1].Pod.Spec.NodeName, in.Managers[1].Problem = "node3", "no answer"
		}, diagnose.Warning, "no other speaker hears it"},
		"after an old rejection":    {func(in *diagnose.Input) { rejects(in, "node1", hostIPs["node3"], 10*time.Minute) }, diagnose.Warning, "no other speaker hears it"},
		"a stranger with a key":     {func(in *diagnose.Input) { rejects(in, "node1", "198.51.100.7", time.Second) }, diagnose.Warning, "no other speaker hears it"},
		"it fell off the list":      {func(in *diagnose.Input) { in.Speakers[0].Members.Members = in.Speakers[0].Members.Members[:1] }, diagnose.Warning, "no other speaker hears it"},
		"the Nodes are not read":    {func(in *diagnose.Input) { in.Nodes = nil }, diagnose.Warning, "no other speaker hears it"},
		"the others are not moving": {func(in *diagnose.Input) { decide(in, owned("node3")) }, diagnose.Error, "still take it for the owner of 192.0.2.1"},
		"the one left is fenced": {func(in *diagnose.Input) {
			notReady(in)
			in.Nodes, in.Speakers = append(in.Nodes[:1:1], in.Nodes[2]), append(in.Speakers[:1:1], in.Speakers[2])
			in.Speakers[0].Members.Self.Fenced = "no member is reached"
			in.Speakers[0].Members.Members = in.Speakers[0].Members.Members[1:]
		}, diagnose.Warning, "Kubernetes says"},
	} {
		in := world()
		die(in)
		test.change(in)
		s := diagnose.StatusOf(in)
		if len(s.Problems) != 1 {
			t.Errorf("%s: %+v", name, s.Problems)
			continue
		}
		p := s.Problems[0]
		if p.Reason != "NodeDead" || p.Where != "node node3" || p.Severity != test.severity || !strings.Contains(p.What, test.what) || !strings.Contains(p.Do, "See whether the node runs") {
			t.Errorf("%s: %+v", name, p)
		}
		if last := s.Speakers[len(s.Speakers)-1]; last.State != "node dead" {
			t.Errorf("%s: the speaker is %+v", name, last)
		}
	}
}

// owned lets the speakers that answer take a node for the owner.
func owned(node string) func(string, *debugapi.Decision) {
	return func(_ string, d *debugapi.Decision) { d.Owner, d.Reason = node, "OtherOwner" }
}

func TestDeadNodeIsNamedBeforeOtherErrors(t *testing.T) {
	in := world()
	die(in)
	in.EndpointSlices = nil
	if s := diagnose.StatusOf(in); len(s.Problems) != 2 || s.Problems[0].Reason != "NodeDead" || s.Problems[1].Reason != "NoEndpoints" {
		t.Errorf("%+v", s.Problems)
	}
}

// These look like a dead node, and are not.
func TestNodeThatMayLiveIsNotCalledDead(t *testing.T) {
	for name, test := range map[string]struct {
		change     func(*diagnose.Input)
		reason, do string
	}{
		"the others hear it": {func(in *diagnose.Input) {
			for i := range in.Speakers[0].Members.Members {
				in.Speakers[0].Members.Members[i].Alive, in.Speakers[0].Members.Members[i].Lost = true, false
			}
		}, "SpeakerUnreachable", "pods/portforward"},
		"nobody was reached": {func(in *diagnose.Input) {
			for i := range in.Speakers {
				in.Speakers[i] = diagnose.Speaker{Pod: in.Speakers[i].Pod, Problem: "no right"}
			}
		}, "SpeakerUnreachable", "pods/portforward"},
		"its container has ended": {func(in *diagnose.Input) {
			pod := in.Speakers[2].Pod
			pod.Status.Conditions = nil
			pod.Status.ContainerStatuses = []v1.ContainerStatus{{State: v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}}}}
		}, "SpeakerNotReady", "logs"},
		"it starts": {func(in *diagnose.Input) {
			in.Speakers[2].Pod.Status.Phase, in.Speakers[2].Pod.Status.Conditions = v1.PodPending, nil
		}, "SpeakerNotReady", "logs"},
		"the only witness is fenced": {func(in *diagnose.Input) {
			in.Nodes, in.Speakers = append(in.Nodes[:1:1], in.Nodes[2]), append(in.Speakers[:1:1], in.Speakers[2])
			in.Speakers[0].Members.Self.Fenced, in.Speakers[0].Plan.Fenced = "no member is reached", "no member is reached"
			in.Speakers[0].Members.Members = in.Speakers[0].Members.Members[1:]
		}, "Fenced", ""},
		"its Node is not ready, and nobody can say more": {func(in *diagnose.Input) {
			for i := range in.Speakers {
				in.Speakers[i] = diagnose.Speaker{Pod: in.Speakers[i].Pod, Problem: "no right"}
			}
			in.Nodes[2].Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionUnknown, Message: "Kubelet stopped posting node status."}}
			in.Speakers[2].Pod.Status.Conditions = nil
		}, "SpeakerNotReady", "Repair the node"},
	} {
		in := world()
		die(in)
		test.change(in)
		s := diagnose.StatusOf(in)
		found := false
		for _, p := range s.Problems {
			if p.Reason == "NodeDead" || p.Reason == "SpeakerNotReady" && strings.Contains(p.What+p.Do, "probe fails") {
				t.Errorf("%s: %+v", name, p)
			}
			found = found || p.Reason == test.reason && strings.Contains(p.Do, test.do)
		}
		if !found {
			t.Errorf("%s: %+v", name, s.Problems)
		}
	}
}

func TestNodeThatIsNotReadyHasNoLogsToRead(t *testing.T) {
	in := world()
	in.Nodes[2].Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionUnknown, Message: "Kubelet stopped posting node status."}}
	in.Speakers[2].Pod.Status.Conditions = nil
	s := diagnose.StatusOf(in)
	if len(s.Problems) != 1 || s.Problems[0].What != "its speaker is not ready: the node is not ready: Kubelet stopped posting node status." || strings.Contains(s.Problems[0].Do, "logs") {
		t.Errorf("%+v", s.Problems)
	}
}
