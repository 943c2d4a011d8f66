package cloudprovider

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

func readyNode(name, addr string) *v1.Node {
	n := node(name, addr)
	n.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue}}
	return n
}

func nodeLinks(text string) *v1.ConfigMap {
	return &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "baremetal-system", Name: "config-nodes"}, Data: map[string]string{"n1": text}}
}

func TestAddressOfAForeignHostIsWithheldUntilItIsGone(t *testing.T) {
	web := classed(svc("web", time.Hour), service.DefaultClass)
	r := start(t, onePool("10.0.0.1-10.0.0.2"), readyNode("n1", "192.168.1.1"), nodeLinks(`{}`), web)
	r.allocatedSays("web", metav1.ConditionTrue, "Allocated", "10.0.0.1")
	write := func(text string) {
		t.Helper()
		if _, err := r.client.CoreV1().ConfigMaps("baremetal-system").Update(context.Background(), nodeLinks(text), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"conflicts":{"10.0.0.1":"02:00:00:00:00:99"}}`)
	r.eventually("the status has no address", func() bool { return r.statusOf("web") == "" })
	r.allocatedSays("web", metav1.ConditionFalse, "Withheld", "10.0.0.1 is given to this Service, but it is used by a host that is no node, with the MAC address \"02:00:00:00:00:99\", as node n1 has found")
	r.eventually("the Service is told", func() bool { return r.event("AddressWithheld", "10.0.0.1 is used by a host that is no node") })
	r.eventually("the speakers are told", func() bool {
		cm := r.configMap("config-in-use")
		return cm != nil && cm.Data[configmap.WithheldKey] == `{"uid-web":["10.0.0.1"]}`
	})
	other := classed(svc("other", 0), service.DefaultClass)
	if _, err := r.client.CoreV1().Services("default").Create(context.Background(), other, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.eventually("another Service gets another address", func() bool { return r.statusOf("other") == "10.0.0.2" })

	write(`{}`)
	r.eventually("the status has the address again", func() bool { return r.statusOf("web") == "10.0.0.1" })
	r.allocatedSays("web", metav1.ConditionTrue, "Allocated", "10.0.0.1")
	r.eventually("it is published no more", func() bool {
		_, published := r.configMap("config-in-use").Data[configmap.WithheldKey]
		return !published
	})
	if n := r.countEvents("StatusRepaired"); n > 0 {
		t.Errorf("%d Events StatusRepaired", n)
	}
}

func TestWithheldAddressSurvivesARestart(t *testing.T) {
	inUse := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "baremetal-system", Name: "config-in-use"}, Data: map[string]string{
		configmap.Key: "address-pools: [{name: default, protocol: layer2, addresses: [10.0.0.1-10.0.0.2]}]", configmap.OrphansKey: "[]",
		configmap.WithheldKey: `{"uid-web":["10.0.0.2"]}`}}
	web := classed(svc("web", time.Hour), service.DefaultClass)
	r := start(t, onePool("10.0.0.1-10.0.0.2"), readyNode("n1", "192.168.1.1"), nodeLinks(`{"conflicts":{"10.0.0.2":"02:00:00:00:00:99"}}`), inUse, web)
	r.allocatedSays("web", metav1.ConditionFalse, "Withheld", "10.0.0.2 is given to this Service")
	if got := r.statusOf("web"); got != "" {
		t.Errorf("the status has %s", got)
	}
}

func TestForeignHostsAreThoseThatReadyNodesSee(t *testing.T) {
	links := map[string]configmap.NodeLinks{}
	for _, name := range []string{"ready", "dead", "deleted"} {
		links[name] = configmap.NodeLinks{Conflicts: map[netip.Addr]string{netip.MustParseAddr("10.0.0." + string('0'+rune(len(name)))): "02:00:00:00:00:99"}}
	}
	got := foreignHosts([]*v1.Node{readyNode("ready", "192.168.1.1"), node("dead", "192.168.1.2")}, links)
	if len(got) != 1 || !strings.Contains(got[netip.MustParseAddr("10.0.0.5")], "node ready") {
		t.Errorf("%v", got)
	}
}

// Nothing but a Service asks whether a conflict is over, and the Service may be gone.
func TestConflictIsForgottenWithoutAService(t *testing.T) {
	r := start(t, onePool("10.0.0.1-10.0.0.2"), readyNode("n1", "192.168.1.1"), nodeLinks(`{"conflicts":{"10.0.0.1":"02:00:00:00:00:99"}}`))
	r.eventually("the document has the conflict", func() bool { return len(r.allocations().Foreign) == 1 })
	if _, err := r.client.CoreV1().ConfigMaps("baremetal-system").Update(context.Background(), nodeLinks(`{}`), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.eventually("the document has it no more", func() bool { return len(r.allocations().Foreign) == 0 })
	r.cloud.mu.Lock()
	defer r.cloud.mu.Unlock()
	r.cloud.setForeign(time.Now())
	if len(r.cloud.foreign) > 0 {
		t.Errorf("%v", r.cloud.foreign)
	}
}
