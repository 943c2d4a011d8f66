package cloudprovider

import (
	"context"
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/record"
)

// Tests for defects that providers of this kind had several times, and that no other test
// here covers. docs/design/recurring-defects.md has the complete list.

func TestUpdateNeverAllocates(t *testing.T) {
	// Upstream calls Update beside Ensure, after Deleted, and for Services whose
	// Ensure failed (kubernetes#53462, #100846).
	a := svc("a", 0)
	r := start(t, onePool("10.0.0.1-10.0.0.9"))
	<-r.cloud.adopted
	if err := r.lb.UpdateLoadBalancer(context.Background(), "", a, nil); err != nil {
		t.Error(err)
	}
	if got := r.cloud.allocator.Addrs("uid-a"); got != nil {
		t.Errorf("Update gave it %v", got)
	}
}

func TestMissingLoadBalancerIsNoError(t *testing.T) {
	// After an error here upstream tries again without end (kubernetes#61100).
	r := start(t, onePool("10.0.0.1-10.0.0.9"))
	gone := svc("gone", 0)
	gone.Finalizers = nil
	if _, exists, err := r.lb.GetLoadBalancer(context.Background(), "", gone); exists || err != nil {
		t.Errorf("exists %v, error %v", exists, err)
	}
	if err := r.lb.EnsureLoadBalancerDeleted(context.Background(), "", gone); err != nil {
		t.Errorf("deleting it: %v", err)
	}
}

func TestCloudNeedsNoClusterID(t *testing.T) {
	// If this is false, upstream warns or refuses to start (kubernetes#128320).
	if !(&Cloud{}).HasClusterID() {
		t.Error("it has none")
	}
}

func TestCloudNeverReportsADeletedNode(t *testing.T) {
	// With Instances, upstream deletes Nodes that the provider does not find.
	c := &Cloud{}
	if _, ok := c.Instances(); ok {
		t.Error("it has Instances")
	}
	if _, ok := c.InstancesV2(); ok {
		t.Error("it has InstancesV2")
	}
}

// BenchmarkEnsure measures Ensure for one Service among n. Its cost must not depend on n.
func BenchmarkEnsure(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint("beside ", n), func(b *testing.B) {
			objects := []runtime.Object{onePool("10.0.0.0/16"), svc("one", 0)}
			for i := range n {
				objects = append(objects, svc(fmt.Sprint("s", i), time.Hour, fmt.Sprintf("10.0.%d.%d", i/256, i%256)))
			}
			r := startWith(b, fake.NewClientset(objects...), func(*Options) {})
			<-r.cloud.adopted
			<-r.cloud.config.Loaded()
			r.eventually("the first pass is over", func() bool { return len(r.cloud.lookAtAll.C()) == 0 && r.statusOf("one") != "" })
			r.cloud.events = newEventWriter(&record.FakeRecorder{}) // its run is not called
			one := r.get("one")
			for b.Loop() {
				r.cloud.allocator.Release(string(one.UID))
				if _, err := r.lb.EnsureLoadBalancer(context.Background(), "", one, []*v1.Node{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
