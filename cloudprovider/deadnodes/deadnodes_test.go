package deadnodes

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/memberkey"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/speakerapi"
)

func TestReporterMarksThePodsOfADeadNode(t *testing.T) {
	r := newRig(t, 5, pod("a", "node5", v1.ConditionTrue), pod("b", "node4", v1.ConditionTrue))
	r.run(3)
	r.allSay(dead("node5"), "node5")
	r.event(1, "Node node5 Warning NodeReportedDead: Its kernel is dead by the word of the speakers on node", " 1 pods were set to not ready in ")
	if c := r.condition("a"); c.Status != v1.ConditionFalse || c.Reason != "BaremetalNodeDead" {
		t.Errorf("%+v", c)
	}
	if c := r.condition("b"); c.Status != v1.ConditionTrue {
		t.Errorf("a pod of another node: %+v", c)
	}
	// The kubelet lives after all, and sets the condition again: nothing is done any more, also
	// when the node is reported again.
	if err := r.client.Tracker().Update(v1.SchemeGroupVersion.WithResource("pods"), pod("a", "node5", v1.ConditionTrue), "default"); err != nil {
		t.Fatal(err)
	}
	r.allSay(dead())
	r.eventually("node5 is alive", func() bool { return strings.Contains(r.logs(), "no speaker reports the node dead any more") })
	r.allSay(dead("node5"), "node5")
	r.event(2, "NodeReportWithheld", "No node is reported twice within 10m0s")
	if c := r.condition("a"); c.Status != v1.ConditionTrue || r.patches() != 1 {
		t.Errorf("%+v after %d patches", c, r.patches())
	}
	// A second node within the minute.
	r.allSay(dead("node4", "node5"), "node4", "node5")
	r.event(3, "Node node4 Warning NodeReportWithheld: A speaker says that the node is dead, but its pods are not touched. 2 of 5 nodes")
}

func TestReporterDoesNothingWhileSpeakersDisagree(t *testing.T) {
	r := newRig(t, 4, pod("a", "node4", v1.ConditionTrue))
	r.run(3)
	r.allSay(dead("node4"), "node4", "node1")
	r.event(1, "Node node4 Warning NodeReportWithheld", "The speakers disagree: dead by the word of node2, node3, alive by the word of node1.")
	if r.patches() != 0 {
		t.Errorf("%d patches", r.patches())
	}
	r.speakers["node1"].say(dead("node4")) // now they agree
	r.event(2, "NodeReportedDead", "node1, node2, node3.")
}

// A speaker calls a second node dead for a moment: two of four are more than a third.
func TestShortFalseReportDoesNotPreventAnother(t *testing.T) {
	r := newRig(t, 4, pod("a", "node4", v1.ConditionTrue))
	r.run(3)
	for _, s := range r.speakers {
		s.say(dead("node3", "node4"))
	}
	r.eventually("both are looked at", func() bool { return strings.Count(r.logs(), "a speaker reports a dead node") == 2 })
	r.allSay(dead("node4"), "node4")
	r.speakers["node4"].say(dead())
	r.event(1, "Node node4 Warning NodeReportedDead")
}

func TestFencedSpeakersSayNothing(t *testing.T) {
	r := newRig(t, 4, pod("a", "node4", v1.ConditionTrue))
	r.run(3)
	for _, fenced := range []string{"node1", "node4"} {
		r.speakers[fenced].say(func(a *speakerapi.Answer) { a.Fenced = true })
	}
	r.speakers["node2"].say(dead("node4"))
	r.eventually("it asks about node4", func() bool { return r.reporter.watch.seenAlive("node4") && asks(r.speakers["node3"]) > 2 })
	r.speakers["node3"].say(dead("node4"))
	r.event(1, "NodeReportedDead", "node2, node3.")
}

func asks(s *fakeSpeaker) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func TestSpeakerThatDoesNotAnswerIsReplaced(t *testing.T) {
	r := newRig(t, 5)
	r.run(3)
	stopped := 0
	for name, s := range r.speakers {
		if r.watched(name) && stopped < 2 {
			s.stop()
			stopped++
		}
	}
	r.eventually("others are watched", func() bool { _, voices := r.reporter.watch.reported(); return voices == 3 })
}

func (r *rig) watched(node string) bool {
	r.reporter.watch.mu.Lock()
	defer r.reporter.watch.mu.Unlock()
	return r.reporter.watch.watched(node)
}

// A manager that restarts finds a node that is reported dead although its kubelet lives.
func TestLivingNodeIsNotMarkedAfterARestart(t *testing.T) {
	lease := func(age time.Duration) *coordinationv1.Lease {
		at := metav1.NewMicroTime(time.Now().Add(-age))
		return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-node-lease", Name: "node4"}, Spec: coordinationv1.LeaseSpec{RenewTime: &at}}
	}
	r := newRig(t, 4, pod("a", "node4", v1.ConditionTrue), lease(5*time.Second))
	r.allSay(dead("node4"), "node4")
	r.speakers["node4"].stop()
	r.run(3)
	r.event(1, "Node node4 Warning NodeReportWithheld", "dead already when this cluster manager began to lead, and its kubelet has renewed its Lease")
	if r.patches() != 0 {
		t.Errorf("%d patches", r.patches())
	}
	if err := r.client.Tracker().Update(coordinationv1.SchemeGroupVersion.WithResource("leases"), lease(time.Minute), "kube-node-lease"); err != nil {
		t.Fatal(err)
	}
	r.event(2, "NodeReportedDead")
}

// The Secret changes: the speakers refuse the old key, and the new one is read.
func TestNewKeyIsReadWhenTheOldOneIsRefused(t *testing.T) {
	r := newRig(t, 3)
	r.run(3)
	secret := memberkey.New("baremetal-system")
	secret.Data[memberkey.DataKey] = bytes.Repeat([]byte{7}, 32)
	if _, err := r.client.CoreV1().Secrets("baremetal-system").Update(context.Background(), secret, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, s := range r.speakers {
		s.mu.Lock()
		s.key, s.accepted = string(secret.Data[memberkey.DataKey]), 0
		s.mu.Unlock()
		s.say(dead())
	}
	r.eventually("all are asked with the new key", func() bool {
		for _, s := range r.speakers {
			s.mu.Lock()
			accepted := s.accepted
			s.mu.Unlock()
			if accepted == 0 {
				return false
			}
		}
		return true
	})
}
