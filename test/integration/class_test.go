package integration

import (
	"context"
	"slices"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

func class(name string) func(*v1.Service) {
	return func(s *v1.Service) { s.Spec.LoadBalancerClass = &name }
}

const ownFinalizer = "lb.baremetal/cleanup"

func TestAServiceOfOurClassIsServedLikeOneWithout(t *testing.T) {
	create(t, service("classed", class("lb.baremetal/default")))
	vip := assigned(t, "classed")
	fetched(t, vip)
	if got := get(t, "classed").Finalizers; !slices.Equal(got, []string{ownFinalizer}) {
		t.Errorf("finalizers %v", got)
	}
	create(t, service("plain"))
	if other := assigned(t, "plain"); other == vip {
		t.Errorf("both have %s", vip)
	}
	t.Run("its status is repaired", func(t *testing.T) {
		kubectl(t, "patch", "service", "classed", "--subresource=status", "--type=merge", "-p", `{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.99"}]}}}`)
		event(t, "Service", "classed", "StatusRepaired", "The status said 192.0.2.99; this Service has "+vip)
		has(t, "classed", vip)
	})
	t.Run("it is released when its type changes, which drops the class", func(t *testing.T) {
		kubectl(t, "patch", "service", "classed", "-p", `{"spec":{"type":"ClusterIP"}}`)
		eventually(t, "the finalizer is gone", func() bool { return len(get(t, "classed").Finalizers) == 0 })
		create(t, service("heir", annotated("lb.baremetal/addresses", vip)))
		has(t, "heir", vip)
		remove(t, "heir")
	})
	t.Run("and back", func(t *testing.T) {
		kubectl(t, "patch", "service", "classed", "-p", `{"spec":{"type":"LoadBalancer","loadBalancerClass":"lb.baremetal/default"}}`)
		assigned(t, "classed")
		remove(t, "classed")
	})
}

func TestAClassedServiceThatWaitsIsServedWhenThereIsAnAddress(t *testing.T) {
	first := freshPool(t, 1)
	create(t, service("first"))
	has(t, "first", first.String())
	create(t, service("waits", class("lb.baremetal/default")))
	event(t, "Service", "waits", "AllocationFailed", "exhausted (1 of 1 in use)")
	remove(t, "first")
	has(t, "waits", first.String())
}

// Kubernetes' conformance test "should complete a service status lifecycle" does
// the same to a Service of a foreign class.
func TestAServiceOfAnotherClassIsNotTouched(t *testing.T) {
	create(t, service("foreign", class("example.com/internal-vip")))
	kubectl(t, "patch", "service", "foreign", "--subresource=status", "-p", `{"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.1"}]}}}`)
	version := get(t, "foreign").ResourceVersion
	create(t, service("ours", class("lb.baremetal/default")))
	fetched(t, assigned(t, "ours"))
	must(t, the.SetPools(t.Context(), cluster.DefaultPools+"# changed\n")) // all Services are looked at
	restartCCMs(t)
	create(t, service("later"))
	assigned(t, "later")
	s := get(t, "foreign")
	if s.ResourceVersion != version || addressesOf(s) != "203.0.113.1" || len(s.Finalizers) > 0 {
		t.Errorf("it was changed: %v %v", addressesOf(s), s.Finalizers)
	}
	for _, n := range the.Nodes() {
		plan, err := n.Get(t.Context(), "/debug/plan")
		must(t, err)
		if strings.Contains(plan, "203.0.113.1") {
			t.Errorf("%s knows it:\n%s", n.Name, plan)
		}
	}
	kubectl(t, "patch", "service", "foreign", "--subresource=status", "-p", `{"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.2"}]}}}`)
	remove(t, "foreign") // nothing holds it back
}

func TestBesideAnotherProviderOnlyOurClassIsServed(t *testing.T) {
	for _, ccm := range the.CCMs() {
		ccm.Stop()
	}
	t.Cleanup(func() { restartCCMs(t) })
	_, err := the.StartCCM(context.Background(), "--default-load-balancer=false", "--load-balancer-class=example.com/metal")
	must(t, err)
	create(t, service("plain"))
	create(t, service("metal", class("example.com/metal")))
	create(t, service("default-class", class("lb.baremetal/default")))
	assigned(t, "metal")
	for _, name := range []string{"plain", "default-class"} {
		if s := get(t, name); addressesOf(s) != "" || len(s.Finalizers) > 0 {
			t.Errorf("%s was touched: %v %v", name, addressesOf(s), s.Finalizers)
		}
	}
	remove(t, "metal")
}

func TestTheLeaseIsOurOwn(t *testing.T) {
	leases := kubectl(t, "get", "leases", "--all-namespaces", "-o", "jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {end}")
	if !strings.Contains(leases, "baremetal-system/baremetal-cloud-controller-manager ") || strings.Contains(leases, "kube-system/cloud-controller-manager ") {
		t.Errorf("the leases are %s", leases)
	}
}
