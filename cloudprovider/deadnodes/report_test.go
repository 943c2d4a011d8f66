package deadnodes

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	k8stesting "k8s.io/client-go/testing"
)

// The API server takes no status for some time, for example because a webhook does not answer.
func TestPodsThatCouldNotBeMarkedAreMarkedLater(t *testing.T) {
	r := newRig(t, 4, pod("a", "node4", v1.ConditionTrue))
	r.reporter.retryMark = 10 * time.Millisecond
	var away atomic.Bool
	away.Store(true)
	r.client.PrependReactor("patch", "pods", func(k8stesting.Action) (bool, runtime.Object, error) { return away.Load(), nil, errAway })
	r.run(3)
	r.allSay(dead("node4"), "node4")
	r.event(1, "NodeReportWithheld", "0 pods were set to not ready, but not all", "the API server is away")
	before := r.patches()
	r.eventually("it tries again", func() bool { return r.patches() >= before+attempts })
	away.Store(false)
	r.event(2, "NodeReportedDead", "1 pods were set to not ready")
	if c := r.condition("a"); c.Status != v1.ConditionFalse {
		t.Errorf("%+v", c)
	}
}

func TestPodsAreLeftToKubernetesWhenItKnows(t *testing.T) {
	r := newRig(t, 4, pod("a", "node4", v1.ConditionTrue))
	r.reporter.retryMark = 10 * time.Millisecond
	r.client.PrependReactor("patch", "pods", func(k8stesting.Action) (bool, runtime.Object, error) { return true, nil, errAway })
	r.run(3)
	r.allSay(dead("node4"), "node4")
	r.event(1, "NodeReportWithheld")
	r.mu.Lock()
	r.nodes[3].Ready = false
	r.mu.Unlock()
	r.eventually("it stops", func() bool { return strings.Contains(r.logs(), "Kubernetes knows that the node is dead") })
}

// A new leader finds a node whose pods another one has marked. That is no report, and the next node that dies
// is reported.
func TestNodeWithoutReadyPodsIsNoReport(t *testing.T) {
	r := newRig(t, 7, pod("a", "node6", v1.ConditionFalse), pod("b", "node7", v1.ConditionTrue))
	r.run(3)
	r.allSay(dead("node6"), "node6")
	r.eventually("node6 is looked at", func() bool { return strings.Contains(r.logs(), "no pod of the dead node was ready") })
	r.allSay(dead("node6", "node7"), "node6", "node7")
	r.event(1, "Node node7 Warning NodeReportedDead")
}

// While the speakers are asked about the first one of four dead nodes, they learn of the others. The Reporter
// has heard of the first one only.
func TestNodesThatDieMeanwhileCount(t *testing.T) {
	r := newRig(t, 9)
	all := []string{"node6", "node7", "node8", "node9"}
	r.allSay(dead(all...), all...)
	s := r.reporter.situation(t.Context(), "node9", []string{"node9"})
	if v := decide(s); v.action != settle || v.reason != TooMany || !strings.Contains(v.text, "4 of 9 nodes") {
		t.Errorf("%+v", v)
	}
}

// The node lives again while its pods cannot be marked, but one of three speakers does not hear it.
func TestNodeThatLivesAgainIsNotMarkedByTheWordOfOne(t *testing.T) {
	r := newRig(t, 4, pod("a", "node4", v1.ConditionTrue))
	r.reporter.retryMark = 10 * time.Millisecond
	var away atomic.Bool
	away.Store(true)
	r.client.PrependReactor("patch", "pods", func(k8stesting.Action) (bool, runtime.Object, error) { return away.Load(), nil, errAway })
	r.speakers["node4"].stop()
	r.run(3)
	r.allSay(dead("node4"), "node4")
	r.event(1, "NodeReportWithheld")
	r.allSay(dead(), "node1", "node4")
	r.eventually("it asks again", func() bool { return asks(r.speakers["node2"])+asks(r.speakers["node3"]) > 12 })
	before := asks(r.speakers["node2"])
	away.Store(false)
	r.eventually("it asks again", func() bool { return asks(r.speakers["node2"]) > before+5 })
	if c := r.condition("a"); c.Status != v1.ConditionTrue {
		t.Errorf("%+v", c)
	}
}

// A speaker calls a second node dead for a moment, when the first one has been looked at for long.
func TestLimitMustBeExceededForTwoSeconds(t *testing.T) {
	r := newRig(t, 3)
	c := &deadCase{since: time.Now().Add(-time.Minute)}
	tooMany := verdict{settle, TooMany, "Too many."}
	r.reporter.carryOut(t.Context(), "node3", c, tooMany)
	if c.decided {
		t.Fatal("it is decided at once")
	}
	c.settling = c.settling.Add(-sayAfter)
	r.reporter.carryOut(t.Context(), "node3", c, verdict{wait, NoAgreement, "They disagree."})
	r.reporter.carryOut(t.Context(), "node3", c, tooMany)
	if c.decided {
		t.Fatal("the time does not begin again")
	}
	c.settling = c.settling.Add(-sayAfter)
	if r.reporter.carryOut(t.Context(), "node3", c, tooMany); !c.decided {
		t.Error("it is never decided")
	}
}
