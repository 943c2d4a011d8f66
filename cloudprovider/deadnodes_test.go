package cloudprovider

import (
	"net/netip"
	"reflect"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/cloudprovider/deadnodes"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

func TestNodesWithASpeakerAreAsked(t *testing.T) {
	node := func(name string, ready v1.ConditionStatus, addrs ...v1.NodeAddress) *v1.Node {
		return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1.NodeStatus{
			Addresses: addrs, Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: ready}},
		}}
	}
	got := nodesToAsk([]*v1.Node{
		node("a", v1.ConditionTrue, v1.NodeAddress{Type: v1.NodeHostName, Address: "a"}, v1.NodeAddress{Type: v1.NodeExternalIP, Address: "192.0.2.1"},
			v1.NodeAddress{Type: v1.NodeInternalIP, Address: "10.0.0.1"}, v1.NodeAddress{Type: v1.NodeInternalIP, Address: "fd00::1"}),
		node("b", v1.ConditionUnknown, v1.NodeAddress{Type: v1.NodeInternalIP, Address: "fd00::2"}),
		node("c", v1.ConditionTrue),
	}, map[string]configmap.NodeLinks{"a": {}, "b": {}, "gone": {}})
	want := []deadnodes.Node{
		{Name: "a", Addr: netip.MustParseAddr("10.0.0.1"), Ready: true, Speaker: true},
		{Name: "b", Addr: netip.MustParseAddr("fd00::2"), Speaker: true},
		{Name: "c", Ready: true},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}
