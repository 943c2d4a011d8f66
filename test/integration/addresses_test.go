package integration

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fresh counts the networks that tests have used. A released address rests for a
// while before it is the first free one again, so that each test needs its own.
var fresh atomic.Uint32

// freshNet returns the first three bytes of a network that no earlier test has used.
func freshNet() string { return fmt.Sprint("10.50.", fresh.Add(1)) }

// freshPool sets a pool of so many fresh addresses, and returns the first.
func freshPool(t *testing.T, size int) (first netip.Addr) {
	t.Helper()
	net := freshNet()
	pools(t, fmt.Sprintf("address-pools:\n- {name: fresh, protocol: layer2, addresses: [%s.1-%s.%d]}\n", net, net, size))
	return netip.MustParseAddr(net + ".1")
}

func TestTwoServicesGetTheFirstTwoAddressesOfThePool(t *testing.T) {
	first := freshPool(t, 9)
	for _, name := range []string{"a", "b"} {
		create(t, service(name))
		if got := assigned(t, name); got != first.String() {
			t.Errorf("%s got %s, want %s", name, got, first)
		}
		first = first.Next()
	}
}

func TestAServiceThatIsDeletedFreesItsAddressForOneThatWaits(t *testing.T) {
	first := freshPool(t, 1)
	create(t, service("has"))
	if got := assigned(t, "has"); got != first.String() {
		t.Fatalf("got %s", got)
	}
	create(t, service("waits"))
	event(t, "Service", "waits", "AllocationFailed", `pool "fresh" is exhausted (1 of 1 in use)`)
	remove(t, "has")
	if got := assigned(t, "waits"); got != first.String() {
		t.Errorf("got %s, want %s", got, first)
	}
}

func TestARestartChangesNobodysAddress(t *testing.T) {
	freshPool(t, 9)
	before := map[string]string{}
	for _, name := range []string{"m1", "m2", "m3"} {
		create(t, service(name))
		before[name] = assigned(t, name)
	}
	for _, ccm := range the.CCMs() {
		ccm.Stop()
	}
	t.Cleanup(func() {
		if len(the.CCMs()) == 0 {
			restartCCMs(t)
		}
	})
	create(t, service("a-sorts-first"))
	restartCCMs(t)
	taken := assigned(t, "a-sorts-first")
	for name, ip := range before {
		if got := addressesOf(get(t, name)); got != ip || got == taken {
			t.Errorf("%s has %s, had %s; the new Service has %s", name, got, ip, taken)
		}
	}
}

func TestTwoHundredServicesGetTwoHundredAddresses(t *testing.T) {
	freshPool(t, 250)
	const n = 200
	services := the.Client.CoreV1().Services("default")
	var wg sync.WaitGroup
	for worker := range 10 {
		wg.Go(func() {
			for i := worker; i < n; i += 10 {
				if _, err := services.Create(t.Context(), service(fmt.Sprint("many-", i), labelled("many")), metav1.CreateOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	t.Cleanup(func() {
		start := time.Now()
		for i := range n {
			must(t, services.Delete(context.Background(), fmt.Sprint("many-", i), metav1.DeleteOptions{}))
		}
		eventually(t, "all are gone", func() bool {
			list, err := services.List(context.Background(), metav1.ListOptions{LabelSelector: "many"})
			return err == nil && len(list.Items) == 0
		})
		t.Logf("all deleted after %v", time.Since(start).Round(time.Millisecond))
	})
	start := time.Now()
	wg.Wait()
	t.Logf("created after %v", time.Since(start).Round(time.Millisecond))
	owners := map[string]string{}
	eventually(t, "all have an address", func() bool {
		list, err := services.List(t.Context(), metav1.ListOptions{LabelSelector: "many"})
		must(t, err)
		clear(owners)
		for _, s := range list.Items {
			ip := addressesOf(&s)
			if other, taken := owners[ip]; taken && ip != "" {
				t.Fatalf("%s and %s both have %s", other, s.Name, ip)
			}
			owners[ip] = s.Name
		}
		delete(owners, "")
		return len(owners) == n
	})
	t.Logf("all have an address after %v", time.Since(start).Round(time.Millisecond))
}

func TestWhenTheLeaderIsKilledTheOtherReplicaGoesOn(t *testing.T) {
	first := freshPool(t, 9)
	create(t, service("before"))
	if got := assigned(t, "before"); got != first.String() {
		t.Fatalf("got %s", got)
	}
	leader := the.Leader()
	if leader == nil || len(the.CCMs()) != 2 {
		t.Fatalf("%d CCMs, leader %v", len(the.CCMs()), leader)
	}
	t.Cleanup(func() {
		_, err := the.StartCCM(context.Background())
		must(t, err)
	})
	leader.Kill()
	create(t, service("after"))
	if got := assigned(t, "after"); got != first.Next().String() {
		t.Errorf("got %s", got)
	}
	if got := addressesOf(get(t, "before")); got != first.String() {
		t.Errorf("the old Service has %s", got)
	}
}

func TestAChangeOfTypeReleasesTheAddressAndBackGetsOne(t *testing.T) {
	first := freshPool(t, 1)
	create(t, service("changes"))
	assigned(t, "changes")
	patch := func(kind v1.ServiceType) {
		kubectl(t, "patch", "service", "changes", "-p", `{"spec":{"type":"`+string(kind)+`"}}`)
	}
	patch(v1.ServiceTypeClusterIP)
	eventually(t, "the finalizer is gone", func() bool { return len(get(t, "changes").Finalizers) == 0 })
	if got := addressesOf(get(t, "changes")); got != "" {
		t.Errorf("a ClusterIP Service has %s", got)
	}
	create(t, service("other"))
	if got := assigned(t, "other"); got != first.String() {
		t.Errorf("the address is not free: other got %s", got)
	}
	remove(t, "other")
	patch(v1.ServiceTypeLoadBalancer)
	if got := assigned(t, "changes"); got != first.String() {
		t.Errorf("back again it got %s", got)
	}
}

func TestAnAddedPoolServesWhoWaitsWithinASecond(t *testing.T) {
	pools(t, "address-pools:\n- {name: tiny, protocol: layer2, addresses: [10.60.0.1/32]}\n")
	create(t, service("lucky"))
	assigned(t, "lucky")
	for i := range 5 {
		create(t, service(fmt.Sprint("waits-", i)))
		event(t, "Service", fmt.Sprint("waits-", i), "AllocationFailed", "exhausted")
	}
	must(t, the.SetPools(t.Context(), "address-pools:\n- {name: tiny, protocol: layer2, addresses: [10.60.0.1/32]}\n- {name: more, protocol: layer2, addresses: [10.60.1.0/28]}\n"))
	start := time.Now()
	for i := range 5 {
		if got := assigned(t, fmt.Sprint("waits-", i)); !strings.HasPrefix(got, "10.60.1.") {
			t.Errorf("got %s", got)
		}
	}
	// Upstream asks again after a minute; that it was faster shows who served them.
	t.Logf("served after %v", time.Since(start).Round(time.Millisecond))
	event(t, "Service", "waits-0", "AddressAssigned", "10.60.1.")
}

func TestEveryReplicaServesItsMetrics(t *testing.T) {
	freshPool(t, 9)
	create(t, service("counted"))
	assigned(t, "counted")
	for _, ccm := range the.CCMs() {
		text, err := the.GetCCM(t.Context(), ccm, "/metrics")
		must(t, err)
		const used = `baremetal_ipam_addresses{family="ipv4",pool="fresh",state="used"} 1`
		if leads := ccm == the.Leader(); strings.Contains(text, used) != leads {
			t.Errorf("%s, which leads: %v, says about addresses in use:\n%s", ccm.Name, leads, grep(text, "baremetal_"))
		}
	}
}

func grep(text, what string) string {
	var found strings.Builder
	for line := range strings.Lines(text) {
		if strings.Contains(line, what) {
			found.WriteString(line)
		}
	}
	return found.String()
}
