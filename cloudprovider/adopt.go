package cloudprovider

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// adoptAll records every address in use in the allocator, before the first new address is
// given. Upstream calls Ensure for Services in no particular order. Without the adoption a
// new Service could get an address that an old Service has in its status.
//
// The LIST is consistent (no resourceVersion), and it is made after the informer has
// synced. A Service that is deleted before the LIST is not in it. If a Service is deleted
// after the LIST, the informer reports it.
func (c *Cloud) adoptAll(ctx context.Context) {
	select {
	case <-c.informed:
	case <-ctx.Done():
		return
	}
	if !cache.WaitForCacheSync(ctx.Done(), c.synced...) {
		return
	}
	var services []*v1.Service
	err := wait.PollUntilContextCancel(ctx, time.Second, true, func(ctx context.Context) (bool, error) {
		var err error
		if services, err = listServices(ctx, c.client, c.options.Scope); err != nil {
			c.log.Error("reading the addresses in use failed; no address can be assigned, retrying", "error", err)
		}
		return err == nil, nil
	})
	if err != nil {
		return
	}
	adopted := c.adopt(services)
	c.log.Info("addresses in use adopted", "services", len(services), "withAddress", adopted)
	close(c.adopted)
	c.retryAll()
}

func listServices(ctx context.Context, client kubernetes.Interface, scope service.Scope) ([]*v1.Service, error) {
	var services []*v1.Service
	p := pager.New(pager.SimplePageFunc(func(o metav1.ListOptions) (runtime.Object, error) {
		return client.CoreV1().Services(metav1.NamespaceAll).List(ctx, o)
	}))
	err := p.EachListItem(ctx, metav1.ListOptions{}, func(o runtime.Object) error {
		if svc, ok := o.(*v1.Service); ok && scope.Ours(svc) {
			services = append(services, svc)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing Services: %w", err)
	}
	return services, nil
}

// adopt adopts the addresses of the oldest Service first: if two Services have the same
// address, the older one keeps it. Services that are being deleted come last, because their
// addresses may be released already. It returns the number of Services with an address.
func (c *Cloud) adopt(services []*v1.Service) int {
	slices.SortFunc(services, adoptionOrder)
	c.mu.Lock()
	defer c.mu.Unlock()
	adopted := 0
	for _, svc := range services {
		r, _ := request(svc, nil) // allocate reports an annotation that cannot be read
		if len(r.Claimed) == 0 || c.deletedEarly[r.UID] {
			continue
		}
		adopted++
		if err := c.allocator.Adopt(r); err != nil {
			c.log.Warn("address not adopted; the Service gets another address", "service", service.Name(svc), "reason", err)
			c.events.Eventf(svc, v1.EventTypeWarning, "AddressInUse", "%v, which had it first: this Service gets another address", err)
			c.tracker.setUnwritten(svc)
		}
	}
	c.deletedEarly = nil
	return adopted
}

// adoptionOrder orders Services as adopt adopts them.
func adoptionOrder(a, b *v1.Service) int {
	return cmp.Or(cmp.Compare(deleting(a), deleting(b)), olderFirst(a, b))
}

// deleting returns 1 for a Service that is being deleted, and 0 for all others.
func deleting(svc *v1.Service) int {
	if svc.DeletionTimestamp != nil {
		return 1
	}
	return 0
}
