package cloudprovider

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	servicehelpers "k8s.io/cloud-provider/service/helpers"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// countEvents returns how many Events with this reason were written. An Event that was
// written again counts again.
func (r *rig) countEvents(reason string) int {
	list, err := r.client.CoreV1().Events(metav1.NamespaceAll).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	n := 0
	for _, e := range list.Items {
		if e.Reason == reason {
			n += int(max(e.Count, 1))
		}
	}
	return n
}

func (r *rig) get(name string) *v1.Service {
	s, err := r.client.CoreV1().Services("default").Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// change updates a Service, as a user does with kubectl.
func (r *rig) change(name string, change func(*v1.Service)) {
	s := r.get(name)
	change(s)
	if _, err := r.client.CoreV1().Services("default").Update(context.Background(), s, metav1.UpdateOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

func annotated(s *v1.Service, annotations ...string) *v1.Service {
	s.Annotations = map[string]string{}
	for i := 0; i < len(annotations); i += 2 {
		s.Annotations[annotations[i]] = annotations[i+1]
	}
	return s
}

func withPort(s *v1.Service, protocol v1.Protocol, port int32) *v1.Service {
	s.Spec.Ports = []v1.ServicePort{{Protocol: protocol, Port: port}}
	return s
}

func classed(s *v1.Service, class string) *v1.Service {
	s.Spec.LoadBalancerClass, s.Finalizers = &class, nil
	return s
}

func TestRefusalIsReportedAgainOnlyWhenItChanges(t *testing.T) {
	const waiting = 30
	var objects []runtime.Object
	for i := range waiting + 1 {
		objects = append(objects, svc(fmt.Sprintf("s%02d", i), time.Duration(100-i)*time.Minute))
	}
	r := start(t, append(objects, onePool("10.0.0.1/32"))...)
	r.eventually("all have been refused", func() bool { return r.countEvents("AllocationFailed") == waiting })
	for range 20 {
		r.cloud.retryWaiting()
		r.eventually("the pass has begun", func() bool { return len(r.cloud.lookAtWaiting.C()) == 0 })
		for _, o := range objects[1:] {
			if _, err := r.ensure(o.(*v1.Service)); err == nil {
				t.Fatal("served from a full pool")
			}
		}
	}
	r.update(onePool("10.0.0.1-10.0.0.2")) // one more is served, and the others get an Event with the new numbers
	r.eventually("the new refusals are reported", func() bool {
		return r.event("AllocationFailed", "(2 of 2 in use)") && r.countEvents("AllocationFailed") >= 2*waiting-1
	})
	if n := r.countEvents("AllocationFailed"); n != 2*waiting-1 {
		t.Errorf("%d Events for %d refusals", n, 2*waiting-1)
	}
	if pending, _ := r.cloud.tracker.counts(); pending != waiting-1 {
		t.Errorf("the metric counts %d Services that wait", pending)
	}
}

func TestClassedServiceIsServedAndCleanedUp(t *testing.T) {
	r := start(t, onePool("10.0.0.1-10.0.0.9"), classed(svc("a", 0), service.DefaultClass), classed(svc("foreign", time.Hour, "203.0.113.1"), "example.com/other"))
	r.eventually("it has an address", func() bool { return r.statusOf("a") == "10.0.0.1" })
	if got := r.get("a").Finalizers; !slices.Equal(got, []string{service.Finalizer}) {
		t.Errorf("finalizers %v", got)
	}
	if foreign := r.get("foreign"); len(foreign.Finalizers) > 0 || r.statusOf("foreign") != "203.0.113.1" {
		t.Errorf("the other class was touched: %v", foreign)
	}
	r.change("a", func(s *v1.Service) { s.DeletionTimestamp = &metav1.Time{Time: time.Now()} })
	r.eventually("the finalizer is removed", func() bool { return len(r.get("a").Finalizers) == 0 })
	if got := r.cloud.allocator.Addrs("uid-a"); got != nil {
		t.Errorf("it holds %v", got)
	}
}

func TestClassedServiceIsCleanedUpWhenItLosesTheClass(t *testing.T) {
	a := classed(svc("a", time.Hour, "10.0.0.1"), service.DefaultClass)
	a.Finalizers = []string{service.Finalizer}
	r := start(t, onePool("10.0.0.1-10.0.0.9"), a)
	<-r.cloud.adopted
	r.change("a", func(s *v1.Service) {
		s.Spec.Type, s.Spec.LoadBalancerClass, s.Status.LoadBalancer = v1.ServiceTypeClusterIP, nil, v1.LoadBalancerStatus{}
	})
	r.eventually("the finalizer is removed", func() bool { return len(r.get("a").Finalizers) == 0 })
	if got := r.cloud.allocator.Addrs("uid-a"); got != nil {
		t.Errorf("it holds %v", got)
	}
}

func TestScopeWithoutDefaultServesOnlyClasses(t *testing.T) {
	client := fake.NewClientset(onePool("10.0.0.1-10.0.0.9"), svc("plain", time.Hour, "203.0.113.1"), classed(svc("a", 0), service.DefaultClass))
	r := startWith(t, client, func(o *Options) { o.Scope.Default = false })
	if _, ok := r.cloud.LoadBalancer(); ok {
		t.Error("upstream may serve Services without a class")
	}
	r.eventually("it has an address", func() bool { return r.statusOf("a") == "10.0.0.1" })
	if got := r.cloud.allocator.Addrs("uid-plain"); got != nil || r.statusOf("plain") != "203.0.113.1" {
		t.Errorf("the other provider's Service was taken over: %v", got)
	}
}

func TestPoolSelectorsFollowLabelChanges(t *testing.T) {
	const text = `address-pools: [{name: public, protocol: layer2, addresses: [10.0.0.1-10.0.0.9], service-selectors: [{match-labels: {expose: public}}], namespace-selectors: [{match-labels: {tier: gold}}]}]`
	namespace := &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	r := start(t, pools(text), namespace, svc("a", 0))
	r.eventually("it is refused", func() bool {
		return r.event("AllocationFailed", "every pool is for other namespaces or Services")
	})
	r.change("a", func(s *v1.Service) { s.Labels = map[string]string{"expose": "public"} })
	namespace.Labels = map[string]string{"tier": "gold"}
	if _, err := r.client.CoreV1().Namespaces().Update(context.Background(), namespace, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.eventually("it is served", func() bool { return r.statusOf("a") == "10.0.0.1" })

	// A Service keeps its address when the pool does not serve it any more.
	r.change("a", func(s *v1.Service) { s.Labels = nil })
	r.eventually("it is an orphan", func() bool {
		return r.event("AddressOutsidePools", `10.0.0.1 is in pool "public", which is for other namespaces or Services`)
	})
	if got := r.statusOf("a"); got != "10.0.0.1" {
		t.Errorf("it has %q", got)
	}
}

func TestSharingIsCheckedAgainWhenASelectorChanges(t *testing.T) {
	local := func(name string, protocol v1.Protocol) *v1.Service {
		s := withPort(annotated(svc(name, time.Hour, "10.0.0.1"), service.ShareAnnotation, "dns"), protocol, 53)
		s.Spec.ExternalTrafficPolicy, s.Spec.Selector = v1.ServiceExternalTrafficPolicyLocal, map[string]string{"app": "dns"}
		return s
	}
	r := start(t, onePool("10.0.0.1-10.0.0.9"), local("a", v1.ProtocolTCP), local("b", v1.ProtocolUDP))
	r.mustEnsure(r.get("a"), "10.0.0.1")
	r.mustEnsure(r.get("b"), "10.0.0.1")
	r.change("b", func(s *v1.Service) { s.Spec.Selector = map[string]string{"app": "other"} }) // upstream does not look at selectors
	r.eventually("b has another address", func() bool { return r.statusOf("b") == "10.0.0.2" })
	if got := r.statusOf("a"); got != "10.0.0.1" {
		t.Errorf("a has %q", got)
	}
}

func TestStatusIsClearedWhenTheAddressCannotBeShared(t *testing.T) {
	a := withPort(annotated(svc("a", 2*time.Hour, "10.0.0.1"), service.ShareAnnotation, "dns"), v1.ProtocolTCP, 53)
	b := withPort(annotated(svc("b", time.Hour, "10.0.0.1"), service.ShareAnnotation, "dns"), v1.ProtocolUDP, 53)
	r := start(t, onePool("10.0.0.1/32"), a, b)
	r.mustEnsure(b, "10.0.0.1")
	r.change("b", func(s *v1.Service) { s.Spec.Ports[0].Protocol = v1.ProtocolTCP })
	if got, err := r.ensure(r.get("b")); err == nil {
		t.Errorf("b got %s", got)
	}
	r.eventually("b has none", func() bool { return r.statusOf("b") == "" })
	r.change("b", func(s *v1.Service) { s.Spec.Ports[0].Protocol = v1.ProtocolUDP })
	r.mustEnsure(r.get("b"), "10.0.0.1")
}

func TestFinalizerIsRestored(t *testing.T) {
	r := start(t, onePool("10.0.0.1-10.0.0.9"), svc("a", time.Hour, "10.0.0.1"))
	<-r.cloud.adopted
	r.change("a", func(s *v1.Service) { s.Finalizers = nil })
	r.eventually("it is back", func() bool { return servicehelpers.HasLBFinalizer(r.get("a")) })
	r.eventually("there is an Event", func() bool { return r.event("FinalizerRestored", servicehelpers.LoadBalancerCleanupFinalizer) })
}

// After etcd was restored from a backup, Services exist again that had been deleted. They
// have an address in their status.
func TestRestoredServiceKeepsItsAddressIfItIsFree(t *testing.T) {
	r := start(t, onePool("10.0.0.1-10.0.0.9"), svc("has", time.Hour, "10.0.0.1"))
	<-r.cloud.adopted
	for name, ip := range map[string]string{"back": "10.0.0.7", "late": "10.0.0.1"} {
		if _, err := r.client.CoreV1().Services("default").Create(context.Background(), svc(name, time.Minute, ip), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	r.eventually("one gets a free one", func() bool { return r.statusOf("late") == "10.0.0.2" })
	r.eventually("one keeps it", func() bool { return fmt.Sprint(r.cloud.allocator.Addrs("uid-back")) == "[10.0.0.7]" })
	if back, has := r.statusOf("back"), r.statusOf("has"); back != "10.0.0.7" || has != "10.0.0.1" {
		t.Errorf("back has %s, has has %s", back, has)
	}
}

func TestReassignMovesOrphans(t *testing.T) {
	r := start(t, onePool("10.0.0.1-10.0.0.9"), svc("a", time.Hour, "10.0.0.1"))
	<-r.cloud.adopted
	r.update(pools("address-pools: [{name: new, protocol: layer2, addresses: [192.0.2.0/24]}]"))
	r.eventually("it is an orphan", func() bool { return r.event("AddressOutsidePools", "10.0.0.1 is in no pool") })
	if _, orphans := r.cloud.tracker.counts(); orphans != 1 {
		t.Errorf("the metric counts %d orphans", orphans)
	}
	r.update(pools("reassign: true\naddress-pools: [{name: new, protocol: layer2, addresses: [192.0.2.0/24]}]"))
	r.eventually("it has moved", func() bool { return r.statusOf("a") == "192.0.2.0" })
	r.eventually("there is an Event", func() bool {
		return r.event("AddressAssigned", `Assigned 192.0.2.0 from pool "new" instead of 10.0.0.1`)
	})
	if _, orphans := r.cloud.tracker.counts(); orphans != 0 {
		t.Errorf("the metric counts %d orphans", orphans)
	}
}

func TestDualStackPolicyIsCheckedAgainWhenItChanges(t *testing.T) {
	prefer, require := v1.IPFamilyPolicyPreferDualStack, v1.IPFamilyPolicyRequireDualStack
	a := svc("a", time.Hour, "10.0.0.1")
	a.Spec.IPFamilies, a.Spec.IPFamilyPolicy = []v1.IPFamily{v1.IPv4Protocol, v1.IPv6Protocol}, &prefer
	r := start(t, onePool("10.0.0.1-10.0.0.9"), a)
	r.mustEnsure(a, "10.0.0.1")
	r.change("a", func(s *v1.Service) { s.Spec.IPFamilyPolicy = &require }) // upstream looks at the number of families only
	r.eventually("there is an Event", func() bool { return r.event("AllocationFailed", "no pool has IPv6 addresses; it keeps 10.0.0.1") })
}

func TestInvalidAnnotationKeepsTheAddress(t *testing.T) {
	r := start(t, onePool("10.0.0.1-10.0.0.9"), annotated(svc("a", time.Hour, "10.0.0.1"), service.AddressesAnnotation, "web"))
	if got, err := r.ensure(r.get("a")); err == nil {
		t.Errorf("got %s", got)
	}
	r.eventually("there is an Event", func() bool {
		return r.event("AllocationFailed", `annotation lb.baremetal/addresses: "web" is not an IP address; it keeps 10.0.0.1`)
	})
	if got := r.statusOf("a"); got != "10.0.0.1" {
		t.Errorf("it has %q", got)
	}
}

func TestPreview(t *testing.T) {
	c, err := config.Parse([]byte(`address-pools: [{name: new, protocol: layer2, addresses: [192.0.2.1-192.0.2.2]}, {name: old, protocol: layer2, addresses: [10.0.0.1/32], auto-assign: false}]`))
	if err != nil {
		t.Fatal(err)
	}
	leaving := svc("leaving", time.Minute)
	leaving.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	got := preview(c, clusterState{services: []*v1.Service{
		svc("pending-2", time.Minute), svc("pending-1", 2*time.Minute), svc("pending-3", 0), leaving,
		svc("stays", 4*time.Hour, "10.0.0.1"), svc("orphan", 3*time.Hour, "10.0.0.2"), svc("double", time.Hour, "10.0.0.1"),
		annotated(svc("asks", 30*time.Minute, "10.0.0.9"), service.PoolAnnotation, "gone"),
	}})
	var lines []string
	for _, e := range got.Effects {
		lines = append(lines, e.Service+" "+e.Text)
	}
	want := `default/double cannot keep an address: 10.0.0.1 is used by default/stays
default/orphan would keep an address that no pool gives it: 10.0.0.2 is in no pool
default/double has 10.0.0.1, and would get 192.0.2.1
default/asks would keep an address that no pool gives it: 10.0.0.9 is in no pool
default/pending-1 waits, and would get 192.0.2.2
default/pending-2 would wait: pool "new" is exhausted (2 of 2 in use)
default/pending-3 would wait: pool "new" is exhausted (2 of 2 in use)`
	if strings.Join(lines, "\n") != want || got.Unchanged != 2 {
		t.Errorf("%d unchanged:\n%s", got.Unchanged, strings.Join(lines, "\n"))
	}
}
