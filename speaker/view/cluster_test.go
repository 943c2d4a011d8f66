package view

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// The endpoints of most Services with the policy Cluster are not needed. Reading them all for
// every plan would cost too much.
func TestEndpointsAreReadOnlyWhereTheyMatter(t *testing.T) {
	cluster, err := NewCluster(fake.NewClientset(), service.DefaultScope(), "baremetal-system", false, func() {})
	if err != nil {
		t.Fatal(err)
	}
	add := func(name, vip string, local bool, endpoints ...discoveryv1.Endpoint) {
		svc := &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer}}
		svc.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: vip}}
		if local {
			svc.Spec.ExternalTrafficPolicy = v1.ServiceExternalTrafficPolicyLocal
		}
		slice := &discoveryv1.EndpointSlice{Endpoints: endpoints, ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: name}}}
		if err := errors.Join(cluster.factory.Core().V1().Services().Informer().GetStore().Add(svc), cluster.endpoints.Add(slice)); err != nil {
			t.Fatal(err)
		}
	}
	node, no := "node1", false
	ready, unready := discoveryv1.Endpoint{NodeName: &node}, discoveryv1.Endpoint{NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &no}}
	elsewhere := discoveryv1.Endpoint{} // a user has made it, for a host that is no node
	add("plain", "192.0.2.1", false, unready)
	add("local", "192.0.2.2", true, ready)
	add("watched", "198.51.100.1", false, unready)
	add("watched-up", "198.51.100.2", false, ready)
	add("watched-elsewhere", "198.51.100.3", false, elsewhere)
	add("watched-local", "198.51.100.4", true, unready)
	in := Inputs{Orphans: map[netip.Addr]*config.Pool{}}
	for i := range 4 {
		in.Orphans[netip.AddrFrom4([4]byte{198, 51, 100, byte(i + 1)})] = &config.Pool{WithdrawWithoutEndpoints: true}
	}
	services, err := cluster.planServices(time.Now(), new(settling), nil, in.needsEndpoints)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range services {
		got[s.Name] = fmt.Sprint(s.EndpointNodes, s.Endpoints, s.Endpointless)
	}
	want := map[string]string{
		"default/plain": "[] map[] false", "default/local": "[node1] map[node1:1] false",
		"default/watched": "[] map[] true", "default/watched-up": "[] map[] false", "default/watched-elsewhere": "[] map[] false", "default/watched-local": "[] map[] true",
	}
	if !maps.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// The owner of such an address goes on probing it.
func TestAddressThatIsWithheldIsStillPlanned(t *testing.T) {
	cluster, err := NewCluster(fake.NewClientset(), service.DefaultScope(), "baremetal-system", false, func() {})
	if err != nil {
		t.Fatal(err)
	}
	svc := &v1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "uid-web"}, Spec: v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer}}
	if err := cluster.factory.Core().V1().Services().Informer().GetStore().Add(svc); err != nil {
		t.Fatal(err)
	}
	vip := netip.MustParseAddr("192.0.2.1")
	services, err := cluster.planServices(time.Now(), new(settling), map[types.UID][]netip.Addr{"uid-web": {vip}}, func(netip.Addr) bool { return false })
	if err != nil || len(services) != 1 || fmt.Sprint(services[0].VIPs, services[0].Withheld) != "[192.0.2.1] [192.0.2.1]" {
		t.Errorf("%+v, %v", services, err)
	}
	svc.Status.LoadBalancer.Ingress = []v1.LoadBalancerIngress{{IP: "192.0.2.1"}} // and it is still published for a moment
	services, err = cluster.planServices(time.Now(), new(settling), map[types.UID][]netip.Addr{"uid-web": {vip}}, func(netip.Addr) bool { return false })
	if err != nil || len(services) != 1 || fmt.Sprint(services[0].VIPs, services[0].Withheld) != "[192.0.2.1] []" {
		t.Errorf("when the conflict is over: %+v, %v", services, err)
	}
}

func TestShutdownOfANodeIsSeen(t *testing.T) {
	ready := func(status v1.ConditionStatus, message string) *v1.Node {
		return &v1.Node{Status: v1.NodeStatus{Conditions: []v1.NodeCondition{
			{Type: v1.NodeMemoryPressure, Status: v1.ConditionFalse, Message: "kubelet has sufficient memory available"},
			{Type: v1.NodeReady, Status: status, Reason: "KubeletNotReady", Message: message},
		}}}
	}
	deleted := ready(v1.ConditionTrue, "kubelet is posting ready status")
	deleted.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	for name, test := range map[string]struct {
		node *v1.Node
		want bool
	}{
		"ready":                            {ready(v1.ConditionTrue, "kubelet is posting ready status"), false},
		"not ready for another reason":     {ready(v1.ConditionFalse, "container runtime is down"), false},
		"lost":                             {ready(v1.ConditionUnknown, "Kubelet stopped posting node status."), false},
		"shutting down":                    {ready(v1.ConditionFalse, "node is shutting down"), true},
		"shutting down, and more problems": {ready(v1.ConditionFalse, "[container runtime is down, node is shutting down]"), true},
		"being deleted":                    {deleted, true},
		"without conditions":               {&v1.Node{}, false},
	} {
		if got := shuttingDown(test.node); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
