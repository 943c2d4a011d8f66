package cloudprovider

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// allocatedSays waits until the condition Allocated of a Service has this status and
// reason, and a message that contains text.
func (r *rig) allocatedSays(name string, status metav1.ConditionStatus, reason, text string) {
	r.t.Helper()
	r.eventually(name+" has the condition "+reason+" with "+text, func() bool {
		c := service.Condition(r.get(name), service.Allocated)
		return c != nil && c.Status == status && c.Reason == reason && strings.Contains(c.Message, text)
	})
}

// ofSpeakers returns the conditions that speakers write.
func ofSpeakers() []metav1.Condition {
	return []metav1.Condition{
		{Type: service.Announced, Status: metav1.ConditionTrue, Reason: "Announced", LastTransitionTime: metav1.Now()},
		{Type: service.SpreadCondition, Status: metav1.ConditionTrue, Reason: "Spread", LastTransitionTime: metav1.Now()},
	}
}

func TestConditionSaysWhatBecameOfAService(t *testing.T) {
	has, waits := svc("has", time.Hour, "10.0.0.1"), svc("waits", time.Minute)
	asks := annotated(svc("asks", time.Minute, "10.0.0.2"), service.AddressesAnnotation, "10.0.0.1")
	r := start(t, onePool("10.0.0.1-10.0.0.2"), has, waits, asks)
	r.allocatedSays("has", metav1.ConditionTrue, "Allocated", `10.0.0.1 from pool "default"`)
	r.allocatedSays("waits", metav1.ConditionFalse, "Exhausted", `pool "default" is exhausted (2 of 2 in use). Add addresses to a pool, or delete a Service that has one`)
	r.allocatedSays("asks", metav1.ConditionTrue, "Kept", `10.0.0.2 from pool "default". The Service does not get what it asks for: 10.0.0.1 is used by default/has`)
	since := service.Condition(r.get("has"), service.Allocated).LastTransitionTime
	r.update(onePool("192.0.2.1-192.0.2.9"))
	r.allocatedSays("has", metav1.ConditionTrue, "OutsidePools", "10.0.0.1 is in no pool")
	r.allocatedSays("waits", metav1.ConditionTrue, "Allocated", "192.0.2.1")
	if now := service.Condition(r.get("has"), service.Allocated).LastTransitionTime; now != since {
		t.Error("the time of the last transition has changed, but not the status")
	}
}

func TestConditionsGoWithTheLoadBalancer(t *testing.T) {
	a := svc("a", time.Hour, "10.0.0.1")
	r := start(t, onePool("10.0.0.1-10.0.0.2"), a)
	r.allocatedSays("a", metav1.ConditionTrue, "Allocated", "10.0.0.1")
	r.change("a", func(s *v1.Service) {
		s.Spec.Type = v1.ServiceTypeClusterIP
		s.Status.Conditions = append(s.Status.Conditions, ofSpeakers()...)
	})
	if err := r.lb.EnsureLoadBalancerDeleted(context.Background(), "", r.get("a")); err != nil {
		t.Fatal(err)
	}
	r.change("a", func(s *v1.Service) { s.Finalizers = nil }) // upstream's service controller does this
	r.eventually("the conditions are gone", func() bool { return len(r.get("a").Status.Conditions) == 0 })
}

func TestConditionSpreadGoesWithTheLoadBalancer(t *testing.T) {
	a := svc("a", time.Hour)
	a.Spec.Type, a.Finalizers, a.Status.Conditions = v1.ServiceTypeClusterIP, nil, ofSpeakers()[1:]
	r := start(t, onePool("10.0.0.1-10.0.0.2"), a)
	r.eventually("the condition is gone", func() bool { return len(r.get("a").Status.Conditions) == 0 })
}

func TestInvalidAnnotationChangesNothing(t *testing.T) {
	a := annotated(svc("a", time.Hour, "10.0.0.1"), service.IPModeAnnotation, "Porxy", service.HostnameAnnotation, "not a name")
	mode := v1.LoadBalancerIPModeProxy
	a.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: "10.0.0.1", IPMode: &mode, Hostname: "lb.example.com"}}
	r := start(t, onePool("10.0.0.1-10.0.0.9"), a)
	r.allocatedSays("a", metav1.ConditionTrue, "Kept", `annotation lb.baremetal/ip-mode: "Porxy" is neither VIP nor Proxy`)
	if got := r.get("a").Status.LoadBalancer.Ingress[0]; *got.IPMode != mode || got.Hostname != "lb.example.com" {
		t.Errorf("the status is %+v", got)
	}
}

func TestWriteOfANewIPModeIsExpected(t *testing.T) {
	tr := tracker{byUID: map[string]*serviceRecord{}}
	a := svc("a", time.Hour, "10.0.0.1")
	addrs := service.VIPs(a)
	tr.setAdopted(a, addrs)
	for _, step := range []struct {
		mode, hostname string
		expected       bool
	}{{"", "", false}, {"Proxy", "", true}, {"Proxy", "", false}, {"Proxy", "lb.example.com", true}, {"", "", true}, {"", "", false}} {
		annotated(a, service.IPModeAnnotation, step.mode, service.HostnameAnnotation, step.hostname)
		tr.setServed(a, addrs)
		if got := tr.setWritten(a, addrs); got != step.expected {
			t.Errorf("%+v: expected %v", step, got)
		}
	}
}

func TestServiceWithoutAddressesIsNotAnnounced(t *testing.T) {
	a := svc("a", time.Hour, "10.0.0.1")
	a.Status.Conditions = ofSpeakers()
	b := svc("b", time.Hour)
	b.Status.Conditions = ofSpeakers()[1:]
	r := start(t, onePool("10.0.0.1/32"), node("n1", "10.0.0.1"), a, b)
	for _, name := range []string{"a", "b"} {
		r.allocatedSays(name, metav1.ConditionFalse, "Exhausted", "exhausted (0 of 0 in use)")
		r.eventually("the conditions of speakers are gone", func() bool { return len(r.get(name).Status.Conditions) == 1 })
	}
}

func TestConditionsOfOthersStay(t *testing.T) {
	a := svc("a", time.Hour, "10.0.0.1")
	other := metav1.Condition{Type: "example.com/Other", Status: metav1.ConditionTrue, Reason: "Because", LastTransitionTime: metav1.Now()}
	a.Status.Conditions = append(ofSpeakers(), other)
	r := start(t, onePool("10.0.0.1/32"), a)
	r.allocatedSays("a", metav1.ConditionTrue, "Allocated", "10.0.0.1")
	for _, conditionType := range []string{other.Type, service.Announced, service.SpreadCondition} {
		if service.Condition(r.get("a"), conditionType) == nil {
			t.Errorf("%s is gone", conditionType)
		}
	}
}

// annotate replaces the annotations of a Service, and looks at it again when the cache has them, as upstream's
// service controller does.
func (r *rig) annotate(name string, annotations ...string) {
	r.t.Helper()
	r.change(name, func(s *v1.Service) { annotated(s, annotations...) })
	r.eventually("the cache has the annotations", func() bool {
		s, err := r.cloud.services.Services("default").Get(name)
		return err == nil && maps.Equal(s.Annotations, r.get(name).Annotations)
	})
	r.cloud.retryAll()
}

func TestServiceCanAskForIPModeAndHostname(t *testing.T) {
	r := start(t, onePool("10.0.0.1-10.0.0.9"), annotated(svc("a", time.Hour, "10.0.0.1"), service.IPModeAnnotation, "Proxy", service.HostnameAnnotation, "lb.example.com"))
	entry := func() v1.LoadBalancerIngress {
		if ingress := r.get("a").Status.LoadBalancer.Ingress; len(ingress) == 1 {
			return ingress[0]
		}
		return v1.LoadBalancerIngress{}
	}
	r.eventually("the status has both", func() bool {
		e := entry()
		return e.IP == "10.0.0.1" && e.Hostname == "lb.example.com" && e.IPMode != nil && *e.IPMode == v1.LoadBalancerIPModeProxy
	})
	r.allocatedSays("a", metav1.ConditionTrue, "Allocated", "hostname lb.example.com")
	r.annotate("a")
	r.eventually("the status has neither", func() bool {
		e := entry()
		return e.Hostname == "" && e.IPMode != nil && *e.IPMode == v1.LoadBalancerIPModeVIP
	})
	for annotation, value := range map[string]string{service.IPModeAnnotation: "VIP ", service.HostnameAnnotation: "-.example.com", service.SpreadAnnotation: "yes"} {
		r.annotate("a", annotation, value)
		r.allocatedSays("a", metav1.ConditionTrue, "Kept", "annotation "+annotation)
	}
}

func TestHostnameOfAnotherControllerStays(t *testing.T) {
	a := svc("a", time.Hour, "10.0.0.1")
	mode := v1.LoadBalancerIPModeVIP
	a.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: "10.0.0.1", IPMode: &mode, Hostname: "theirs.example.com"}, {Hostname: "second.example.com"}}
	r := start(t, onePool("10.0.0.1-10.0.0.9"), a)
	r.allocatedSays("a", metav1.ConditionTrue, "Allocated", "10.0.0.1")
	status, err := r.lb.EnsureLoadBalancer(context.Background(), "", r.get("a"), nil)
	if err != nil || status.Ingress[0].Hostname != "theirs.example.com" || status.Ingress[1].Hostname != "second.example.com" {
		t.Errorf("upstream would write %+v (%v)", status, err)
	}
	r.update(onePool("10.0.0.1-10.0.0.20"))
	r.eventually("the pools are in use", func() bool { return r.cloud.allocator.Usage()[0].Usable == 20 })
	if got := r.get("a").Status.LoadBalancer.Ingress; len(got) != 2 || got[0].Hostname != "theirs.example.com" {
		t.Errorf("the status is %+v", got)
	}
}

func TestLongAnnotationIsCutInMessages(t *testing.T) {
	long := strings.Repeat("x", 10000)
	r := start(t, onePool("10.0.0.1-10.0.0.9"), annotated(svc("a", 0), service.AddressesAnnotation, long), annotated(svc("b", 0), service.PoolAnnotation, long))
	for _, name := range []string{"a", "b"} {
		r.eventually(name+" has its condition", func() bool { return service.Condition(r.get(name), service.Allocated) != nil })
		if c := service.Condition(r.get(name), service.Allocated); len(c.Message) > 400 || !strings.Contains(c.Message, "10000 bytes") {
			t.Errorf("%s: a message of %d bytes: %.200s", name, len(c.Message), c.Message)
		}
	}
}
