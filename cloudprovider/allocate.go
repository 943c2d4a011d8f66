package cloudprovider

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// errNotServed is the result of an allocation for a Service that is deleted or not ours.
var errNotServed = errors.New("the Service was deleted, or does not ask for a load balancer of this project any more")

// allocate gives svc its addresses in the allocator. It reports the result once, in the
// log, in an Event and in the metrics. A Service that is refused waits until the pool
// controller can serve it.
//
// It looks at the Service again after the allocation. The Service may have been deleted at
// the same time, before there was anything to release.
func (c *Cloud) allocate(svc *v1.Service) ([]netip.Addr, error) {
	began, wakeups := time.Now(), c.wakeups.Load()
	held := c.allocator.Addrs(string(svc.UID))
	r, err := request(svc, c.namespaceLabels(svc.Namespace))
	addrs := held
	if err == nil {
		addrs, err = c.allocator.Allocate(r)
	}
	if now, err := c.services.Services(svc.Namespace).Get(svc.Name); err != nil || now.UID != svc.UID || !c.options.Scope.Ours(now) || now.DeletionTimestamp != nil {
		c.release(svc)
		return nil, errNotServed
	}
	if err != nil {
		addrs = c.allocator.Addrs(r.UID)
		c.refused(svc, err)
	} else {
		c.served(svc, held, addrs, began)
	}
	if len(without(held, addrs)) > 0 { // another Service may wait for the released address
		c.retryWaiting()
	} else if c.tracker.isWaiting(svc) && c.wakeups.Load() != wakeups {
		c.lookAtWaiting.Set() // the wake-up came before the tracker knew that svc waits
	}
	for _, o := range c.tracker.setOrphans(svc, c.allocator.Orphans(r)) {
		c.log.Warn("address kept outside the pools", "service", service.Name(svc), "address", o.Addr, "reason", o.Why)
		c.events.Eventf(svc, v1.EventTypeWarning, "AddressOutsidePools", "%s (ConfigMap %s). This Service keeps the address, and it is announced, until you create the Service anew, ask for another address, or set reassign: true", o.Why, &c.options.ConfigMap)
	}
	return addrs, err
}

// without returns addrs except those in others.
func without(addrs, others []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(addrs), func(addr netip.Addr) bool { return slices.Contains(others, addr) })
}

// refused records and reports why svc does not get what it asks for.
func (c *Cloud) refused(svc *v1.Service, err error) {
	result := ipam.Reason("NotReady")
	if refusal := (*ipam.Error)(nil); errors.As(err, &refusal) {
		result = refusal.Reason
	}
	if !c.tracker.setWaiting(svc, err.Error()) {
		return
	}
	c.metrics.count(result)
	kept := ""
	if addrs := c.allocator.Addrs(string(svc.UID)); len(addrs) > 0 {
		kept = fmt.Sprintf("; it keeps %s", list(addrs))
	}
	c.log.Warn("allocation failed", "service", service.Name(svc), "reason", err, "addresses", c.allocator.Addrs(string(svc.UID)))
	c.events.Eventf(svc, v1.EventTypeWarning, "AllocationFailed", "%s%s", c.explain(err), kept)
}

// served records and reports the addresses of svc, if they changed.
func (c *Cloud) served(svc *v1.Service, held, addrs []netip.Addr, began time.Time) {
	changed := !slices.Equal(held, addrs)
	waited := c.tracker.setServed(svc, changed)
	if len(addrs) < len(svc.Spec.IPFamilies) {
		c.tracker.setWaiting(svc, "") // it waits for its second family, which it does not require
	}
	if !changed {
		return
	}
	c.metrics.count(allocated)
	c.metrics.observe(max(waited, time.Since(began)))
	replaced := ""
	if lost := without(held, addrs); len(lost) > 0 {
		replaced = " instead of " + list(lost)
	}
	c.log.Info("addresses assigned", "service", service.Name(svc), "addresses", addrs, "before", held)
	c.events.Eventf(svc, v1.EventTypeNormal, "AddressAssigned", "Assigned %s%s", c.withPools(addrs), replaced)
}

// withPools returns the addresses with the names of their pools.
func (c *Cloud) withPools(addrs []netip.Addr) string {
	current := c.config.State().Config
	texts := make([]string, len(addrs))
	for i, addr := range addrs {
		texts[i] = addr.String()
		if pool, ok := current.PoolOf(addr); ok {
			texts[i] += fmt.Sprintf(" from pool %q", pool.Name)
		}
	}
	return strings.Join(texts, " and ")
}

// list returns the addresses for a message.
func list(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "no address"
	}
	return strings.Trim(fmt.Sprint(addrs), "[]")
}

// release releases the addresses of svc, and removes its record.
func (c *Cloud) release(svc *v1.Service) {
	c.tracker.forget(string(svc.UID))
	released := c.allocator.Release(string(svc.UID))
	if len(released) == 0 {
		return
	}
	c.log.Info("addresses released", "service", service.Name(svc), "addresses", released)
	c.retryWaiting()
}

// explain adds the problem of the ConfigMap to a refusal, because it may be the cause.
func (c *Cloud) explain(err error) string {
	text := err.Error()
	if problem := c.config.State().Problem; problem != nil {
		first, _, _ := strings.Cut(problem.Error(), "\n")
		text += fmt.Sprintf(" (ConfigMap %s: %s)", &c.options.ConfigMap, first)
	}
	return text
}

// namespaceLabels returns the labels of a namespace, nil if it is not in the cache.
func (c *Cloud) namespaceLabels(name string) map[string]string {
	namespace, err := c.namespaces.Get(name)
	if err != nil {
		return nil
	}
	return namespace.Labels
}
