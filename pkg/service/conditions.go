package service

import (
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The conditions that this project writes to the status of a Service.
const (
	// Allocated says whether the Service has its addresses. The cluster manager writes it.
	Allocated = "lb.baremetal/Allocated"
	// Announced says whether the addresses are announced. A speaker writes it.
	Announced = "lb.baremetal/Announced"
	// SpreadCondition says whether the nodes share the traffic of the addresses. A speaker
	// writes it to Services that should be spread, and removes it from others.
	SpreadCondition = "lb.baremetal/Spread"
)

// PolicyName is the name of the ValidatingAdmissionPolicy, and of its binding, that lets
// only the cluster manager change addresses in a status, and lets the speakers write only
// their conditions.
const PolicyName = "baremetal-service-status"

// Condition returns the condition of that type, or nil.
func Condition(svc *v1.Service, conditionType string) *metav1.Condition {
	for i := range svc.Status.Conditions {
		if c := &svc.Status.Conditions[i]; c.Type == conditionType {
			return c
		}
	}
	return nil
}

// SameCondition reports whether svc has the condition want already, with the same status,
// reason and message. It does not compare the times.
func SameCondition(svc *v1.Service, want metav1.Condition) bool {
	has := Condition(svc, want.Type)
	return has != nil && has.Status == want.Status && has.Reason == want.Reason && has.Message == want.Message
}

// WithTransition returns want with the time of the last transition: now, or the time in
// svc if the status is the same.
func WithTransition(svc *v1.Service, want metav1.Condition, now metav1.Time) metav1.Condition {
	want.LastTransitionTime = now
	if has := Condition(svc, want.Type); has != nil && has.Status == want.Status {
		want.LastTransitionTime = has.LastTransitionTime
	}
	return want
}

// HasCleanupFinalizer reports whether svc has the finalizer that delays its deletion until
// its load balancer is removed: ours, or upstream's.
func HasCleanupFinalizer(svc *v1.Service) bool {
	for _, f := range svc.Finalizers {
		if f == Finalizer || f == upstreamFinalizer {
			return true
		}
	}
	return false
}

// upstreamFinalizer is LoadBalancerCleanupFinalizer of k8s.io/cloud-provider, which the
// speaker must not import.
const upstreamFinalizer = "service.kubernetes.io/load-balancer-cleanup"
