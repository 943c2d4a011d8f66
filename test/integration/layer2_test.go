package integration

import (
	"context"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

func TestPlannedMovesLoseNothing(t *testing.T) {
	f := setUp(t)
	f.create(service("planned"))
	vip := f.assigned("planned")
	f.fetched(vip)
	f.owner(vip) // the client may know a node from an earlier test, before the first announcement
	probe, err := f.cluster.StartProbe(vip)
	f.must(err)
	defer probe.Stop()
	asker, err := f.cluster.Ask(vip, 10*time.Millisecond)
	f.must(err)
	defer asker.Stop()
	ctx := context.Background()
	for _, move := range []struct {
		name string
		do   func(f *fixture, owner *cluster.Node)
	}{
		{"every speaker is restarted, one after the other", func(f *fixture, _ *cluster.Node) {
			for _, n := range f.cluster.Nodes() {
				n.Speaker().Stop()
				f.must(n.StartSpeaker(ctx))
				f.must(n.WaitReady(ctx))
				f.settled()
			}
		}},
		{"the owner gets the label that excludes it, and loses it", func(f *fixture, owner *cluster.Node) {
			f.kubectl("label", "node", owner.Name, v1.LabelNodeExcludeBalancers+"=")
			f.eventually("another owner", func() bool { return f.announcer(vip) != owner })
			f.kubectl("label", "node", owner.Name, v1.LabelNodeExcludeBalancers+"-")
			f.announcer(vip)
		}},
		{"the owner is drained", func(f *fixture, owner *cluster.Node) {
			f.kubectl("drain", owner.Name, "--ignore-daemonsets", "--force")
			f.announcer(vip)
			f.kubectl("uncordon", owner.Name)
		}},
	} {
		f.Run(move.name, func(f *fixture) {
			begun := time.Now()
			move.do(f, f.announcer(vip))
			n := len(probe.Attempts(begun))
			f.eventually("100 more connections", func() bool { return len(probe.Attempts(begun)) > n+100 })
			failed := len(lost(probe, asker, begun))
			unanswered := asker.Unanswered(begun)
			f.Logf("%d connections, %d failed; %d ARP requests for the address, %d unanswered", len(probe.Attempts(begun)), failed, len(asker.Since(begun)), unanswered)
			if failed > 0 || unanswered > 0 {
				f.Errorf("%d connections failed, %d ARP requests were not answered; moves at %v, failed connections %v", failed, unanswered, asker.Moves(begun), lost(probe, asker, begun))
			}
		})
	}
}

func TestConflictPreventsTheAnnouncement(t *testing.T) {
	f := setUp(t)
	const vip = "192.168.120.249"
	hosts := func(verb string) error {
		return exec.Command("ip", "-n", "client", "addr", verb, vip+"/32", "dev", "eth0").Run()
	}
	f.must(hosts("add"))
	f.Cleanup(func() { _ = hosts("del") }) // the end of the test has done so already, unless it failed
	f.create(service("taken", annotated("lb.baremetal/addresses", vip)))
	f.event("Service", "taken", "AddressConflict", "02:00:00:00:01:00")
	// kube-proxy must not take the traffic for that host: the status has no address until the
	// host is gone.
	f.says("taken", "lb.baremetal/Allocated", metav1.ConditionFalse, "Withheld", "02:00:00:00:01:00")
	f.has("taken", "")
	f.says("taken", "lb.baremetal/Announced", metav1.ConditionFalse, "Conflict", "02:00:00:00:01:00")
	withheld := time.Now()
	f.eventually("a speaker has probed it again", func() bool { return time.Since(withheld) > 11*time.Second })
	f.has("taken", "")
	for _, n := range f.cluster.Nodes() {
		plan, err := n.Get(f.Context(), "/debug/plan")
		f.must(err)
		if strings.Contains(plan, vip+" ") && strings.Contains(plan, "owner="+n.Name) && strings.Contains(plan, "reason=Conflict") {
			metrics, err := n.Get(f.Context(), "/metrics")
			f.must(err)
			if !strings.Contains(metrics, `baremetal_layer2_conflict{link="eth0",vip="`+vip+`"} 1`) {
				f.Errorf("no metric of the conflict on %s", n.Name)
			}
		}
	}
	f.must(hosts("del"))
	f.has("taken", vip)
	f.fetched(vip)
	f.owner(vip)
}

func TestLocalPolicyFollowsTheEndpoints(t *testing.T) {
	f := setUp(t)
	f.runOn("near1", "near", "node1")
	f.create(service("near", local("near")))
	vip := f.assigned("near")
	f.fetched(vip)
	if now := f.owner(vip); now.Name != "node1" {
		f.Errorf("the owner is %s", now.Name)
	}
	f.healthCheck("near", map[string]int{"node1": http.StatusOK, "node2": http.StatusServiceUnavailable})

	f.runOn("near3", "near", "node3")
	f.eventually("node3 is a candidate", func() bool {
		plan, err := f.cluster.Node("node1").Get(context.Background(), "/debug/plan")
		return err == nil && strings.Contains(plan, vip+" services=default/near pool=default") && strings.Contains(plan, "candidates=node1,node3")
	})
	f.kubectl("delete", "pod", "near1")
	gone := time.Now()
	f.eventually("node3 announces", func() bool { return f.announcer(vip).Name == "node3" })
	f.Logf("all speakers agreed on node3 %v after the pod of node1 was deleted", time.Since(gone).Round(time.Millisecond))
	f.fetched(vip)
	f.healthCheck("near", map[string]int{"node1": http.StatusServiceUnavailable, "node3": http.StatusOK})

	// A second EndpointSlice of the same Service names another node.
	ready, node := true, "node2"
	_, err := f.cluster.Client.DiscoveryV1().EndpointSlices("default").Create(f.Context(), &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "near-more", Namespace: "default", Labels: map[string]string{discoveryv1.LabelServiceName: "near"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.244.2.99"}, NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
	}, metav1.CreateOptions{})
	f.must(err)
	f.eventually("node2 is a candidate", func() bool {
		plan, err := f.cluster.Node("node1").Get(context.Background(), "/debug/plan")
		return err == nil && strings.Contains(plan, "candidates=node2,node3")
	})
	f.must(f.cluster.Client.DiscoveryV1().EndpointSlices("default").Delete(f.Context(), "near-more", metav1.DeleteOptions{}))

	f.kubectl("delete", "pod", "near3")
	f.eventually("no node answers", func() bool {
		macs, err := f.cluster.WhoHas(vip, 50*time.Millisecond)
		return err == nil && len(macs) == 0
	})
}

func TestServiceWithoutEndpointsIsAnnounced(t *testing.T) {
	f := setUp(t)
	f.create(service("empty", func(s *v1.Service) { s.Spec.Selector = map[string]string{"app": "nobody"} }))
	f.owner(f.assigned("empty"))
}

func TestPoolSelectorsOfNodesAreFollowedLive(t *testing.T) {
	f := setUp(t)
	const text = `address-pools:
- name: chosen
  protocol: layer2
  addresses: [192.168.120.230-192.168.120.239]
`
	f.pools(text)
	f.create(service("chosen"))
	vip := f.assigned("chosen")
	f.fetched(vip)
	for _, step := range []struct{ name, keys, want string }{
		{"an interface that no node has", "  interfaces: [nosuch0]\n", "reason=NoLink"},
		{"an interface that all nodes have", "  interfaces: [eth0]\n", "candidates=node1,node2,node3"},
		{"a node", "  node-selectors: [{match-labels: {kubernetes.io/hostname: node2}}]\n", "owner=node2 candidates=node2"},
		{"no selector", "", "candidates=node1,node2,node3"},
	} {
		f.must(f.cluster.SetPools(f.Context(), text+step.keys))
		for _, n := range f.cluster.Nodes() {
			f.eventually("the plan of "+n.Name+" follows the selector: "+step.name, func() bool {
				plan, err := n.Get(context.Background(), "/debug/plan")
				_, line, _ := strings.Cut(plan, vip+" ")
				line, _, _ = strings.Cut(line, "\n")
				return err == nil && strings.Contains(line, step.want)
			})
		}
		if step.want == "reason=NoLink" {
			f.eventually("no node answers", func() bool {
				macs, err := f.cluster.WhoHas(vip, 50*time.Millisecond)
				return err == nil && len(macs) == 0
			})
			continue
		}
		f.fetched(vip)
	}
}

func TestSpeakerReportsAnotherMembersPort(t *testing.T) {
	f := setUp(t)
	n := f.cluster.Nodes()[0]
	n.Speaker().Stop()
	f.Cleanup(func() {
		n.Speaker().Stop()
		f.must(n.StartSpeaker(context.Background()))
		f.must(n.WaitReady(context.Background()))
		f.settled()
	})
	f.must(n.StartSpeaker(f.Context(), "--members-port=8946"))
	f.eventually("the log says so", func() bool { return strings.Contains(n.Speaker().Log(), "another --members-port") })
}
