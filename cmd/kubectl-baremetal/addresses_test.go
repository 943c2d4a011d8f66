package main

import (
	"slices"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

func TestAddressesAreCompletedWithTheirServices(t *testing.T) {
	svc := func(name, class string, ips ...string) (s v1.Service) {
		s.ObjectMeta = metav1.ObjectMeta{Namespace: "shop", Name: name}
		s.Spec.Type = v1.ServiceTypeLoadBalancer
		if class != "" {
			s.Spec.LoadBalancerClass = &class
		}
		for _, ip := range ips {
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, v1.LoadBalancerIngress{IP: ip})
		}
		return s
	}
	got := addressesOf([]v1.Service{svc("a", "", "192.0.2.1", "2001:db8::1"), svc("b", ""), svc("c", "other/class", "192.0.2.3")}, service.DefaultScope())
	if want := []string{"192.0.2.1\tshop/a", "2001:db8::1\tshop/a"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestArgumentMustBeAnAddress(t *testing.T) {
	for arg, want := range map[string]string{"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::1", "svc/web": "", "192.0.2.0/24": ""} {
		if got, err := parseAddress(arg); (err == nil) != (want != "") || err == nil && got.String() != want {
			t.Errorf("%q: %v, %v", arg, got, err)
		}
	}
}
