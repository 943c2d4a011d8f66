package cloudprovider

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// errNotServed is the result of an allocation for a Service that is deleted or not ours.
var errNotServed = errors.New("the Service was deleted, or does not ask for a load balancer of this project any more")

// outcome is what was decided for a Service: what its status should say.
type outcome struct {
	addrs     []netip.Addr
	withheld  map[netip.Addr]string // addresses that the Service has, but not in its status, and why
	condition metav1.Condition      // Allocated
	advice    string                // what to do if the Service does not get what it asks for
}

// allocate gives svc its addresses in the allocator. If anything changed since the last pass
// that a refusal can depend on, it first serves the older Services that wait: upstream and
// the queue call it at any time, and svc must not get what an older Service waits for.
func (c *Cloud) allocate(svc *v1.Service) (outcome, error) {
	c.turn.Lock()
	defer c.turn.Unlock()
	if c.allocator.Chances() != c.passed {
		for _, name := range c.tracker.waiting() {
			older, err := c.services.Services(name.Namespace).Get(name.Name)
			if err == nil && c.managed(older) && olderFirst(older, svc) < 0 {
				c.serve(older, 0)
			}
		}
	}
	return c.try(svc)
}

// try gives svc its addresses in the allocator. It reports the result once, in the
// log, in an Event and in the metrics. A Service that is refused waits until the pool
// controller can serve it; the error is the refusal. The caller must hold c.turn.
//
// It looks at the Service again after the allocation. The Service may have been deleted at
// the same time, before there was anything to release.
func (c *Cloud) try(svc *v1.Service) (outcome, error) {
	began, chances := time.Now(), c.allocator.Chances()
	uid := string(svc.UID)
	r, err := request(svc, c.namespaceLabels(svc.Namespace))
	if err == nil {
		_, err = c.allocator.Allocate(r)
	}
	addrs := c.allocator.Addrs(uid)
	if now, err := c.services.Services(svc.Namespace).Get(svc.Name); err != nil || now.UID != svc.UID || !c.options.Scope.Ours(now) || now.DeletionTimestamp != nil {
		c.drop(svc)
		return outcome{}, errNotServed
	}
	c.reportLosses(svc, c.allocator.Losses(uid))
	if err != nil {
		c.refused(svc, addrs, err)
	} else {
		c.served(svc, addrs, began)
	}
	if c.allocator.Chances() != chances {
		c.retryWaiting() // another waiting Service may get now what it asks for
	}
	orphans := c.allocator.Orphans(r)
	c.reportOrphans(svc, orphans)
	shown, withheld, again := c.withhold(addrs, time.Now())
	if again > 0 {
		c.queue.AddAfter(cache.MetaObjectToName(svc), again+time.Millisecond)
	}
	o := outcome{addrs: shown, withheld: withheld, condition: c.allocatedCondition(svc, shown, orphans, err)}
	if err != nil {
		o.advice = strings.TrimPrefix(advice(err), ". ")
	}
	if len(withheld) > 0 {
		o.condition = withheldCondition(o.condition, withheld)
	}
	if before := c.tracker.setOutcome(svc, o); !maps.Equal(before, withheld) {
		c.reportWithheld(svc, before, withheld)
	}
	return o, err
}

// reportWithheld reports that other addresses are withheld from the status of svc than before,
// and publishes them.
func (c *Cloud) reportWithheld(svc *v1.Service, before, now map[netip.Addr]string) {
	c.tracker.setUnwritten(svc)
	c.publish.Set()
	var texts []string
	for _, addr := range slices.SortedFunc(maps.Keys(now), netip.Addr.Compare) {
		if _, known := before[addr]; !known {
			c.log.Warn("address withheld", "service", service.Name(svc), "address", addr, "reason", now[addr])
			texts = append(texts, fmt.Sprintf("%s is %s", addr, now[addr]))
		}
	}
	if len(texts) > 0 {
		c.events.Eventf(svc, v1.EventTypeWarning, "AddressWithheld", "%s. This Service keeps the address, but it is not in its status until that host is gone", joined(texts))
	}
}

// without returns addrs except those in others.
func without(addrs, others []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(addrs), func(addr netip.Addr) bool { return slices.Contains(others, addr) })
}

// reportLosses reports the addresses that svc cannot have any more.
func (c *Cloud) reportLosses(svc *v1.Service, losses []ipam.Loss) {
	var texts []string
	for _, l := range losses {
		c.metrics.lost(l.Reason)
		c.tracker.setUnwritten(svc)
		c.log.Warn("address lost", "service", service.Name(svc), "address", l.Addr, "reason", l.Why)
		texts = append(texts, fmt.Sprintf("This Service cannot keep %s: %s", l.Addr, l.Why))
	}
	if len(texts) > 0 {
		c.events.Eventf(svc, v1.EventTypeWarning, "AddressLost", "%s", joined(texts))
	}
}

// reportOrphans reports the addresses that svc keeps although no pool would give them, and
// publishes a change, because the speakers announce only what was published.
func (c *Cloud) reportOrphans(svc *v1.Service, orphans []ipam.Kept) {
	added, changed := c.tracker.setOrphans(svc, orphans)
	if changed {
		c.publish.Set()
	}
	var texts []string
	for _, o := range added {
		c.log.Warn("address kept outside the pools", "service", service.Name(svc), "address", o.Addr, "reason", o.Why)
		texts = append(texts, o.Why)
	}
	if len(texts) > 0 {
		c.events.Eventf(svc, v1.EventTypeWarning, "AddressOutsidePools", "%s (ConfigMap %s). This Service keeps the address, and it is announced, until you create the Service anew, ask for another address, or set reassign: true", joined(texts), &c.options.ConfigMap)
	}
}

// reasonOf returns the reason of a refusal.
func reasonOf(err error) ipam.Reason {
	if refusal, ok := errors.AsType[*ipam.Error](err); ok {
		return refusal.Reason
	}
	return reasonNotReady
}

// refused records and reports why svc does not get what it asks for. addrs are the
// addresses that it has.
func (c *Cloud) refused(svc *v1.Service, addrs []netip.Addr, err error) {
	if refusal, ok := errors.AsType[*ipam.Error](err); ok && refusal.RetryAfter > 0 {
		c.queue.AddAfter(cache.MetaObjectToName(svc), refusal.RetryAfter+time.Millisecond)
	}
	text := err.Error()
	if errors.Is(err, errNoConfig) {
		text = c.explain(err)
	}
	if !c.tracker.setWaiting(svc, addrs, text) {
		return
	}
	c.metrics.count(reasonOf(err))
	kept := ""
	if len(addrs) > 0 {
		kept = fmt.Sprintf("; it keeps %s", list(addrs))
	}
	c.log.Warn("allocation failed", "service", service.Name(svc), "reason", err, "addresses", addrs)
	c.events.Eventf(svc, v1.EventTypeWarning, "AllocationFailed", "%s%s", c.explain(err), kept)
}

// served records and reports the addresses of svc, if they changed.
func (c *Cloud) served(svc *v1.Service, addrs []netip.Addr, began time.Time) {
	held, waited := c.tracker.setServed(svc, addrs)
	if len(addrs) < len(svc.Spec.IPFamilies) {
		c.tracker.setWaiting(svc, addrs, "") // it waits for its second family, which it does not require
	}
	if slices.Equal(held, addrs) {
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

// release releases the addresses of svc, and removes its record. Before the adoption it only
// records the Service, so that the adoption ignores it.
func (c *Cloud) release(svc *v1.Service) {
	c.turn.Lock()
	defer c.turn.Unlock()
	c.drop(svc)
}

// drop does what release does. The caller must hold c.turn.
func (c *Cloud) drop(svc *v1.Service) {
	uid := string(svc.UID)
	wasPublished := c.tracker.forget(uid)
	c.mu.Lock()
	if c.deletedEarly != nil {
		c.deletedEarly[uid] = true
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	released := c.allocator.Release(uid)
	if len(released) == 0 {
		return
	}
	if wasPublished {
		c.publish.Set()
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

// olderFirst orders Services by age.
func olderFirst(a, b *v1.Service) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(service.Name(a), service.Name(b)))
}
