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

// adoptAll fills the allocator with every address in use, before the first new
// one is given. Upstream asks for Services in no useful order, so that without
// it a new Service could be given an address which an old one has in its status.
//
// The LIST is consistent (no resourceVersion), and made after the informer has
// synced: what is deleted before it is not in it, and what is deleted after it
// comes as an event.
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
			c.log.Error("addresses in use are not known yet, nothing can be assigned", "error", err)
		}
		return err == nil, nil
	})
	if err != nil {
		return
	}
	adopted := c.adopt(services)
	c.log.Info("addresses in use adopted", "services", len(services), "withAddress", adopted)
	close(c.adopted)
	c.kickAll()
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

// adopt takes the Services by age, so that of two with one address the older
// keeps it, and those that are being deleted last: they may have given theirs
// back already. It returns how many have one.
func (c *Cloud) adopt(services []*v1.Service) int {
	slices.SortFunc(services, adoptionOrder)
	c.mu.Lock()
	defer c.mu.Unlock()
	adopted := 0
	for _, svc := range services {
		r, _ := request(svc, nil) // an annotation that cannot be read is reported when the Service is served
		if len(r.Claimed) == 0 || c.deleted[r.UID] {
			continue
		}
		adopted++
		if err := c.allocator.Adopt(r); err != nil {
			c.log.Warn("address not adopted, the Service gets another", "service", service.Name(svc), "reason", err)
			c.events.Eventf(svc, v1.EventTypeWarning, "AddressInUse", "%v, which had it first: this Service gets another address", err)
			c.standings.changed(svc)
		}
	}
	c.deleted = nil
	return adopted
}

func adoptionOrder(a, b *v1.Service) int {
	return cmp.Or(cmp.Compare(leaving(a), leaving(b)), olderFirst(a, b))
}

func leaving(svc *v1.Service) int {
	if svc.DeletionTimestamp != nil {
		return 1
	}
	return 0
}
