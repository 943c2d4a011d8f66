package cloudprovider

import (
	"maps"
	"net/netip"
	"testing"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

// A change of the texts looks at all Services again.
func TestReservedAddressesDoNotDependOnTheOrderOfNodes(t *testing.T) {
	gateway := configmap.NodeLinks{Gateways: []netip.Addr{netip.MustParseAddr("192.0.2.254")}}
	n1, n2 := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}}, &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node2"}}
	links := map[string]configmap.NodeLinks{"node1": gateway, "node2": gateway}
	a, b := reserved([]*v1.Node{n1, n2}, links), reserved([]*v1.Node{n2, n1}, links)
	if len(a) != 1 || !maps.Equal(a, b) {
		t.Errorf("%v and %v", a, b)
	}
}
