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
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// adoptAll records every address in use in the allocator, before the first new address is
// given. Upstream calls Ensure for Services in no particular order. Without the adoption a
// new Service could get an address that an old Service has in its status.
//
// Whether Services may keep or share an address depends on the pools. So adoptAll waits for
// a configuration, and until then everything stays as it is.
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
	select {
	case <-c.configured:
	case <-ctx.Done():
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
	c.publish.Set()
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

// adopt adopts the addresses of all Services, and then begins to use the present
// configuration. It returns the number of Services with an address.
func (c *Cloud) adopt(services []*v1.Service) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.using = c.config.State()
	current := c.using.Config
	c.setReserved()
	c.setForeign(time.Now())
	adopted := 0
	adoptInto(c.allocator, services, c.config.InUse(), []*config.Config{current}, c.namespaceLabels, func(svc *v1.Service) bool {
		return c.deletedEarly[string(svc.UID)]
	}, func(svc *v1.Service, adoptions []ipam.Adoption) {
		adopted++
		c.reportAdoption(svc, adoptions)
	})
	c.deletedEarly = nil
	close(c.adopted)
	return adopted
}

// adoptInto first restores the allocator of the process that published inUse: it sets the
// published configuration, and adopts the addresses in the statuses of the Services. The
// oldest Service comes first: if two Services have the same address, the older one keeps it.
// Services that are being deleted come last, because their addresses may be released
// already. Then adoptInto sets the later configurations, one after the other, and adopts what
// only they allow: the other process may have ended before it published the configuration
// from which it gave an address. The last one stays.
func adoptInto(allocator *ipam.Allocator, services []*v1.Service, inUse configmap.InUse, later []*config.Config,
	namespaceLabels func(string) map[string]string, skip func(*v1.Service) bool, report func(*v1.Service, []ipam.Adoption)) {
	allocator.SetPublished(inUse.Orphans)
	slices.SortFunc(services, adoptionOrder)
	adopted := map[types.UID][]ipam.Adoption{}
	for _, c := range append([]*config.Config{inUse.Config}, later...) {
		if c == nil {
			continue
		}
		allocator.SetPools(c)
		for _, svc := range services {
			r, _ := request(svc, namespaceLabels(svc.Namespace)) // allocate reports an annotation that cannot be read
			r.Claimed = append(r.Claimed, without(inUse.Withheld[svc.UID], r.Claimed)...)
			if len(r.Claimed) == 0 || skip(svc) {
				continue
			}
			// A version that published nothing has given the address, if the Service has a finalizer.
			trust := inUse.Config == nil && service.HasCleanupFinalizer(svc)
			kept := slices.DeleteFunc(adopted[svc.UID], func(a ipam.Adoption) bool { return a.Refused != nil })
			adopted[svc.UID] = append(kept, allocator.Adopt(r, trust)...)
		}
	}
	for _, svc := range services {
		if results, claimed := adopted[svc.UID]; claimed {
			report(svc, results)
		}
	}
}

// reportAdoption reports what was decided about the addresses of svc.
func (c *Cloud) reportAdoption(svc *v1.Service, adoptions []ipam.Adoption) {
	refused := map[string][]string{} // by the reason of the Event
	var shared []string
	for _, a := range adoptions {
		switch {
		case a.Refused != nil:
			c.log.Warn("address not adopted; the Service gets another address", "service", service.Name(svc), "reason", a.Refused)
			refused[adoptionReason(a.Refused)] = append(refused[adoptionReason(a.Refused)], fmt.Sprintf("%v: this Service cannot keep it", a.Refused))
			c.tracker.setUnwritten(svc)
		case a.Warning != "":
			c.log.Warn("address shared across namespaces", "service", service.Name(svc), "reason", a.Warning)
			shared = append(shared, a.Warning)
		}
	}
	for reason, texts := range refused {
		c.events.Eventf(svc, v1.EventTypeWarning, reason, "%s", joined(texts))
	}
	if len(shared) > 0 {
		c.events.Eventf(svc, v1.EventTypeWarning, "SharedAcrossNamespaces", "%s. This Service keeps the address because it had it already. Other Services cannot join: set share-across-namespaces: true in the pool, or give this Service another address", joined(shared))
	}
	c.tracker.setAdopted(svc, c.allocator.Addrs(string(svc.UID)))
}

// adoptionReason is the reason of the Event for an address that was not adopted.
func adoptionReason(refusal *ipam.Error) string {
	switch refusal.Reason {
	case ipam.InUse:
		return "AddressInUse"
	case ipam.Reserved:
		return "AddressReserved"
	}
	return "AddressNotAdopted"
}

// adoptionOrder orders Services as they are adopted.
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

// isAdopted reports whether the addresses in use are known.
func (c *Cloud) isAdopted() bool {
	select {
	case <-c.adopted:
		return true
	default:
		return false
	}
}
