package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

const (
	allocated = "lb.baremetal/Allocated"
	announced = "lb.baremetal/Announced"
)

// condition returns a condition of a Service, or nil.
func (f *fixture) condition(name, condition string) *metav1.Condition {
	f.Helper()
	return meta.FindStatusCondition(f.get(name).Status.Conditions, condition)
}

// says waits until a condition of a Service has this status and reason, and a message
// that contains text.
func (f *fixture) says(name, condition string, status metav1.ConditionStatus, reason, text string) {
	f.Helper()
	var got *metav1.Condition
	err := f.cluster.Wait(context.Background(), fmt.Sprintf("%s: %s is %s, %s, %q", name, condition, status, reason, text), func() bool {
		got = f.condition(name, condition)
		return got != nil && got.Status == status && got.Reason == reason && strings.Contains(got.Message, text)
	})
	if err != nil {
		f.Fatalf("%v; it is %+v", err, got)
	}
}

func TestConditionsSayWhoAnnounces(t *testing.T) {
	f := setUp(t)
	f.create(service("told"))
	f.kubectl("wait", "--for=condition="+announced, "service/told", "--timeout=60s")
	vip := f.assigned("told")
	f.says("told", allocated, metav1.ConditionTrue, "Allocated", vip+` from pool "default"`)
	owner := f.announcer(vip)
	f.says("told", announced, metav1.ConditionTrue, "Announced", vip+" is announced by node "+owner.Name)

	f.Run("after a takeover", func(f *fixture) {
		f.kubectl("label", "node", owner.Name, v1.LabelNodeExcludeBalancers+"=")
		defer f.kubectl("label", "node", owner.Name, v1.LabelNodeExcludeBalancers+"-")
		var heir *cluster.Node
		f.eventually("another owner", func() bool { heir = f.announcer(vip); return heir != owner })
		f.says("told", announced, metav1.ConditionTrue, "Announced", vip+" is announced by node "+heir.Name)
	})
	f.Run("when no node may announce", func(f *fixture) {
		f.kubectl("label", "node", "--all", v1.LabelNodeExcludeBalancers+"=")
		f.says("told", announced, metav1.ConditionFalse, "NodesExcluded", "node1: it has the label "+v1.LabelNodeExcludeBalancers)
		f.kubectl("label", "node", "--all", v1.LabelNodeExcludeBalancers+"-")
		f.says("told", announced, metav1.ConditionTrue, "Announced", vip+" is announced by node "+owner.Name)
	})
	f.Run("when the status of a Service is nobody's any more", func(f *fixture) {
		f.kubectl("patch", "service", "told", "-p", `{"spec":{"type":"ClusterIP"}}`)
		f.eventually("the conditions are gone", func() bool { return len(f.get("told").Status.Conditions) == 0 })
	})
}

func TestConditionSaysThatThereIsNoEndpoint(t *testing.T) {
	f := setUp(t)
	f.create(service("empty", local("nobody")))
	f.says("empty", announced, metav1.ConditionFalse, "NoEndpoint", "the traffic policy is Local, and no node that may announce has a ready endpoint")
	f.runOn("somebody", "nobody", "node2")
	f.says("empty", announced, metav1.ConditionTrue, "Announced", "is announced by node node2")
}

func TestConditionsAreWrittenOnlyWhenTheyChange(t *testing.T) {
	f := setUp(t)
	f.create(service("quiet"))
	f.says("quiet", announced, metav1.ConditionTrue, "Announced", "")
	f.says("quiet", allocated, metav1.ConditionTrue, "Allocated", "")
	before := f.get("quiet").ResourceVersion
	f.create(service("other")) // everybody plans again
	f.says("other", announced, metav1.ConditionTrue, "Announced", "")
	f.restartCCMs()
	f.create(service("third"))
	f.assigned("third")
	if after := f.get("quiet").ResourceVersion; after != before {
		f.Errorf("the Service was written although nothing changed: %+v", f.get("quiet").Status.Conditions)
	}
}

func TestConditionCountsTheNodesOverBGP(t *testing.T) {
	f := setUp(t)
	r := f.router(cluster.RouterOptions{Daemon: "BIRD"})
	f.pools(routedPools("bgp", ""))
	f.create(service("routed", labelled("routed")))
	f.says("routed", announced, metav1.ConditionTrue, "Announced", "is announced by 3 nodes over BGP")
	r.Close()
	f.says("routed", announced, metav1.ConditionFalse, "NoSession", "no node has an established session with a BGP peer of the pool")
}

func TestConfigMapSaysWhetherItIsInUse(t *testing.T) {
	f := setUp(t)
	status := func() string {
		cm, err := f.cluster.Client.CoreV1().ConfigMaps("baremetal-system").Get(context.Background(), "config", metav1.GetOptions{})
		f.must(err)
		return cm.Annotations["lb.baremetal/status"]
	}
	f.pools("address-pools:\n- name: p\n  protocol: layer3\n  addresses: [10.0.0.0/24]\n")
	f.eventually("the ConfigMap says why it was refused", func() bool {
		return strings.HasPrefix(status(), `Refused: line 3: pool "p": protocol: unknown protocol "layer3"`)
	})
	f.must(f.cluster.SetPools(f.Context(), cluster.DefaultPools))
	f.eventually("the ConfigMap says that it is in use", func() bool { return strings.HasPrefix(status(), "In use: ") })
}
