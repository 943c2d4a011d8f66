package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func setStatus(t *testing.T, name, ingress string) {
	t.Helper()
	_, err := the.Client.CoreV1().Services("default").Patch(t.Context(), name, types.MergePatchType,
		[]byte(`{"status":{"loadBalancer":{"ingress":`+ingress+`}}}`), metav1.PatchOptions{}, "status")
	must(t, err)
}

func TestAStatusThatWasChangedByHandIsPutRight(t *testing.T) {
	create(t, service("mine"))
	create(t, service("other"))
	mine, other := assigned(t, "mine"), assigned(t, "other")
	for said, ingress := range map[string]string{
		"no address": `null`,
		"192.0.2.1":  `[{"ip":"192.0.2.1"}]`,
		other:        `[{"ip":"` + other + `"}]`, // claims another's
		mine:         `[{"ip":"` + mine + `","ipMode":"Proxy"}]`,
	} {
		t.Run(said, func(t *testing.T) {
			setStatus(t, "mine", ingress)
			event(t, "Service", "mine", "StatusRepaired", "The status said "+said+"; this Service has "+mine)
			eventually(t, "it is as before", func() bool {
				i := get(t, "mine").Status.LoadBalancer.Ingress
				return len(i) == 1 && i[0].IP == mine && *i[0].IPMode == v1.LoadBalancerIPModeVIP
			})
			has(t, "other", other)
			fetched(t, mine)
		})
	}
}

func TestAFinalizerThatWasRemovedIsPutBackAndNothingLeaksWithoutIt(t *testing.T) {
	first := freshPool(t, 1)
	create(t, service("stripped"))
	has(t, "stripped", first.String())
	strip := func() {
		kubectl(t, "patch", "service", "stripped", "--type=json", "-p", `[{"op":"remove","path":"/metadata/finalizers"}]`)
	}
	strip()
	event(t, "Service", "stripped", "FinalizerRestored", "service.kubernetes.io/load-balancer-cleanup")
	eventually(t, "the finalizer is back", func() bool { return len(get(t, "stripped").Finalizers) == 1 })

	create(t, service("heir"))
	event(t, "Service", "heir", "AllocationFailed", "exhausted (1 of 1 in use)")
	strip()
	remove(t, "stripped") // before it can be put back: upstream does not see this
	has(t, "heir", first.String())
}

func TestWhatHappensWhileNoCCMRunsIsMadeGood(t *testing.T) {
	net := freshNet()
	pools(t, "address-pools:\n- {name: p, protocol: layer2, addresses: ["+net+".1-"+net+".6]}\n")
	for i, name := range []string{"z-stays", "deleted", "retyped", "cleared", "stripped"} {
		create(t, service(name))
		has(t, name, fmt.Sprint(net, ".", i+1))
	}
	create(t, service("classed", class("lb.baremetal/default")))
	has(t, "classed", net+".6")
	for _, ccm := range the.CCMs() {
		ccm.Stop()
	}
	t.Cleanup(func() {
		if len(the.CCMs()) == 0 {
			restartCCMs(t)
		}
	})
	services := the.Client.CoreV1().Services("default")
	for _, name := range []string{"deleted", "classed"} { // they wait for their finalizers
		must(t, services.Delete(t.Context(), name, metav1.DeleteOptions{}))
	}
	kubectl(t, "patch", "service", "retyped", "-p", `{"spec":{"type":"ClusterIP"}}`)
	setStatus(t, "cleared", "null")
	kubectl(t, "patch", "service", "stripped", "--type=json", "-p", `[{"op":"remove","path":"/metadata/finalizers"}]`)
	remove(t, "stripped")
	for _, name := range []string{"a-new", "b-new", "c-new", "d-new"} {
		create(t, service(name))
	}
	restartCCMs(t)
	seen := map[string]string{}
	for _, name := range []string{"z-stays", "cleared", "a-new", "b-new", "c-new", "d-new"} {
		ip := assigned(t, name)
		if other, taken := seen[ip]; taken {
			t.Errorf("%s and %s both have %s", name, other, ip)
		}
		seen[ip] = name
	}
	has(t, "z-stays", net+".1")
	eventually(t, "those that were deleted are gone", func() bool {
		list, err := services.List(context.Background(), metav1.ListOptions{})
		must(t, err)
		for _, s := range list.Items {
			if s.Name == "deleted" || s.Name == "classed" || s.Name == "retyped" && len(s.Finalizers) > 0 {
				return false
			}
		}
		return true
	})
	if got := addressesOf(get(t, "retyped")); got != "" {
		t.Errorf("a ClusterIP Service has %s", got)
	}
}

// What was deleted after the backup is back, with an address that somebody else
// has been given.
func TestEtcdRestoredFromAnOlderBackupEndsWithoutDuplicates(t *testing.T) {
	net := freshNet()
	pools(t, "address-pools:\n- {name: p, protocol: layer2, addresses: ["+net+".1-"+net+".3]}\n")
	for i, name := range []string{"stays", "deleted-later", "renumbered"} {
		create(t, service(name))
		has(t, name, fmt.Sprint(net, ".", i+1))
	}
	create(t, service("waits"))
	event(t, "Service", "waits", "AllocationFailed", "exhausted (3 of 3 in use)")
	must(t, the.BackUp(t.Context()))

	remove(t, "deleted-later")
	has(t, "waits", net+".2")
	remove(t, "renumbered")
	create(t, service("newer"))
	has(t, "newer", net+".3")
	must(t, the.Restore(t.Context()))

	var state string
	err := the.Wait(t.Context(), "each address has one Service", func() bool {
		list, err := the.Client.CoreV1().Services("default").List(context.Background(), metav1.ListOptions{})
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
		t.Fatalf("%v: %s", err, state)
	}
	create(t, service("after"))
	event(t, "Service", "after", "AllocationFailed", "exhausted (3 of 3 in use)")
	settled(t)
}

func TestAFullPoolDoesNotFloodTheAPIServerWithEvents(t *testing.T) {
	net := freshNet()
	pools(t, "address-pools:\n- {name: p, protocol: layer2, addresses: ["+net+".1-"+net+".2]}\n")
	create(t, service("has"))
	assigned(t, "has")
	create(t, service("comes-and-goes"))
	assigned(t, "comes-and-goes")
	const n = 100
	for i := range n {
		create(t, service(fmt.Sprint("crowd-", i), labelled("crowd")))
	}
	count := func(reason string) (events int, repeated int32) {
		list, err := the.Client.CoreV1().Events("default").List(context.Background(), metav1.ListOptions{FieldSelector: "reason=" + reason})
		must(t, err)
		for _, e := range list.Items {
			if strings.HasPrefix(e.InvolvedObject.Name, "crowd-") {
				events++
				repeated += max(e.Count, 1)
			}
		}
		return events, repeated
	}
	eventually(t, "all are refused", func() bool { refused, _ := count("AllocationFailed"); return refused == n })
	// Chances that come to nothing: an address is released and taken at once.
	remove(t, "comes-and-goes")
	served := func() (names int) {
		list, err := the.Client.CoreV1().Services("default").List(context.Background(), metav1.ListOptions{LabelSelector: "crowd"})
		must(t, err)
		for _, s := range list.Items {
			if addressesOf(&s) != "" {
				names++
			}
		}
		return names
	}
	eventually(t, "one of them is served", func() bool { return served() == 1 })
	for i := range 20 {
		kubectl(t, "annotate", "service", "has", "--overwrite", fmt.Sprint("example.com/edit=", i))
	}
	_, first := count("AllocationFailed")
	restarts, _ := count("SyncLoadBalancerFailed")
	if first != n || restarts != 0 {
		t.Errorf("%d refusals were written for %d Services, and %d of upstream's", first, n, restarts)
	}
}
