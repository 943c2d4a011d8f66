package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

const speakerUser = "system:serviceaccount:baremetal-system:baremetal-speaker"

// patched patches a Service, in its subresource status if the patch is about the status.
func (f *fixture) patched(client kubernetes.Interface, name, patch string, subresources ...string) error {
	f.Helper()
	namespace, name := split(name)
	_, err := client.CoreV1().Services(namespace).Patch(context.Background(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, subresources...)
	return err
}

// changedCondition changes one condition of a Service, and leaves the others as they are.
func (f *fixture) changedCondition(client kubernetes.Interface, name, condition string) error {
	f.Helper()
	namespace, name := split(name)
	patch := `{"status":{"conditions":[` + condition + `]}}`
	_, err := client.CoreV1().Services(namespace).Patch(context.Background(), name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
	return err
}

func TestOnlyTheClusterManagerChangesAddresses(t *testing.T) {
	f := setUp(t)
	f.create(service("guarded"))
	f.create(service("foreign", class("example.com/other")))
	vip := f.assigned("guarded")
	f.says("guarded", announced, "True", "Announced", "")
	speaker, err := f.cluster.ClientAs(speakerUser)
	f.must(err)
	const (
		stolen    = `{"status":{"loadBalancer":{"ingress":[{"ip":"192.168.120.249"}]}}}`
		forged    = `{"status":{"conditions":[{"type":"lb.baremetal/Allocated","status":"True","reason":"X","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`
		other     = `{"status":{"conditions":[{"type":"example.com/Mine","status":"True","reason":"X","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`
		finalizer = `{"metadata":{"finalizers":null}}`
		label     = `{"metadata":{"labels":{"a":"b"}}}`
	)
	for _, test := range []struct {
		who     string
		client  kubernetes.Interface
		service string
		patch   string
		refused string // empty if it is allowed
	}{
		{"a speaker", speaker, "foreign", stolen, "only the cloud controller manager"},
		{"a user", f.cluster.Client, "guarded", stolen, "only the cloud controller manager changes the addresses"},
		{"a user", f.cluster.Client, "guarded", `{"status":{"loadBalancer":null}}`, "only the cloud controller manager"},
		{"a user", f.cluster.Client, "guarded", forged, "belong to the cloud controller manager and to the speakers"},
		{"a user", f.cluster.Client, "foreign", stolen, ""},
		{"a speaker", speaker, "guarded", stolen, "only the cloud controller manager changes the addresses"},
		{"a speaker", speaker, "guarded", forged, "belong to the cloud controller manager"},
		{"a speaker", speaker, "guarded", other, "belong to the cloud controller manager"},
		{"a speaker", speaker, "guarded", finalizer, "a speaker writes only the conditions lb.baremetal/Announced and lb.baremetal/Spread"},
		{"a speaker", speaker, "guarded", label, "a speaker writes only the conditions"},
	} {
		err := f.patched(test.client, test.service, test.patch, "status")
		switch {
		case test.refused == "" && err != nil:
			f.Errorf("%s, %s, %s: %v", test.who, test.service, test.patch, err)
		case test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)):
			f.Errorf("%s, %s, %s: got %v, want %q", test.who, test.service, test.patch, err, test.refused)
		}
	}
	f.stillRuns("guarded", vip)
	spread := func() *metav1.Condition {
		return meta.FindStatusCondition(f.get("guarded").Status.Conditions, "lb.baremetal/Spread")
	}
	f.must(f.changedCondition(speaker, "guarded", `{"type":"lb.baremetal/Spread","status":"True","reason":"X","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}`))
	if spread() == nil {
		f.Error("a speaker may write the condition lb.baremetal/Spread, and it is not there")
	}
	const remove = `{"$patch":"delete","type":"lb.baremetal/Spread"}`
	if err := f.changedCondition(f.cluster.Client, "guarded", remove); err == nil || !strings.Contains(err.Error(), "belong to the cloud controller manager and to the speakers") {
		f.Errorf("a user removes the condition lb.baremetal/Spread: got %v", err)
	}
	f.must(f.changedCondition(speaker, "guarded", remove))
	if c := spread(); c != nil {
		f.Errorf("a speaker has removed the condition %+v, and it is still there", c)
	}
	// What users do every day is not the policy's business.
	f.must(f.patched(f.cluster.Client, "guarded", `{"metadata":{"labels":{"a":"b"}},"spec":{"ports":[{"port":81,"targetPort":80}]}}`))
	f.must(f.patched(f.cluster.Client, "guarded", `{"spec":{"type":"ClusterIP"}}`))
	f.eventually("the address is released", func() bool { s := f.get("guarded"); return addressesOf(s) == "" && len(s.Finalizers) == 0 })
}

// Without the policy a user can write any address to a status. The speakers announce only
// what the cluster manager gave, and the cluster manager does not adopt it either.
func TestAddressThatNobodyGaveIsNotAnnounced(t *testing.T) {
	f := setUp(t)
	f.create(service("evil"))
	f.assigned("evil")
	f.withoutPolicy()
	stop(f.cluster.CCMs())
	defer func() {
		if len(f.cluster.CCMs()) == 0 {
			f.restartCCMs()
		}
	}()
	refused := func(addr, reason string) {
		f.Helper()
		f.setStatus("evil", `[{"ip":"`+addr+`"}]`)
		f.eventually("the speakers have seen "+addr+", and refuse it", func() bool {
			for _, n := range f.cluster.Nodes() {
				plan, err := n.Get(context.Background(), "/debug/plan")
				if err != nil || !strings.Contains(plan, addr+" services=default/evil pool=none reason="+reason+"\n") {
					return false
				}
			}
			return true
		})
	}
	own := f.addressOf("node1")
	refused(own, "NodeAddress")
	if macs, err := f.cluster.WhoHas(own, 300*time.Millisecond); err != nil || len(macs) != 1 || f.cluster.NodeByMAC(macs[0]).Name != "node1" {
		f.Errorf("%s of node1 is answered by %v (%v)", own, macs, err)
	}
	const stolen = "192.168.120.77" // in the segment, and in no pool
	refused(stolen, "Unpublished")
	if macs, err := f.cluster.WhoHas(stolen, 300*time.Millisecond); err != nil || len(macs) > 0 {
		f.Errorf("%s is announced by %v (%v)", stolen, macs, err)
	}
	f.restartCCMs()
	f.event("Service", "evil", "AddressNotAdopted", stolen+" is in no pool: this Service cannot keep it")
	f.eventually("it has an address of the pool", func() bool { return strings.HasPrefix(addressesOf(f.get("evil")), "192.168.120.2") })
}

// addressOf returns the IPv4 address of a node in the nodes' segment.
func (f *fixture) addressOf(node string) string {
	f.Helper()
	n, err := f.cluster.Client.CoreV1().Nodes().Get(f.Context(), node, metav1.GetOptions{})
	f.must(err)
	for _, a := range n.Status.Addresses {
		if a.Type == v1.NodeInternalIP && strings.HasPrefix(a.Address, "192.168.120.") {
			return a.Address
		}
	}
	f.Fatalf("%s has the addresses %v", node, n.Status.Addresses)
	return ""
}

func TestAddressOfANodeIsNeverGiven(t *testing.T) {
	f := setUp(t)
	net := freshNet()
	f.pools("address-pools:\n- {name: p, protocol: layer2, addresses: [" + net + ".1-" + net + ".3, 192.168.120.1-192.168.120.254]}\n")
	nodes := f.cluster.Client.CoreV1().Nodes()
	own := f.addressOf("node1")
	f.create(service("greedy", annotated("lb.baremetal/addresses", own)))
	f.event("Service", "greedy", "AllocationFailed", own+" is an address of node node1")
	f.says("greedy", allocated, metav1.ConditionFalse, "Reserved", own+" is an address of node node1")

	f.create(service("moves"))
	f.has("moves", net+".1")
	late, err := nodes.Create(f.Context(), &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: "late"}}, metav1.CreateOptions{})
	f.must(err)
	f.Cleanup(func() { f.must(nodes.Delete(context.Background(), "late", metav1.DeleteOptions{})) })
	late.Status.Addresses = []v1.NodeAddress{{Type: v1.NodeExternalIP, Address: net + ".1"}}
	_, err = nodes.UpdateStatus(f.Context(), late, metav1.UpdateOptions{})
	f.must(err)
	f.has("moves", net+".2")
	f.event("Service", "moves", "AddressLost", net+".1 is an address of node late")
	f.eventually("the speakers tell the addresses of their nodes", func() bool {
		cm, err := f.cluster.Client.CoreV1().ConfigMaps("baremetal-system").Get(context.Background(), "config-nodes", metav1.GetOptions{})
		return err == nil && len(cm.Data) == len(f.cluster.Nodes()) && strings.Contains(cm.Data["node1"], `"`+own+`/`)
	})
}

func TestServicesCanSwapTheirAddresses(t *testing.T) {
	f := setUp(t)
	f.create(service("left"))
	f.create(service("right"))
	left, right := f.assigned("left"), f.assigned("right")
	f.kubectl("annotate", "service", "left", "lb.baremetal/addresses="+right)
	f.event("Service", "left", "AllocationFailed", right+" is used by default/right; it keeps "+left)
	f.kubectl("annotate", "service", "right", "lb.baremetal/addresses="+left)
	f.has("left", right)
	f.has("right", left)
	f.fetched(left)
	f.fetched(right)
}
