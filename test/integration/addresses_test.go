package integration

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestServicesGetTheFirstAddressesOfThePool(t *testing.T) {
	f := setUp(t)
	first := f.freshPool(9)
	for _, name := range []string{"a", "b"} {
		f.create(service(name))
		if got := f.assigned(name); got != first.String() {
			f.Errorf("%s got %s, want %s", name, got, first)
		}
		first = first.Next()
	}
}

func TestDeletedServiceFreesItsAddressForAWaitingOne(t *testing.T) {
	f := setUp(t)
	first := f.freshPool(1)
	f.create(service("has"))
	if got := f.assigned("has"); got != first.String() {
		f.Fatalf("got %s", got)
	}
	f.create(service("waits"))
	f.event("Service", "waits", "AllocationFailed", `pool "fresh" is exhausted (1 of 1 in use)`)
	f.remove("has")
	if got := f.assigned("waits"); got != first.String() {
		f.Errorf("got %s, want %s", got, first)
	}
}

func TestRestartChangesNoAddress(t *testing.T) {
	f := setUp(t)
	f.freshPool(9)
	before := map[string]string{}
	for _, name := range []string{"m1", "m2", "m3"} {
		f.create(service(name))
		before[name] = f.assigned(name)
	}
	for _, ccm := range f.cluster.CCMs() {
		ccm.Stop()
	}
	f.Cleanup(func() {
		if len(f.cluster.CCMs()) == 0 {
			f.restartCCMs()
		}
	})
	f.create(service("a-sorts-first"))
	f.restartCCMs()
	taken := f.assigned("a-sorts-first")
	for name, ip := range before {
		if got := addressesOf(f.get(name)); got != ip || got == taken {
			f.Errorf("%s has %s, had %s; the new Service has %s", name, got, ip, taken)
		}
	}
}

func TestServicesGetTwoHundredDifferentAddresses(t *testing.T) {
	f := setUp(t)
	f.freshPool(250)
	const n = 200
	services := f.cluster.Client.CoreV1().Services("default")
	var wg sync.WaitGroup
	for worker := range 10 {
		wg.Go(func() {
			for i := worker; i < n; i += 10 {
				if _, err := services.Create(f.Context(), service(fmt.Sprint("many-", i), labelled("many")), metav1.CreateOptions{}); err != nil {
					f.Error(err)
				}
			}
		})
	}
	f.Cleanup(func() {
		start := time.Now()
		for i := range n {
			f.must(services.Delete(context.Background(), fmt.Sprint("many-", i), metav1.DeleteOptions{}))
		}
		f.eventually("all Services are gone", func() bool {
			list, err := services.List(context.Background(), metav1.ListOptions{LabelSelector: "many"})
			return err == nil && len(list.Items) == 0
		})
		f.Logf("all deleted after %v", time.Since(start).Round(time.Millisecond))
	})
	start := time.Now()
	wg.Wait()
	f.Logf("created after %v", time.Since(start).Round(time.Millisecond))
	owners := map[string]string{}
	f.eventually("all have an address", func() bool {
		list, err := services.List(f.Context(), metav1.ListOptions{LabelSelector: "many"})
		f.must(err)
		clear(owners)
		for _, s := range list.Items {
			ip := addressesOf(&s)
			if other, taken := owners[ip]; taken && ip != "" {
				f.Fatalf("%s and %s both have %s", other, s.Name, ip)
			}
			owners[ip] = s.Name
		}
		delete(owners, "")
		return len(owners) == n
	})
	f.Logf("all have an address after %v", time.Since(start).Round(time.Millisecond))
}

func TestLeaderThatIsKilledIsReplaced(t *testing.T) {
	f := setUp(t)
	first := f.freshPool(9)
	f.create(service("before"))
	if got := f.assigned("before"); got != first.String() {
		f.Fatalf("got %s", got)
	}
	leader := f.cluster.Leader()
	if leader == nil || len(f.cluster.CCMs()) != 2 {
		f.Fatalf("%d CCMs, leader %v", len(f.cluster.CCMs()), leader)
	}
	f.Cleanup(func() {
		_, err := f.cluster.StartCCM(context.Background())
		f.must(err)
	})
	leader.Kill()
	f.create(service("after"))
	if got := f.assigned("after"); got != first.Next().String() {
		f.Errorf("got %s", got)
	}
	if got := addressesOf(f.get("before")); got != first.String() {
		f.Errorf("the old Service has %s", got)
	}
}

func TestTypeChangeReleasesTheAddress(t *testing.T) {
	f := setUp(t)
	first := f.freshPool(1)
	f.create(service("changes"))
	f.assigned("changes")
	patch := func(kind v1.ServiceType) {
		f.kubectl("patch", "service", "changes", "-p", `{"spec":{"type":"`+string(kind)+`"}}`)
	}
	patch(v1.ServiceTypeClusterIP)
	f.eventually("the finalizer is gone", func() bool { return len(f.get("changes").Finalizers) == 0 })
	if got := addressesOf(f.get("changes")); got != "" {
		f.Errorf("a ClusterIP Service has %s", got)
	}
	f.create(service("other"))
	if got := f.assigned("other"); got != first.String() {
		f.Errorf("the address was not released: other got %s", got)
	}
	f.remove("other")
	patch(v1.ServiceTypeLoadBalancer)
	if got := f.assigned("changes"); got != first.String() {
		f.Errorf("as a LoadBalancer again it got %s", got)
	}
}

func TestAddedPoolServesWaitingServicesAtOnce(t *testing.T) {
	f := setUp(t)
	f.pools("address-pools:\n- {name: tiny, protocol: layer2, addresses: [10.60.0.1/32]}\n")
	f.create(service("lucky"))
	f.assigned("lucky")
	for i := range 5 {
		f.create(service(fmt.Sprint("waits-", i)))
		f.event("Service", fmt.Sprint("waits-", i), "AllocationFailed", "exhausted")
	}
	f.must(f.cluster.SetPools(f.Context(), "address-pools:\n- {name: tiny, protocol: layer2, addresses: [10.60.0.1/32]}\n- {name: more, protocol: layer2, addresses: [10.60.1.0/28]}\n"))
	start := time.Now()
	for i := range 5 {
		if got := f.assigned(fmt.Sprint("waits-", i)); !strings.HasPrefix(got, "10.60.1.") {
			f.Errorf("got %s", got)
		}
	}
	// Upstream's service controller tries again after a minute only. A shorter time shows
	// that the change of the pools served the Services.
	f.Logf("served after %v", time.Since(start).Round(time.Millisecond))
	f.event("Service", "waits-0", "AddressAssigned", "10.60.1.")
}

func TestMetricsAreServedByEveryReplica(t *testing.T) {
	f := setUp(t)
	f.freshPool(9)
	f.create(service("counted"))
	f.assigned("counted")
	for _, ccm := range f.cluster.CCMs() {
		text, err := f.cluster.GetCCM(f.Context(), ccm, "/metrics")
		f.must(err)
		const used = `baremetal_ipam_addresses{family="ipv4",pool="fresh",state="used"} 1`
		if leads := ccm == f.cluster.Leader(); strings.Contains(text, used) != leads {
			f.Errorf("%s (leader: %v) has these metrics:\n%s", ccm.Name, leads, grep(text, "baremetal_"))
		}
	}
}
