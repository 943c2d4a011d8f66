package cloudprovider

import (
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	servicehelpers "k8s.io/cloud-provider/service/helpers"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

func TestReleaseChangesOnlyServicesOfThisProject(t *testing.T) {
	const other, upstream = "example.com/other", servicehelpers.LoadBalancerCleanupFinalizer
	all := service.DefaultScope()
	own, foreign := service.DefaultClass, "example.com/lb"
	for _, test := range []struct {
		name       string
		class      *string
		kind       v1.ServiceType
		finalizers []string
		addr       string
		keep       bool
		scope      service.Scope
		left       []string
		done       string
	}{
		{"a Service without a class", nil, v1.ServiceTypeLoadBalancer, []string{other, upstream}, "192.0.2.7", false, all, []string{other}, "finalizer removed, 192.0.2.7 released"},
		{"one with our class", &own, v1.ServiceTypeLoadBalancer, []string{service.Finalizer}, "192.0.2.7", false, all, []string{}, "finalizer removed, 192.0.2.7 released"},
		{"its address can be kept", &own, v1.ServiceTypeLoadBalancer, []string{service.Finalizer}, "192.0.2.7", true, all, []string{}, "finalizer removed"},
		{"one that is of another type now", nil, v1.ServiceTypeClusterIP, []string{upstream}, "", false, all, []string{}, "finalizer removed"},
		{"one that has no finalizer yet", nil, v1.ServiceTypeLoadBalancer, nil, "192.0.2.7", false, all, nil, "192.0.2.7 released"},
		{"one of another provider", &foreign, v1.ServiceTypeLoadBalancer, []string{upstream}, "192.0.2.7", false, all, []string{upstream}, ""},
		{"one that is not a load balancer", nil, v1.ServiceTypeClusterIP, []string{other}, "", false, all, []string{other}, ""},
		{"one without a class, if those are not ours", nil, v1.ServiceTypeLoadBalancer, []string{upstream}, "192.0.2.7", false, service.Scope{Classes: []string{own}}, []string{upstream}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			svc := &v1.Service{ObjectMeta: metav1.ObjectMeta{Finalizers: test.finalizers}, Spec: v1.ServiceSpec{Type: test.kind, LoadBalancerClass: test.class}}
			if test.addr != "" {
				svc.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: test.addr}}
			}
			after, done := strip(svc, test.scope, test.keep)
			kept := test.keep || test.done == "" && test.addr != ""
			if done != test.done || !slices.Equal(after.Finalizers, test.left) || (len(after.Status.LoadBalancer.Ingress) > 0) != kept {
				t.Errorf("%q; it has %v and %v", done, after.Finalizers, after.Status.LoadBalancer.Ingress)
			}
		})
	}
}

func TestReleaseIsRefusedWhileThereIsALeader(t *testing.T) {
	now := time.Now()
	holder, seconds, none := "replica-1", int32(15), ""
	lease := func(holder *string, renewed time.Time) *coordinationv1.Lease {
		at := metav1.NewMicroTime(renewed)
		return &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "anywhere", Name: LeaseName},
			Spec: coordinationv1.LeaseSpec{HolderIdentity: holder, LeaseDurationSeconds: &seconds, RenewTime: &at}}
	}
	for name, test := range map[string]struct {
		lease *coordinationv1.Lease
		want  string
	}{
		"no lease":          {nil, ""},
		"it was given up":   {lease(&none, now), ""},
		"it is old":         {lease(&holder, now.Add(-time.Minute)), ""},
		"a leader holds it": {lease(&holder, now.Add(-5*time.Second)), "try again in 10s"},
	} {
		client := fake.NewClientset()
		if test.lease != nil {
			client = fake.NewClientset(test.lease)
		}
		err := checkNoLeader(t.Context(), client, now)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
