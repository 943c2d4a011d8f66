package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestStatusChangedByAUserIsRepaired(t *testing.T) {
	f := setUp(t)
	f.create(service("mine"))
	f.create(service("other"))
	mine, other := f.assigned("mine"), f.assigned("other")
	for said, ingress := range map[string]string{
		"no address": `null`,
		"192.0.2.1":  `[{"ip":"192.0.2.1"}]`,
		other:        `[{"ip":"` + other + `"}]`, // the address of another Service
		mine:         `[{"ip":"` + mine + `","ipMode":"Proxy"}]`,
	} {
		f.Run(said, func(f *fixture) {
			f.setStatus("mine", ingress)
			f.event("Service", "mine", "StatusRepaired", "The status said "+said+"; this Service has "+mine)
			f.eventually("the status is as before", func() bool {
				i := f.get("mine").Status.LoadBalancer.Ingress
				return len(i) == 1 && i[0].IP == mine && *i[0].IPMode == v1.LoadBalancerIPModeVIP
			})
			f.has("other", other)
			f.fetched(mine)
		})
	}
}

func TestFinalizerIsRestoredAndNoAddressLeaks(t *testing.T) {
	f := setUp(t)
	first := f.freshPool(1)
	f.create(service("stripped"))
	f.has("stripped", first.String())
	strip := func() {
		f.kubectl("patch", "service", "stripped", "--type=json", "-p", `[{"op":"remove","path":"/metadata/finalizers"}]`)
	}
	strip()
	f.event("Service", "stripped", "FinalizerRestored", "service.kubernetes.io/load-balancer-cleanup")
	f.eventually("the finalizer is back", func() bool { return len(f.get("stripped").Finalizers) == 1 })

	f.create(service("heir"))
	f.event("Service", "heir", "AllocationFailed", "exhausted (1 of 1 in use)")
	strip()
	f.remove("stripped") // before the finalizer is restored, so that upstream's service controller does not see the deletion
	f.has("heir", first.String())
}

func TestChangesWithoutAClusterManagerAreMadeUpFor(t *testing.T) {
	f := setUp(t)
	net := freshNet()
	f.pools("address-pools:\n- {name: p, protocol: layer2, addresses: [" + net + ".1-" + net + ".6]}\n")
	for i, name := range []string{"z-stays", "deleted", "retyped", "cleared", "stripped"} {
		f.create(service(name))
		f.has(name, fmt.Sprint(net, ".", i+1))
	}
	f.create(service("classed", class("lb.baremetal/default")))
	f.has("classed", net+".6")
	for _, ccm := range f.cluster.CCMs() {
		ccm.Stop()
	}
	f.Cleanup(func() {
		if len(f.cluster.CCMs()) == 0 {
			f.restartCCMs()
		}
	})
	services := f.cluster.Client.CoreV1().Services("default")
	for _, name := range []string{"deleted", "classed"} { // their finalizers keep them until a cluster manager runs
		f.must(services.Delete(f.Context(), name, metav1.DeleteOptions{}))
	}
	f.kubectl("patch", "service", "retyped", "-p", `{"spec":{"type":"ClusterIP"}}`)
	f.setStatus("cleared", "null")
	f.kubectl("patch", "service", "stripped", "--type=json", "-p", `[{"op":"remove","path":"/metadata/finalizers"}]`)
	f.remove("stripped")
	for _, name := range []string{"a-new", "b-new", "c-new", "d-new"} {
		f.create(service(name))
	}
	f.restartCCMs()
	seen := map[string]string{}
	for _, name := range []string{"z-stays", "cleared", "a-new", "b-new", "c-new", "d-new"} {
		ip := f.assigned(name)
		if other, taken := seen[ip]; taken {
			f.Errorf("%s and %s both have %s", name, other, ip)
		}
		seen[ip] = name
	}
	f.has("z-stays", net+".1")
	f.eventually("the deleted Services are gone", func() bool {
		list, err := services.List(context.Background(), metav1.ListOptions{})
		f.must(err)
		for _, s := range list.Items {
			if s.Name == "deleted" || s.Name == "classed" || s.Name == "retyped" && len(s.Finalizers) > 0 {
				return false
			}
		}
		return true
	})
	if got := addressesOf(f.get("retyped")); got != "" {
		f.Errorf("a ClusterIP Service has %s", got)
	}
}

// After the restore, a Service that was deleted after the backup exists again, with an
// address that another Service has got in the meantime.
func TestEtcdRestoreEndsWithoutDuplicates(t *testing.T) {
	f := setUp(t)
	net := freshNet()
	f.pools("address-pools:\n- {name: p, protocol: layer2, addresses: [" + net + ".1-" + net + ".3]}\n")
	for i, name := range []string{"stays", "deleted-later", "renumbered"} {
		f.create(service(name))
		f.has(name, fmt.Sprint(net, ".", i+1))
	}
	f.create(service("waits"))
	f.event("Service", "waits", "AllocationFailed", "exhausted (3 of 3 in use)")
	f.must(f.cluster.BackUp(f.Context()))

	f.remove("deleted-later")
	f.has("waits", net+".2")
	f.remove("renumbered")
	f.create(service("newer"))
	f.has("newer", net+".3")
	f.must(f.cluster.Restore(f.Context()))

	var state string
	err := f.cluster.Wait(f.Context(), "each address has one Service", func() bool {
		list, err := f.cluster.Client.CoreV1().Services("default").List(context.Background(), metav1.ListOptions{})
		if err != nil {
			return false
		}
		has := map[string]string{}
		for _, s := range list.Items {
			has[s.Name] = addressesOf(&s)
		}
		state = fmt.Sprint(has)
		_, newer := has["newer"]
		both := []string{has["deleted-later"], has["waits"]}
		return !newer && has["stays"] == net+".1" && has["renumbered"] == net+".3" && strings.Join(both, "") == net+".2"
	})
	if err != nil {
		f.Fatalf("%v: %s", err, state)
	}
	f.create(service("after"))
	f.event("Service", "after", "AllocationFailed", "exhausted (3 of 3 in use)")
	f.settled()
}

func TestFullPoolDoesNotFloodTheAPIServerWithEvents(t *testing.T) {
	f := setUp(t)
	net := freshNet()
	f.pools("address-pools:\n- {name: p, protocol: layer2, addresses: [" + net + ".1-" + net + ".2]}\n")
	f.create(service("has"))
	f.assigned("has")
	f.create(service("comes-and-goes"))
	f.assigned("comes-and-goes")
	const n = 100
	for i := range n {
		f.create(service(fmt.Sprint("crowd-", i), labelled("crowd")))
	}
	count := func(reason string) (events int, repeated int32) {
		list, err := f.cluster.Client.CoreV1().Events("default").List(context.Background(), metav1.ListOptions{FieldSelector: "reason=" + reason})
		f.must(err)
		for _, e := range list.Items {
			if strings.HasPrefix(e.InvolvedObject.Name, "crowd-") {
				events++
				repeated += max(e.Count, 1)
			}
		}
		return events, repeated
	}
	f.eventually("all Services are refused", func() bool { refused, _ := count("AllocationFailed"); return refused == n })
	// An address is released, which makes all of them try again. One Service gets it. The
	// others must not write a second Event.
	f.remove("comes-and-goes")
	served := func() (names int) {
		list, err := f.cluster.Client.CoreV1().Services("default").List(context.Background(), metav1.ListOptions{LabelSelector: "crowd"})
		f.must(err)
		for _, s := range list.Items {
			if addressesOf(&s) != "" {
				names++
			}
		}
		return names
	}
	f.eventually("one of them gets the address", func() bool { return served() == 1 })
	for i := range 20 {
		f.kubectl("annotate", "service", "has", "--overwrite", fmt.Sprint("example.com/edit=", i))
	}
	_, first := count("AllocationFailed")
	restarts, _ := count("SyncLoadBalancerFailed")
	if first != n || restarts != 0 {
		f.Errorf("%d AllocationFailed Events for %d Services, and %d Events of upstream's service controller", first, n, restarts)
	}
}
