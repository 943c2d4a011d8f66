package view

import (
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestShutdownOfANodeIsSeen(t *testing.T) {
	ready := func(status v1.ConditionStatus, message string) *v1.Node {
		return &v1.Node{Status: v1.NodeStatus{Conditions: []v1.NodeCondition{
			{Type: v1.NodeMemoryPressure, Status: v1.ConditionFalse, Message: "kubelet has sufficient memory available"},
			{Type: v1.NodeReady, Status: status, Reason: "KubeletNotReady", Message: message},
		}}}
	}
	deleted := ready(v1.ConditionTrue, "kubelet is posting ready status")
	deleted.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	for name, test := range map[string]struct {
		node *v1.Node
		want bool
	}{
		"ready":                            {ready(v1.ConditionTrue, "kubelet is posting ready status"), false},
		"not ready for another reason":     {ready(v1.ConditionFalse, "container runtime is down"), false},
		"lost":                             {ready(v1.ConditionUnknown, "Kubelet stopped posting node status."), false},
		"shutting down":                    {ready(v1.ConditionFalse, "node is shutting down"), true},
		"shutting down, and more problems": {ready(v1.ConditionFalse, "[container runtime is down, node is shutting down]"), true},
		"being deleted":                    {deleted, true},
		"without conditions":               {&v1.Node{}, false},
	} {
		if got := shuttingDown(test.node); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
