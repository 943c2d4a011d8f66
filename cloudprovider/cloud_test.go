package cloudprovider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	restclient "k8s.io/client-go/rest"
	k8stesting "k8s.io/client-go/testing"
	upstream "k8s.io/cloud-provider"
	servicehelpers "k8s.io/cloud-provider/service/helpers"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// rig is a Cloud on a fake API server, without the upstream controllers.
type rig struct {
	t      testing.TB
	client *fake.Clientset
	cloud  *Cloud
	lb     *balancer
}

type builder struct{ kubernetes.Interface }

func (builder) ConfigOrDie(string) *restclient.Config         { return nil }
func (builder) Config(string) (*restclient.Config, error)     { return nil, nil }
func (b builder) ClientOrDie(string) kubernetes.Interface     { return b.Interface }
func (b builder) Client(string) (kubernetes.Interface, error) { return b.Interface, nil }

func start(t *testing.T, objects ...runtime.Object) *rig {
	t.Helper()
	return startOn(t, fake.NewClientset(objects...))
}

func startOn(t *testing.T, client *fake.Clientset) *rig {
	t.Helper()
	return startWith(t, client, func(*Options) {})
}

func startWith(t testing.TB, client *fake.Clientset, change func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, client: client}
	options := Options{ConfigMap: configmap.DefaultRef, Scope: service.DefaultScope(), Log: slog.New(slog.DiscardHandler)}
	change(&options)
	r.cloud = newCloud(options)
	r.lb = &balancer{r.cloud}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	r.cloud.Initialize(builder{r.client}, ctx.Done())
	factory := informers.NewSharedInformerFactory(r.client, 0)
	r.cloud.SetInformers(factory)
	factory.StartWithContext(ctx)
	go func() { r.cloud.RunPoolController(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); factory.Shutdown(); <-ended })
	return r
}

func pools(text string) *v1.ConfigMap {
	return &v1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: "baremetal-system", Name: "config", UID: "cm"},
		Data:       map[string]string{"config": text},
	}
}

func onePool(addresses string) *v1.ConfigMap {
	return pools("address-pools: [{name: default, protocol: layer2, addresses: [" + addresses + "]}]")
}

// svc returns a Service with these ips in its status.
func svc(name string, age time.Duration, ips ...string) *v1.Service {
	s := &v1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, UID: types.UID("uid-" + name),
			CreationTimestamp: metav1.NewTime(time.Now().Add(-age)),
			Finalizers:        []string{servicehelpers.LoadBalancerCleanupFinalizer},
		},
		Spec: v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, IPFamilies: []v1.IPFamily{v1.IPv4Protocol}},
	}
	for _, ip := range ips {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, v1.LoadBalancerIngress{IP: ip})
	}
	return s
}

func (r *rig) ensure(s *v1.Service) (string, error) {
	status, err := r.lb.EnsureLoadBalancer(context.Background(), "", s, nil)
	if err == upstream.ImplementedElsewhere {
		r.cloud.tracker.mu.Lock()
		defer r.cloud.tracker.mu.Unlock()
		err = errors.New(r.cloud.tracker.recordOf(s).refusal)
	}
	return ips(status), err
}

func ips(status *v1.LoadBalancerStatus) string {
	if status == nil {
		return ""
	}
	var ips []string
	for _, i := range status.Ingress {
		ips = append(ips, i.IP)
	}
	return strings.Join(ips, ",")
}

func (r *rig) mustEnsure(s *v1.Service, want string) {
	r.t.Helper()
	if got, err := r.ensure(s); err != nil || got != want {
		r.t.Fatalf("%s got %q (%v), want %q", s.Name, got, err, want)
	}
}

func (r *rig) eventually(condition string, ok func() bool) {
	r.t.Helper()
	err := wait.PollUntilContextTimeout(context.Background(), 5*time.Millisecond, 10*time.Second, true,
		func(context.Context) (bool, error) { return ok(), nil })
	if err != nil {
		r.t.Fatalf("never: %s", condition)
	}
}

func (r *rig) statusOf(name string) string {
	s, err := r.client.CoreV1().Services("default").Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	return ips(&s.Status.LoadBalancer)
}

// event reports whether there is an Event with this reason whose message contains text.
func (r *rig) event(reason, text string) bool {
	list, err := r.client.CoreV1().Events(metav1.NamespaceAll).List(context.Background(), metav1.ListOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range list.Items {
		if e.Reason == reason && strings.Contains(e.Message, text) {
			return true
		}
	}
	return false
}

func TestAdoptionComesBeforeTheFirstAllocation(t *testing.T) {
	fresh, old := svc("a-new", 0), svc("z-old", time.Hour, "10.0.0.1")
	r := start(t, onePool("10.0.0.1-10.0.0.9"), fresh, old)
	r.mustEnsure(fresh, "10.0.0.2")
	r.mustEnsure(old, "10.0.0.1")
}

func TestDeletedServiceKeepsItsAddressUntilRelease(t *testing.T) {
	fresh, leaving := svc("fresh", 0), svc("leaving", time.Hour, "10.0.0.1")
	leaving.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	r := start(t, onePool("10.0.0.1/32"), fresh, leaving)
	if _, err := r.ensure(fresh); err == nil || !strings.Contains(err.Error(), `pool "default" is exhausted (1 of 1 in use)`) {
		t.Fatalf("got %v", err)
	}
	if err := r.lb.EnsureLoadBalancerDeleted(context.Background(), "", leaving); err != nil {
		t.Fatal(err)
	}
	r.mustEnsure(fresh, "10.0.0.1")
}

func TestDuplicateAddressStaysWithTheOlderService(t *testing.T) {
	older, younger := svc("older", 2*time.Hour, "10.0.0.1"), svc("younger", time.Hour, "10.0.0.1")
	r := start(t, onePool("10.0.0.1-10.0.0.9"), younger, older)
	r.mustEnsure(older, "10.0.0.1")
	r.mustEnsure(younger, "10.0.0.2")
	r.eventually("there is an Event", func() bool { return r.event("AddressInUse", "10.0.0.1 is used by default/older") })
}

func TestNothingIsDecidedWithoutAConfiguration(t *testing.T) {
	kept, leaving := svc("kept", time.Hour, "10.0.0.1"), svc("leaving", time.Hour, "10.0.0.2")
	elsewhere := annotated(withPort(svc("shared", time.Minute, "10.0.0.1"), v1.ProtocolTCP, 53), service.ShareAnnotation, "k")
	elsewhere.Namespace = "other"
	annotated(withPort(kept, v1.ProtocolUDP, 53), service.ShareAnnotation, "k")
	leaving.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	r := start(t, svc("new", 0), kept, leaving, elsewhere)
	<-r.cloud.config.Loaded()
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // do not wait for the configuration
	for _, s := range []*v1.Service{svc("new", 0), kept, elsewhere} {
		if got, err := r.lb.EnsureLoadBalancer(ctx, "", s, nil); err != upstream.ImplementedElsewhere {
			t.Errorf("%s: %v, %v", s.Name, got, err)
		}
	}
	r.eventually("the Service that waits is told", func() bool {
		return r.event("AllocationFailed", "there is no configuration yet, so the Service waits (ConfigMap baremetal-system/config: the ConfigMap does not exist)")
	})
	if got, exists, err := r.lb.GetLoadBalancer(ctx, "", leaving); !exists || err != nil || ips(got) != "10.0.0.2" {
		t.Errorf("Get: %v %v %v", got, exists, err)
	}
	if err := r.lb.EnsureLoadBalancerDeleted(ctx, "", leaving); err != nil {
		t.Errorf("a Service cannot be deleted: %v", err)
	}
	if n := r.countEvents("AllocationFailed"); n != 1 || r.countEvents("AddressInUse")+r.countEvents("StatusRepaired") > 0 || r.statusOf("kept") != "10.0.0.1" {
		t.Errorf("%d Events about refusals; the status is %q", n, r.statusOf("kept"))
	}
	cm := pools("address-pools: [{name: p, protocol: layer2, addresses: [10.0.0.1-10.0.0.9], share-across-namespaces: true}]")
	if _, err := r.client.CoreV1().ConfigMaps(cm.Namespace).Create(context.Background(), cm, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.eventually("the new Service is served", func() bool { return r.statusOf("new") == "10.0.0.2" })
	r.mustEnsure(kept, "10.0.0.1")
	if got := r.cloud.allocator.Addrs("uid-shared"); len(got) != 1 || got[0].String() != "10.0.0.1" {
		t.Errorf("the Service of the other namespace has %v", got)
	}
}

func TestGetLoadBalancerUsesAllocatorAndFinalizer(t *testing.T) {
	a, stripped := svc("a", 0), svc("stripped", 0)
	r := start(t, onePool("10.0.0.1-10.0.0.9"), a, stripped)
	r.mustEnsure(a, "10.0.0.1")
	wiped := a.DeepCopy()
	wiped.Spec.Type, wiped.Finalizers = v1.ServiceTypeClusterIP, nil
	if _, exists, err := r.lb.GetLoadBalancer(context.Background(), "", wiped); !exists || err != nil {
		t.Errorf("a type change hides the load balancer: %v %v", exists, err)
	}
	if _, exists, _ := r.lb.GetLoadBalancer(context.Background(), "", stripped); !exists {
		t.Error("a Service with the finalizer has nothing to clean up")
	}
	never := svc("never", 0)
	never.Finalizers = nil
	if _, exists, _ := r.lb.GetLoadBalancer(context.Background(), "", never); exists {
		t.Error("a Service without address and finalizer exists")
	}
}

func TestReleaseIsByUID(t *testing.T) {
	a := svc("a", 0)
	r := start(t, onePool("10.0.0.1-10.0.0.9"), a)
	r.mustEnsure(a, "10.0.0.1")
	earlier := a.DeepCopy()
	earlier.UID = "uid-earlier"
	if err := r.lb.EnsureLoadBalancerDeleted(context.Background(), "", earlier); err != nil {
		t.Fatal(err)
	}
	if got := r.cloud.allocator.Addrs("uid-a"); len(got) != 1 {
		t.Errorf("a holds %v", got)
	}
}

func TestServiceDeletedWithoutFinalizerIsReleased(t *testing.T) {
	a, b := svc("a", time.Hour, "10.0.0.1"), svc("b", 0)
	r := start(t, onePool("10.0.0.1/32"), a, b)
	if _, err := r.ensure(b); err == nil {
		t.Fatal("b was served from a full pool")
	}
	if err := r.client.CoreV1().Services("default").Delete(context.Background(), "a", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.eventually("the waiting Service gets the address", func() bool { return r.statusOf("b") == "10.0.0.1" })
}

func TestAllocationForAMissingServiceIsUndone(t *testing.T) {
	r := start(t, onePool("10.0.0.1-10.0.0.9"))
	if _, err := r.ensure(svc("ghost", 0)); err == nil {
		t.Error("a Service that is not there was served")
	}
	if got := r.cloud.allocator.Addrs("uid-ghost"); got != nil {
		t.Errorf("the ghost holds %v", got)
	}
}

func TestAddedPoolServesWaitingServices(t *testing.T) {
	var objects []runtime.Object
	for i := range 20 {
		objects = append(objects, svc(fmt.Sprintf("s%02d", i), time.Duration(100-i)*time.Minute))
	}
	r := start(t, append(objects, onePool("10.0.0.1/32"))...)
	r.eventually("the oldest has the only address", func() bool { return r.statusOf("s00") == "10.0.0.1" })
	r.update(onePool("10.0.0.1-10.0.0.20"))
	r.eventually("all have one, by age", func() bool { return r.statusOf("s19") == "10.0.0.20" })
	r.eventually("there is an Event", func() bool { return r.event("AddressAssigned", "10.0.0.20") })
}

func (r *rig) update(cm *v1.ConfigMap) {
	r.t.Helper()
	if _, err := r.client.CoreV1().ConfigMaps(cm.Namespace).Update(context.Background(), cm, metav1.UpdateOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

func TestRefusedConfigKeepsPoolsAndNamesTheLine(t *testing.T) {
	a := svc("a", 0)
	r := start(t, onePool("10.0.0.1-10.0.0.9"), a)
	<-r.cloud.config.Loaded()
	r.update(pools("address-pools:\n- name: default\n  protocol: layer2\n  addresses: [10.0.0.9-10.0.0.1]\n"))
	r.eventually("an Event has the line", func() bool { return r.event("ConfigRefused", "line 4") })
	r.mustEnsure(a, "10.0.0.1")
}

func TestDeletedConfigMapKeepsTheLastGoodPools(t *testing.T) {
	a := svc("a", 0)
	r := start(t, onePool("10.0.0.1-10.0.0.9"), a)
	<-r.cloud.config.Loaded()
	if err := r.client.CoreV1().ConfigMaps("baremetal-system").Delete(context.Background(), "config", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.eventually("there is an Event", func() bool { return r.event("ConfigMissing", "deleted") })
	r.mustEnsure(a, "10.0.0.1")
}

func TestRefusalNamesTheMissingConfigMap(t *testing.T) {
	a := svc("a", 0)
	r := start(t, a)
	if _, err := r.ensure(a); err == nil {
		t.Error("it was served")
	}
	const want = "there is no configuration yet, so the Service waits (ConfigMap baremetal-system/config: the ConfigMap does not exist)"
	r.eventually("there is an Event", func() bool { return r.event("AllocationFailed", want) })
}

func TestOrphanIsKeptAndReported(t *testing.T) {
	a := svc("a", time.Hour, "10.0.0.1")
	r := start(t, onePool("192.0.2.1-192.0.2.9"), a)
	r.mustEnsure(a, "10.0.0.1")
	r.eventually("there is an Event", func() bool { return r.event("AddressOutsidePools", "10.0.0.1") })
}

func TestDualStack(t *testing.T) {
	const both = `10.0.0.1-10.0.0.9, "fd00::1-fd00::9"`
	policy := v1.IPFamilyPolicyRequireDualStack
	a := svc("a", 0)
	a.Spec.IPFamilies, a.Spec.IPFamilyPolicy = []v1.IPFamily{v1.IPv6Protocol, v1.IPv4Protocol}, &policy
	r := start(t, onePool(both), a)
	r.mustEnsure(a, "fd00::1,10.0.0.1")
	status, err := r.lb.EnsureLoadBalancer(context.Background(), "", a, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range status.Ingress {
		if i.IPMode == nil || *i.IPMode != v1.LoadBalancerIPModeVIP {
			t.Errorf("%s has ipMode %v", i.IP, i.IPMode)
		}
	}

	b := svc("b", 0)
	b.Spec.IPFamilies, b.Spec.IPFamilyPolicy = a.Spec.IPFamilies, &policy
	r = start(t, onePool("10.0.0.1-10.0.0.9"), b)
	if _, err := r.ensure(b); err == nil || !strings.Contains(err.Error(), "no pool has IPv6 addresses") {
		t.Errorf("required dual stack got %v", err)
	}
}

func TestStatusChangedByAUserIsRepaired(t *testing.T) {
	for name, status := range map[string]string{"cleared": `{"status":{"loadBalancer":{"ingress":null}}}`, "tampered": `{"status":{"loadBalancer":{"ingress":[{"ip":"10.0.0.5"}]}}}`} {
		t.Run(name, func(t *testing.T) {
			r := start(t, onePool("10.0.0.1-10.0.0.9"), svc("a", time.Hour, "10.0.0.1"))
			<-r.cloud.adopted
			if _, err := r.client.CoreV1().Services("default").Patch(context.Background(), "a", types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status"); err != nil {
				t.Fatal(err)
			}
			r.eventually("it is as before", func() bool { return r.statusOf("a") == "10.0.0.1" })
			r.eventually("there is an Event", func() bool { return r.event("StatusRepaired", "this Service has 10.0.0.1") })
		})
	}
}

func TestDuplicateAddressIsRemovedFromTheYoungerStatus(t *testing.T) {
	older, younger := svc("older", 2*time.Hour, "10.0.0.1"), svc("younger", time.Hour, "10.0.0.1")
	r := start(t, onePool("10.0.0.1/32"), younger, older)
	r.eventually("the younger has none", func() bool { return r.statusOf("younger") == "" })
	if got := r.statusOf("older"); got != "10.0.0.1" {
		t.Errorf("the older has %q", got)
	}
	r.update(onePool("10.0.0.1-10.0.0.2"))
	r.eventually("the younger gets the next free one", func() bool { return r.statusOf("younger") == "10.0.0.2" })
}

func TestDuplicateAddressIsNotKeptByADeletedService(t *testing.T) {
	gone, heir := svc("gone", time.Hour, "10.0.0.1"), svc("heir", time.Minute, "10.0.0.1")
	gone.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	r := start(t, onePool("10.0.0.1/32"), gone, heir)
	r.mustEnsure(heir, "10.0.0.1")
}

func TestServicesCanBeDeletedWithoutAReadableConfigMap(t *testing.T) {
	a := svc("a", time.Hour, "10.0.0.1")
	a.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	client := fake.NewClientset(a)
	client.PrependReactor("list", "configmaps", func(k8stesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("forbidden")
	})
	r := startOn(t, client)
	if err := r.lb.EnsureLoadBalancerDeleted(context.Background(), "", a); err != nil {
		t.Error(err)
	}
	if _, err := r.ensure(svc("b", 0)); err == nil || !strings.Contains(err.Error(), "the ConfigMap with the pools cannot be read; see the log of the cloud controller manager") {
		t.Errorf("got %v", err)
	}
}

func TestDualStackIsCompletedWhenAPoolHasTheFamily(t *testing.T) {
	policy := v1.IPFamilyPolicyPreferDualStack
	a := svc("a", time.Hour, "10.0.0.1")
	a.Spec.IPFamilies, a.Spec.IPFamilyPolicy = []v1.IPFamily{v1.IPv6Protocol, v1.IPv4Protocol}, &policy
	r := start(t, onePool("10.0.0.1-10.0.0.9"), a)
	r.mustEnsure(a, "10.0.0.1")
	r.update(onePool(`10.0.0.1-10.0.0.9, "fd00::1-fd00::9"`))
	r.eventually("it has both, in the order it asked for", func() bool { return r.statusOf("a") == "fd00::1,10.0.0.1" })
	r.eventually("there is an Event", func() bool {
		return r.event("AddressAssigned", "Assigned fd00::1 from pool \"default\" and 10.0.0.1 from pool \"default\"")
	})
}
