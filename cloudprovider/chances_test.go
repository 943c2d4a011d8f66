package cloudprovider

import (
	"context"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"k8s.io/client-go/kubernetes/fake"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

func TestHolderThatChangesItsPortLetsAWaitingServiceIn(t *testing.T) {
	holder := annotated(withPort(classed(svc("holder", time.Hour), service.DefaultClass), v1.ProtocolTCP, 80), service.ShareAnnotation, "k")
	waits := annotated(withPort(classed(svc("waits", time.Minute), service.DefaultClass), v1.ProtocolTCP, 80), service.ShareAnnotation, "k")
	r := start(t, onePool("10.0.0.1/32"), holder, waits)
	r.allocatedSays("waits", metav1.ConditionFalse, "Exhausted", "exhausted")
	r.change("holder", func(s *v1.Service) { withPort(s, v1.ProtocolTCP, 443) })
	r.eventually("they share the address", func() bool { return r.statusOf("waits") == "10.0.0.1" })
	if got := r.statusOf("holder"); got != "10.0.0.1" {
		t.Errorf("the holder has %s", got)
	}
}

// Upstream and the queue try a Service again whenever they want. Then the younger Service
// must not get the address that the older one waits for.
func TestOldestWaitingServiceIsServedFirstWhoeverAsks(t *testing.T) {
	older, younger := svc("z-older", time.Hour), svc("a-younger", time.Minute)
	for range 20 {
		r := start(t, onePool("10.0.0.1/32"), svc("holder", 2*time.Hour, "10.0.0.1"), older, younger)
		for _, waits := range []*v1.Service{older, younger} {
			if got, err := r.ensure(waits); err == nil {
				t.Fatalf("%s got %s", waits.Name, got)
			}
		}
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			for _, err := r.ensure(younger); err != nil; _, err = r.ensure(younger) {
			}
		}()
		r.update(onePool("10.0.0.1-10.0.0.3"))
		<-asked
		r.eventually("both have an address", func() bool { return r.statusOf("z-older") != "" && r.statusOf("a-younger") != "" })
		if got := r.statusOf("z-older"); got != "10.0.0.2" {
			t.Fatalf("the older Service got %s, the younger one %s", got, r.statusOf("a-younger"))
		}
	}
}

func TestSwappedRequestsAreServed(t *testing.T) {
	a, b := classed(svc("a", time.Hour, "10.0.0.1"), service.DefaultClass), classed(svc("b", time.Minute, "10.0.0.2"), service.DefaultClass)
	r := start(t, onePool("10.0.0.1-10.0.0.2"), a, b)
	r.allocatedSays("b", metav1.ConditionTrue, "Allocated", "10.0.0.2")
	r.change("a", func(s *v1.Service) { annotated(s, service.AddressesAnnotation, "10.0.0.2") })
	r.allocatedSays("a", metav1.ConditionTrue, "Kept", "10.0.0.2 is used by default/b")
	r.change("b", func(s *v1.Service) { annotated(s, service.AddressesAnnotation, "10.0.0.1") })
	r.eventually("they have swapped", func() bool { return r.statusOf("a") == "10.0.0.2" && r.statusOf("b") == "10.0.0.1" })
	r.eventually("both are told", func() bool {
		return r.event("AddressAssigned", `Assigned 10.0.0.2 from pool "default" instead of 10.0.0.1`) && r.event("AddressAssigned", `Assigned 10.0.0.1 from pool "default" instead of 10.0.0.2`)
	})
	if n := r.countEvents("StatusRepaired"); n > 0 {
		t.Errorf("%d Events StatusRepaired", n)
	}
}

func TestLoserOfASharingChangeIsToldWhy(t *testing.T) {
	sharing := func(name string, age time.Duration, port int32) *v1.Service {
		s := annotated(withPort(classed(svc(name, age, "10.0.0.1"), service.DefaultClass), v1.ProtocolTCP, port), service.ShareAnnotation, "k")
		s.Finalizers = []string{service.Finalizer}
		return s
	}
	r := start(t, onePool("10.0.0.1-10.0.0.2"), sharing("a", time.Hour, 80), sharing("b", time.Minute, 443))
	r.allocatedSays("b", metav1.ConditionTrue, "Allocated", "10.0.0.1")
	r.change("b", func(s *v1.Service) { withPort(s, v1.ProtocolTCP, 80) })
	r.eventually("b has another address", func() bool { return r.statusOf("b") == "10.0.0.2" })
	r.eventually("b is told why", func() bool {
		return r.event("AddressLost", "This Service cannot keep 10.0.0.1: 10.0.0.1 is used by default/a, which has port 80/TCP too")
	})
	r.change("b", func(s *v1.Service) { annotated(s) })
	r.update(onePool("10.0.0.1/32"))
	if n := r.countEvents("StatusRepaired"); n > 0 {
		t.Errorf("%d Events StatusRepaired", n)
	}
}

func node(name, addr string) *v1.Node {
	return &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1.NodeStatus{Addresses: []v1.NodeAddress{
		{Type: v1.NodeHostName, Address: name}, {Type: v1.NodeInternalIP, Address: addr}}}}
}

func TestAddressOfANodeIsNeverGiven(t *testing.T) {
	kept := svc("k3s", time.Hour, "192.168.1.3", "192.168.1.4") // as ServiceLB of k3s leaves it
	links := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "baremetal-system", Name: "config-nodes"}, Data: map[string]string{
		"n1": `{"addresses":["192.168.1.3/24","192.168.1.5/24"],"gateways":["192.168.1.6"]}`, "gone": `{"addresses":["192.168.1.7/24"]}`}}
	r := start(t, onePool("192.168.1.3-192.168.1.8"), node("n1", "192.168.1.3"), node("n2", "192.168.1.4"), links, kept, svc("new", 0))
	r.eventually("both have addresses that no node has", func() bool { return r.statusOf("k3s") == "192.168.1.7" && r.statusOf("new") == "192.168.1.8" })
	r.eventually("the old one is told why", func() bool {
		return r.event("AddressReserved", "192.168.1.3 is an address of node n1") || r.event("AddressReserved", "192.168.1.4 is an address of node n2")
	})
}

func TestServiceMovesAwayFromANewNode(t *testing.T) {
	a := svc("a", time.Hour, "10.0.0.1")
	r := start(t, onePool("10.0.0.1-10.0.0.2"), a)
	r.allocatedSays("a", metav1.ConditionTrue, "Allocated", "10.0.0.1")
	if _, err := r.client.CoreV1().Nodes().Create(context.Background(), node("n9", "10.0.0.1"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.eventually("it has moved", func() bool { return r.statusOf("a") == "10.0.0.2" })
	r.eventually("it is told why", func() bool {
		return r.event("AddressLost", "10.0.0.1 is an address of node n9") && r.event("AddressAssigned", "instead of 10.0.0.1")
	})
	if err := r.client.CoreV1().Nodes().Delete(context.Background(), "n9", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.eventually("the address is free again", func() bool { return r.cloud.allocator.Usage()[0].Usable == 2 })
}

// inUse returns what the cluster manager publishes for these pools, without orphans.
func inUse(text string) *v1.ConfigMap {
	return &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "baremetal-system", Name: "config-in-use"}, Data: map[string]string{"config": text, "orphans": "[]\n"}}
}

func TestRestartWithABadConfigMapChangesNothing(t *testing.T) {
	const good = "address-pools: [{name: p, protocol: layer2, addresses: [10.0.0.1-10.0.0.3], share-across-namespaces: true}]"
	for name, cm := range map[string]*v1.ConfigMap{"refused": pools("address-pools: [{name: p}]"), "missing": nil} {
		t.Run(name, func(t *testing.T) {
			a, b := annotated(withPort(svc("a", time.Hour, "10.0.0.1"), v1.ProtocolTCP, 80), service.ShareAnnotation, "k"), annotated(withPort(svc("b", time.Minute, "10.0.0.1"), v1.ProtocolTCP, 443), service.ShareAnnotation, "k")
			b.Namespace = "other"
			client := fake.NewClientset(inUse(good), a, b, svc("new", 0))
			if cm != nil {
				if err := client.Tracker().Add(cm); err != nil {
					t.Fatal(err)
				}
			}
			r := startOn(t, client)
			r.allocatedSays("a", metav1.ConditionTrue, "Allocated", "10.0.0.1")
			r.eventually("a new Service is served", func() bool { return r.statusOf("new") == "10.0.0.2" })
			if got := r.cloud.allocator.Addrs("uid-b"); len(got) != 1 || got[0].String() != "10.0.0.1" {
				t.Errorf("b has %v", got)
			}
			if n := r.countEvents("AddressInUse") + r.countEvents("SharedAcrossNamespaces"); n > 0 {
				t.Errorf("%d Events about sharing", n)
			}
		})
	}
}

func TestEditWithoutAClusterManagerMovesNobody(t *testing.T) {
	r := start(t, inUse("address-pools: [{name: old, protocol: layer2, addresses: [10.0.0.1-10.0.0.3]}]"),
		onePool("10.0.0.2-10.0.0.9"), svc("orphan", time.Hour, "10.0.0.1"), svc("thief", time.Minute, "192.0.2.1"))
	r.allocatedSays("orphan", metav1.ConditionTrue, "OutsidePools", "10.0.0.1 is in no pool")
	r.eventually("an address that nobody gave is replaced", func() bool { return r.statusOf("thief") == "10.0.0.2" })
	r.eventually("the orphan is published with its pool", func() bool {
		state, err := configmap.ReadInUse(r.configMap("config-in-use"))
		return err == nil && len(state.Orphans) == 1 && state.Orphans[0].Addr.String() == "10.0.0.1" && state.Orphans[0].Pool.Name == "old" && state.Config.Pools[0].Name == "default"
	})
	r.eventually("the ConfigMap says that it is in use", func() bool {
		return r.configMap("config").Annotations[StatusAnnotation] == "In use: 1 pool with 1 IPv4 and 0 IPv6 ranges"
	})
	r.update(pools("address-pools: [{name: p}]"))
	r.eventually("the ConfigMap says why it was refused", func() bool {
		text := r.configMap("config").Annotations[StatusAnnotation]
		return len(text) > 9 && text[:9] == "Refused: "
	})
}

func (r *rig) configMap(name string) *v1.ConfigMap {
	cm, err := r.client.CoreV1().ConfigMaps("baremetal-system").Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return cm
}
