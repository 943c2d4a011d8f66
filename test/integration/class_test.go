package integration

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

const ownFinalizer = "lb.baremetal/cleanup"

func TestClassedServiceIsServed(t *testing.T) {
	f := setUp(t)
	f.create(service("classed", class("lb.baremetal/default")))
	vip := f.assigned("classed")
	f.fetched(vip)
	if got := f.get("classed").Finalizers; !slices.Equal(got, []string{ownFinalizer}) {
		f.Errorf("finalizers %v", got)
	}
	f.create(service("plain"))
	if other := f.assigned("plain"); other == vip {
		f.Errorf("both have %s", vip)
	}
	f.Run("its status is repaired", func(f *fixture) {
		f.setStatus("classed", `[{"ip":"192.0.2.99"}]`)
		f.event("Service", "classed", "StatusRepaired", "The status said 192.0.2.99; this Service has "+vip)
		f.has("classed", vip)
	})
	f.Run("a change of type drops the class and releases the address", func(f *fixture) {
		f.kubectl("patch", "service", "classed", "-p", `{"spec":{"type":"ClusterIP"}}`)
		f.eventually("the finalizer is gone", func() bool { return len(f.get("classed").Finalizers) == 0 })
		f.create(service("heir", annotated("lb.baremetal/addresses", vip)))
		f.has("heir", vip)
		f.remove("heir")
	})
	f.Run("the class and the type are set again", func(f *fixture) {
		f.kubectl("patch", "service", "classed", "-p", `{"spec":{"type":"LoadBalancer","loadBalancerClass":"lb.baremetal/default"}}`)
		f.assigned("classed")
		f.remove("classed")
	})
}

func TestClassedServiceGetsAReleasedAddress(t *testing.T) {
	f := setUp(t)
	first := f.freshPool(1)
	f.create(service("first"))
	f.has("first", first.String())
	f.create(service("waits", class("lb.baremetal/default")))
	f.event("Service", "waits", "AllocationFailed", "exhausted (1 of 1 in use)")
	f.remove("first")
	f.has("waits", first.String())
}

// Kubernetes' conformance test "should complete a service status lifecycle" also
// writes the status of a Service of another class.
func TestServiceOfAnotherClassIsNotTouched(t *testing.T) {
	f := setUp(t)
	f.create(service("foreign", class("example.com/internal-vip")))
	f.kubectl("patch", "service", "foreign", "--subresource=status", "-p", `{"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.1"}]}}}`)
	version := f.get("foreign").ResourceVersion
	f.create(service("ours", class("lb.baremetal/default")))
	f.fetched(f.assigned("ours"))
	f.must(f.cluster.SetPools(f.Context(), cluster.DefaultPools+"# changed\n")) // all Services are checked again
	f.restartCCMs()
	f.create(service("later"))
	f.assigned("later")
	s := f.get("foreign")
	if s.ResourceVersion != version || addressesOf(s) != "203.0.113.1" || len(s.Finalizers) > 0 {
		f.Errorf("the Service of another class was changed: it has %v and the finalizers %v", addressesOf(s), s.Finalizers)
	}
	for _, n := range f.cluster.Nodes() {
		plan, err := n.Get(f.Context(), "/debug/plan")
		f.must(err)
		if strings.Contains(plan, "203.0.113.1") {
			f.Errorf("the plan of %s contains its address:\n%s", n.Name, plan)
		}
	}
	f.kubectl("patch", "service", "foreign", "--subresource=status", "-p", `{"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.2"}]}}}`)
	f.remove("foreign") // waits until it is gone, which shows that it has no finalizer
}

func TestScopeWithoutDefaultServesOnlyItsClass(t *testing.T) {
	f := setUp(t)
	for _, ccm := range f.cluster.CCMs() {
		ccm.Stop()
	}
	f.Cleanup(func() { f.restartCCMs() })
	_, err := f.cluster.StartCCM(context.Background(), "--default-load-balancer=false", "--load-balancer-class=example.com/metal")
	f.must(err)
	f.create(service("plain"))
	f.create(service("metal", class("example.com/metal")))
	f.create(service("default-class", class("lb.baremetal/default")))
	f.assigned("metal")
	for _, name := range []string{"plain", "default-class"} {
		if s := f.get(name); addressesOf(s) != "" || len(s.Finalizers) > 0 {
			f.Errorf("%s was changed: it has %v and the finalizers %v", name, addressesOf(s), s.Finalizers)
		}
	}
	f.remove("metal")
}

func TestLeaseIsNotThatOfOtherCloudProviders(t *testing.T) {
	f := setUp(t)
	leases := f.kubectl("get", "leases", "--all-namespaces", "-o", "jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {end}")
	if !strings.Contains(leases, "baremetal-system/baremetal-cloud-controller-manager ") || strings.Contains(leases, "kube-system/cloud-controller-manager ") {
		f.Errorf("the leases are %s", leases)
	}
}
