package diagnose_test

import (
	"net/netip"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const goodConfig = `peers:
- {name: tor, peer-address: 192.0.2.254, peer-asn: 64500, my-asn: 64501}
address-pools:
- {name: a, protocol: layer2, addresses: [192.0.2.0/28]}
`

func ptr[T any](v T) *T { return &v }

var ready = []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}}

func pod(name, node string) *v1.Pod {
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "baremetal-system", Name: name}, Spec: v1.PodSpec{NodeName: node},
		Status: v1.PodStatus{Phase: v1.PodRunning, Conditions: ready},
	}
}

var hostIPs = map[string]string{"node1": "192.0.2.101", "node2": "192.0.2.102", "node3": "192.0.2.103"}

// rejects lets the speaker of a node reject a packet with another key.
func rejects(in *diagnose.Input, node, from string, ago time.Duration) {
	for _, s := range in.Speakers {
		if s.Node() == node {
			s.Members.OtherKeys = append(s.Members.OtherKeys, debugapi.OtherKey{To: "members", From: netip.MustParseAddr(from), Last: now.Add(-ago)})
			s.Members.Rejected = map[string]uint64{"members/key": 12}
		}
	}
}

// die takes the power away from node3. The other speakers have noticed it, and Kubernetes has not.
func die(in *diagnose.Input) {
	in.Speakers[2] = diagnose.Speaker{Pod: in.Speakers[2].Pod, Problem: "no answer within 5s"}
	for _, s := range in.Speakers[:2] {
		for i, m := range s.Members.Members {
			if m.Name == "node3" {
				s.Members.Members[i].Alive, s.Members.Members[i].Lost, s.Members.Members[i].KernelDead = false, true, true
			}
		}
	}
}

// world is a healthy cluster: node1 to node3, one leader, and the Service default/web with 192.0.2.1, which
// node1 announces. Tests break it.
func world() *diagnose.Input {
	vip, hash := netip.MustParseAddr("192.0.2.1"), configmap.Hash(goodConfig)
	in := &diagnose.Input{
		Now: now, ConfigMap: configmap.DefaultRef, Scope: service.DefaultScope(),
		Services: []*v1.Service{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "u1"},
			Spec:       v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Selector: map[string]string{"app": "web"}, IPFamilies: []v1.IPFamily{v1.IPv4Protocol}, Ports: []v1.ServicePort{{Port: 80}}},
			Status:     v1.ServiceStatus{LoadBalancer: v1.LoadBalancerStatus{Ingress: []v1.LoadBalancerIngress{{IP: "192.0.2.1"}}}},
		}},
		EndpointSlices: []*discoveryv1.EndpointSlice{{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
			Endpoints:  []discoveryv1.Endpoint{{NodeName: ptr("node2"), Addresses: []string{"10.0.0.1"}}},
		}},
		DaemonSet: &appsv1.DaemonSet{},
		Lease: &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{
			HolderIdentity: ptr("ccm-1_x"), RenewTime: ptr(metav1.NewMicroTime(now.Add(-time.Second))), LeaseDurationSeconds: ptr(int32(15)),
		}},
		Config: &v1.ConfigMap{Data: map[string]string{"config": goodConfig}},
		InUse:  &v1.ConfigMap{Data: map[string]string{"config": goodConfig}},
		Managers: []diagnose.Manager{
			{Pod: pod("ccm-1", "node1"), Allocations: &debugapi.Allocations{
				Leader: true, Adopted: true, Config: debugapi.Config{Hash: hash, ResourceVersion: 7},
				Pools:    []debugapi.Pool{{Name: "a", Family: "IPv4", Total: 16, Assigned: 1, Free: 15}},
				Services: []debugapi.ServiceAllocation{{Name: "default/web", Addresses: []netip.Addr{vip}}},
			}},
			{Pod: pod("ccm-2", "node2"), Allocations: &debugapi.Allocations{}},
		},
	}
	all := []string{"node1", "node2", "node3"}
	for _, name := range all {
		in.Nodes = append(in.Nodes, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1.NodeStatus{Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}}})
		d := debugapi.Decision{VIP: vip, Services: []string{"default/web"}, Pool: "a", Protocol: "layer2", Owner: "node1", WhyOwner: "it has the highest weight of 3 candidates", Candidates: all, Reason: "OtherOwner"}
		if name == "node1" {
			d.Reason, d.Links = "Owner", []string{"eth0"}
		}
		s := diagnose.Speaker{
			Pod: pod("speaker-"+name, name), Plan: &debugapi.Plan{Config: debugapi.Config{Hash: hash}, Decisions: []debugapi.Decision{d}},
			BGP:    &debugapi.BGP{Sessions: []debugapi.Session{{Peer: "tor", Address: netip.MustParseAddr("192.0.2.254"), State: "ESTABLISHED", Up: true, Since: now.Add(-time.Hour)}}, Routes: []debugapi.Route{{Prefix: netip.MustParsePrefix("192.0.2.1/32")}}},
			Spread: &debugapi.Spread{}, Members: &debugapi.Members{Header: debugapi.Header{Time: now}},
		}
		s.Pod.Status.HostIP = hostIPs[name]
		for _, other := range all {
			if other != name {
				s.Members.Members = append(s.Members.Members, debugapi.Member{Name: other, Alive: true, Watched: true, Heard: true})
			}
		}
		in.Speakers = append(in.Speakers, s)
	}
	return in
}

// decide changes what all speakers that answer say about 192.0.2.1.
func decide(in *diagnose.Input, change func(node string, d *debugapi.Decision)) {
	for i := range in.Speakers {
		if in.Speakers[i].Plan != nil {
			change(in.Speakers[i].Node(), &in.Speakers[i].Plan.Decisions[0])
		}
	}
}

// pending takes the address away from default/web, and lets the cluster manager say why.
func pending(in *diagnose.Input, w *debugapi.Waiting) {
	in.Services[0].Status = v1.ServiceStatus{}
	in.Managers[0].Allocations.Services[0] = debugapi.ServiceAllocation{Name: "default/web", Waiting: w}
	for i := range in.Speakers {
		in.Speakers[i].Plan.Decisions = nil
	}
}
