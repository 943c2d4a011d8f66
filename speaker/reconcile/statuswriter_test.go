package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	k8stesting "k8s.io/client-go/testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

// statusRig is a StatusWriter with one Service in its cache. It records what is written.
type statusRig struct {
	writer *StatusWriter
	cached *v1.Service
	writes chan metav1.Condition
	last   []metav1.Condition // all conditions of the last write
}

func newStatusRig(t *testing.T, mode Conditions, objects ...runtime.Object) *statusRig {
	client := fake.NewClientset(objects...)
	r := &statusRig{writes: make(chan metav1.Condition, 100), cached: &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "uid"}}}
	r.cached.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: "192.0.2.7"}}
	client.PrependReactor("patch", "services", func(action k8stesting.Action) (bool, runtime.Object, error) {
		patch := action.(k8stesting.PatchAction)
		var applied v1.Service
		if err := json.Unmarshal(patch.GetPatch(), &applied); err != nil || patch.GetPatchType() != types.ApplyPatchType || patch.GetSubresource() != "status" || applied.UID != "uid" {
			t.Errorf("%s patch of %q: %s (%v)", patch.GetPatchType(), patch.GetSubresource(), patch.GetPatch(), err)
		}
		r.last = applied.Status.Conditions
		r.writes <- applied.Status.Conditions[0]
		return true, &applied, nil
	})
	r.writer = NewStatusWriter(client, mode, func(string) *v1.Service { return r.cached }, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := r.writer.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return r
}

func (r *statusRig) set(a plan.Announcement) {
	a.Service = "default/web"
	r.writer.Set([]plan.Announcement{a}, time.Now())
	synctest.Wait()
}

func TestConditionIsWrittenWhenItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStatusRig(t, ConditionsOn)
		yes, no := plan.Announcement{OK: true, Reason: "Announced", Message: "by node1"}, plan.Announcement{Reason: "NoLink", Message: "no link"}
		r.set(yes)
		r.set(yes) // the cache does not have it yet
		if len(r.writes) != 1 {
			t.Fatalf("%d writes", len(r.writes))
		}
		first := <-r.writes
		if first.Type != service.Announced || first.Status != metav1.ConditionTrue || first.Reason != "Announced" || first.LastTransitionTime.IsZero() {
			t.Errorf("wrote %+v", first)
		}
		r.cached.Status.Conditions = []metav1.Condition{first}
		time.Sleep(time.Minute)
		r.set(yes)
		if len(r.writes) != 0 {
			t.Error("written again although nothing changed")
		}
		r.set(no)
		if second := <-r.writes; second.Status != metav1.ConditionFalse || !second.LastTransitionTime.After(first.LastTransitionTime.Time) {
			t.Errorf("wrote %+v", second)
		}
	})
}

func TestSpreadConditionComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStatusRig(t, ConditionsOn)
		plain, spread := plan.Announcement{OK: true, Reason: "Announced", Message: "by node1"}, plan.Announcement{OK: true, Reason: "Announced", Message: "by node1"}
		spread.Spread = &plan.SpreadStatus{OK: true, Reason: "Spread", Message: "over 3 nodes"}
		fewer := spread
		fewer.Spread = &plan.SpreadStatus{OK: true, Reason: "Spread", Message: "over 2 nodes"}
		for _, step := range []struct {
			what   string
			says   plan.Announcement
			writes int
			kinds  int
		}{
			{"spread", spread, 1, 2},
			{"only the number of nodes is new", fewer, 0, 2},
			{"not wanted any more", plain, 1, 1},
			{"spread again", spread, 1, 2},
		} {
			r.set(step.says)
			if len(r.writes) != step.writes || len(r.last) != step.kinds {
				t.Fatalf("%s: %d writes, conditions %+v", step.what, len(r.writes), r.last)
			}
			for len(r.writes) > 0 {
				<-r.writes
			}
			r.cached.Status.Conditions = r.last
		}
		r.set(fewer)
		time.Sleep(restBeforeCount)
		if r.set(fewer); len(r.writes) != 1 {
			t.Errorf("%d writes after the number of nodes has been the same for a while", len(r.writes))
		}
	})
}

func TestTwoSpeakersDoNotWriteInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStatusRig(t, ConditionsOn)
		mine := plan.Announcement{OK: true, Reason: "Announced", Message: "by node1"}
		r.set(mine)
		<-r.writes
		theirs := conditionOf(service.Announced, true, "Announced", "by node2")
		r.cached.Status.Conditions = []metav1.Condition{theirs}
		for range 50 { // many plans in a short time
			r.set(mine)
			time.Sleep(50 * time.Millisecond)
		}
		if len(r.writes) != 0 {
			t.Errorf("%d writes in 2.5 s against another speaker", len(r.writes))
		}
		time.Sleep(insistAfter)
		r.set(mine)
		if len(r.writes) != 1 {
			t.Errorf("%d writes after %v", len(r.writes), insistAfter)
		}
	})
}

func TestConditionsNeedThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := plan.Announcement{OK: true, Reason: "Announced"}
		without := newStatusRig(t, ConditionsAuto)
		time.Sleep(time.Hour)
		if without.writer.Enabled() {
			t.Error("enabled without the policy")
		}
		with := newStatusRig(t, ConditionsAuto, &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: service.PolicyName}})
		synctest.Wait()
		if with.set(a); !with.writer.Enabled() || len(with.writes) != 1 {
			t.Errorf("with the policy: enabled %v, %d writes", with.writer.Enabled(), len(with.writes))
		}
		off := newStatusRig(t, ConditionsOff, &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: service.PolicyName}})
		synctest.Wait()
		if off.writer.Enabled() {
			t.Error("enabled although the operator has turned it off")
		}
	})
}

func TestNumberOfNodesIsWrittenWhenItRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newStatusRig(t, ConditionsOn)
		over := func(n int) plan.Announcement {
			return plan.Announcement{OK: true, Reason: "Announced", Message: fmt.Sprint(n, " nodes over BGP"), Nodes: n}
		}
		r.set(over(3))
		r.cached.Status.Conditions = []metav1.Condition{<-r.writes} // the first one does not wait
		for range 10 {                                              // speakers are replaced, one every ten seconds
			r.set(over(2))
			time.Sleep(5 * time.Second)
			r.set(over(3))
			time.Sleep(5 * time.Second)
		}
		if len(r.writes) != 0 {
			t.Errorf("%d writes during a roll-out", len(r.writes))
		}
		r.set(over(2))
		time.Sleep(restBeforeCount)
		r.set(over(2))
		if len(r.writes) != 1 {
			t.Errorf("%d writes after %v", len(r.writes), restBeforeCount)
		}
	})
}
