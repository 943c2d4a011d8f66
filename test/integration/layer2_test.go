package integration

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

func local(selector string) func(*v1.Service) {
	return func(s *v1.Service) {
		s.Spec.Selector = map[string]string{"app": selector}
		s.Spec.ExternalTrafficPolicy = v1.ServiceExternalTrafficPolicyLocal
	}
}

// runOn starts a pod on a node, and removes it at the end of the test.
func runOn(t *testing.T, name, app, node string) {
	t.Helper()
	kubectl(t, "run", name, "--image=web", "--labels=app="+app, `--overrides={"spec":{"nodeName":"`+node+`"}}`)
	t.Cleanup(func() { kubectl(t, "delete", "pod", name, "--ignore-not-found") })
}

func TestPlannedMovesLoseNothing(t *testing.T) {
	create(t, service("planned"))
	vip := assigned(t, "planned")
	fetched(t, vip)
	probe, err := the.StartProbe(vip)
	must(t, err)
	defer probe.Stop()
	asker, err := the.Ask(vip, 10*time.Millisecond)
	must(t, err)
	defer asker.Stop()
	ctx := context.Background()
	for _, move := range []struct {
		name string
		do   func(t *testing.T, n *cluster.Node)
	}{
		{"every speaker is restarted, one after the other", func(t *testing.T, _ *cluster.Node) {
			for _, n := range the.Nodes() {
				n.Speaker().Stop()
				must(t, n.StartSpeaker(ctx))
				must(t, n.WaitReady(ctx))
				settled(t)
			}
		}},
		{"the owner gets the label that excludes it, and loses it", func(t *testing.T, n *cluster.Node) {
			kubectl(t, "label", "node", n.Name, v1.LabelNodeExcludeBalancers+"=")
			eventually(t, "another owner", func() bool { return announcer(t, vip) != n })
			kubectl(t, "label", "node", n.Name, v1.LabelNodeExcludeBalancers+"-")
			announcer(t, vip)
		}},
		{"the owner is drained", func(t *testing.T, n *cluster.Node) {
			kubectl(t, "drain", n.Name, "--ignore-daemonsets", "--force")
			announcer(t, vip)
			kubectl(t, "uncordon", n.Name)
		}},
	} {
		t.Run(move.name, func(t *testing.T) {
			begun := time.Now()
			move.do(t, announcer(t, vip))
			n := len(probe.Attempts(begun))
			eventually(t, "the client goes on", func() bool { return len(probe.Attempts(begun)) > n+100 })
			failed := len(lost(probe, asker, begun))
			silent := asker.Unanswered(begun)
			t.Logf("%d connections, %d failed; %d questions who has the address, %d not answered", len(probe.Attempts(begun)), failed, len(asker.Since(begun)), silent)
			if failed > 0 || silent > 0 {
				t.Errorf("%d connections failed, %d questions were not answered; moves at %v, failed %v", failed, silent, asker.Moves(begun), lost(probe, asker, begun))
			}
		})
	}
}

// lost returns the connections that have failed, but for one a move that was being
// opened at that very moment. Its second packet comes to the new owner, whose
// kernel knows nothing of the first, and is dropped or reset; no layer 2 can
// prevent that.
func lost(probe *cluster.Probe, asker *cluster.Asker, since time.Time) (failed []cluster.Attempt) {
	const before, after = 30 * time.Millisecond, 60 * time.Millisecond
	moves := asker.Moves(since)
	for _, a := range probe.Attempts(since) {
		if a.OK {
			continue
		}
		inFlight := slices.IndexFunc(moves, func(move time.Time) bool { return move.After(a.Start.Add(-before)) && move.Before(a.Start.Add(after)) })
		if inFlight < 0 {
			failed = append(failed, a)
			continue
		}
		moves = slices.Delete(moves, inFlight, inFlight+1)
	}
	return failed
}

func TestAnAddressThatAHostOnTheSegmentHasIsNotAnnounced(t *testing.T) {
	const vip = "192.168.120.249"
	hosts := func(verb string) error {
		return exec.Command("ip", "-n", "client", "addr", verb, vip+"/32", "dev", "eth0").Run()
	}
	must(t, hosts("add"))
	t.Cleanup(func() { _ = hosts("del") }) // it was, if all went well
	create(t, service("taken", annotated("lb.baremetal/addresses", vip)))
	has(t, "taken", vip)
	event(t, "Service", "taken", "AddressConflict", "02:00:00:00:01:00")
	for _, n := range the.Nodes() {
		plan, err := n.Get(t.Context(), "/debug/plan")
		must(t, err)
		if strings.Contains(plan, vip+" ") && strings.Contains(plan, "owner="+n.Name) && strings.Contains(plan, "reason=Conflict") {
			metrics, err := n.Get(t.Context(), "/metrics")
			must(t, err)
			if !strings.Contains(metrics, `baremetal_layer2_conflict{mac="02:00:00:00:01:00",vip="`+vip+`"} 1`) {
				t.Errorf("no metric of the conflict on %s", n.Name)
			}
		}
	}
	must(t, hosts("del"))
	fetched(t, vip)
	owner(t, vip)
}

func TestLocalFollowsItsEndpoints(t *testing.T) {
	runOn(t, "near1", "near", "node1")
	create(t, service("near", local("near")))
	vip := assigned(t, "near")
	fetched(t, vip)
	if now := owner(t, vip); now.Name != "node1" {
		t.Errorf("%s answers", now.Name)
	}
	healthCheck(t, "near", map[string]int{"node1": http.StatusOK, "node2": http.StatusServiceUnavailable})

	runOn(t, "near3", "near", "node3")
	eventually(t, "node3 is a candidate", func() bool {
		plan, err := the.Node("node1").Get(context.Background(), "/debug/plan")
		return err == nil && strings.Contains(plan, vip+" services=default/near pool=default") && strings.Contains(plan, "candidates=node1,node3")
	})
	kubectl(t, "delete", "pod", "near1")
	gone := time.Now()
	eventually(t, "node3 announces", func() bool { return announcer(t, vip).Name == "node3" })
	t.Logf("all speakers agree on node3 %v after the pod of node1 was deleted", time.Since(gone).Round(time.Millisecond))
	fetched(t, vip)
	healthCheck(t, "near", map[string]int{"node1": http.StatusServiceUnavailable, "node3": http.StatusOK})

	// Another slice of the same Service, which names another node.
	ready, node := true, "node2"
	_, err := the.Client.DiscoveryV1().EndpointSlices("default").Create(t.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "near-more", Namespace: "default", Labels: map[string]string{discoveryv1.LabelServiceName: "near"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.244.2.99"}, NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
	}, metav1.CreateOptions{})
	must(t, err)
	eventually(t, "node2 is a candidate, too", func() bool {
		plan, err := the.Node("node1").Get(context.Background(), "/debug/plan")
		return err == nil && strings.Contains(plan, "candidates=node2,node3")
	})
	must(t, the.Client.DiscoveryV1().EndpointSlices("default").Delete(t.Context(), "near-more", metav1.DeleteOptions{}))

	kubectl(t, "delete", "pod", "near3")
	eventually(t, "nobody announces", func() bool {
		macs, err := the.WhoHas(vip, 50*time.Millisecond)
		return err == nil && len(macs) == 0
	})
}

// healthCheck waits until the Service's health check node port says what is right.
func healthCheck(t *testing.T, name string, want map[string]int) {
	t.Helper()
	port := get(t, name).Spec.HealthCheckNodePort
	for node, status := range want {
		eventually(t, fmt.Sprintf("health check of %s on %s says %d", name, node, status), func() bool {
			return the.HealthCheck(context.Background(), the.Node(node), port) == status
		})
	}
}

func TestAServiceThatIsScaledToNothingIsStillAnnounced(t *testing.T) {
	create(t, service("empty", func(s *v1.Service) { s.Spec.Selector = map[string]string{"app": "nobody"} }))
	owner(t, assigned(t, "empty"))
}

func TestTheSelectorsOfAPoolAreFollowedLive(t *testing.T) {
	const text = `address-pools:
- name: chosen
  protocol: layer2
  addresses: [192.168.120.230-192.168.120.239]
`
	pools(t, text)
	create(t, service("chosen"))
	vip := assigned(t, "chosen")
	fetched(t, vip)
	for _, step := range []struct{ name, keys, want string }{
		{"an interface that no node has", "  interfaces: [nosuch0]\n", "reason=NoLink"},
		{"one that all have", "  interfaces: [eth0]\n", "candidates=node1,node2,node3"},
		{"a node", "  node-selectors: [{match-labels: {kubernetes.io/hostname: node2}}]\n", "owner=node2 candidates=node2"},
		{"no selector", "", "candidates=node1,node2,node3"},
	} {
		must(t, the.SetPools(t.Context(), text+step.keys))
		for _, n := range the.Nodes() {
			eventually(t, n.Name+" follows: "+step.name, func() bool {
				plan, err := n.Get(context.Background(), "/debug/plan")
				_, line, _ := strings.Cut(plan, vip+" ")
				line, _, _ = strings.Cut(line, "\n")
				return err == nil && strings.Contains(line, step.want)
			})
		}
		if step.want == "reason=NoLink" {
			eventually(t, "nobody answers", func() bool {
				macs, err := the.WhoHas(vip, 50*time.Millisecond)
				return err == nil && len(macs) == 0
			})
			continue
		}
		fetched(t, vip)
	}
}

func TestASpeakerThatListensOnAnotherPortSaysSo(t *testing.T) {
	n := the.Nodes()[0]
	n.Speaker().Stop()
	t.Cleanup(func() {
		n.Speaker().Stop()
		must(t, n.StartSpeaker(context.Background()))
		must(t, n.WaitReady(context.Background()))
		settled(t)
	})
	must(t, n.StartSpeaker(t.Context(), "--members-port=8946"))
	eventually(t, "it is in the log", func() bool { return strings.Contains(n.Speaker().Log(), "another --members-port") })
}
