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

// errGone is the answer to an allocation for a Service that is not there.
var errGone = errors.New("the Service is not there any more, or does not ask for a load balancer of this project")

// allocate gives svc its addresses in the allocator, and says what comes of it,
// once: in the log, an Event and the metrics. A Service that is refused waits
// until the pool controller can serve it.
//
// Since the Service may have been deleted at the same time, by a caller that
// found nothing to release yet, it looks again afterwards.
func (c *Cloud) allocate(svc *v1.Service) ([]netip.Addr, error) {
	began, chances := time.Now(), c.chances.Load()
	held := c.allocator.Addrs(string(svc.UID))
	r, err := request(svc, c.namespaceLabels(svc.Namespace))
	addrs := held
	if err == nil {
		addrs, err = c.allocator.Allocate(r)
	}
	if now, missing := c.services.Services(svc.Namespace).Get(svc.Name); missing != nil || now.UID != svc.UID || !c.options.Scope.Ours(now) || now.DeletionTimestamp != nil {
		c.release(svc)
		return nil, errGone
	}
	if err != nil {
		addrs = c.allocator.Addrs(r.UID)
		c.refused(svc, err)
	} else {
		c.served(svc, held, addrs, began)
	}
	if len(without(held, addrs)) > 0 { // somebody may wait for it
		c.kickWaiting()
	} else if c.standings.waits(svc) && c.chances.Load() != chances {
		kick(c.kickedWaiting) // there was a chance between the refusal and the note of it
	}
	for _, o := range c.standings.orphaned(svc, c.allocator.Orphans(r)) {
		c.log.Warn("address kept that no pool would give", "service", service.Name(svc), "address", o.Addr, "why", o.Why)
		c.events.Eventf(svc, v1.EventTypeWarning, "AddressOutsidePools", "%s (ConfigMap %s); it is kept and announced until this Service is created anew or asks for another, or the configuration says reassign: true", o.Why, &c.options.ConfigMap)
	}
	return addrs, err
}

func without(addrs, others []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(addrs), func(addr netip.Addr) bool { return slices.Contains(others, addr) })
}

// refused notes and says why svc does not get what it asks for.
func (c *Cloud) refused(svc *v1.Service, err error) {
	result := ipam.Reason("NotReady")
	if refusal := (*ipam.Error)(nil); errors.As(err, &refusal) {
		result = refusal.Reason
	}
	if !c.standings.refused(svc, err.Error()) {
		return
	}
	c.metrics.count(result)
	has := ""
	if addrs := c.allocator.Addrs(string(svc.UID)); len(addrs) > 0 {
		has = fmt.Sprintf("; it keeps %s", list(addrs))
	}
	c.log.Warn("no address assigned", "service", service.Name(svc), "reason", err, "has", c.allocator.Addrs(string(svc.UID)))
	c.events.Eventf(svc, v1.EventTypeWarning, "AllocationFailed", "%s%s", c.explain(err), has)
}

// served notes and says what svc has got.
func (c *Cloud) served(svc *v1.Service, held, addrs []netip.Addr, began time.Time) {
	changed := !slices.Equal(held, addrs)
	waited := c.standings.served(svc, changed)
	if len(addrs) < len(svc.Spec.IPFamilies) {
		c.standings.refused(svc, "") // it waits for the second family, and can do without
	}
	if !changed {
		return
	}
	c.metrics.count(allocated)
	c.metrics.observe(max(waited, time.Since(began)))
	before := ""
	if gone := without(held, addrs); len(gone) > 0 {
		before = " instead of " + list(gone)
	}
	c.log.Info("addresses assigned", "service", service.Name(svc), "addresses", addrs, "before", held)
	c.events.Eventf(svc, v1.EventTypeNormal, "AddressAssigned", "Assigned %s%s", c.withPools(addrs), before)
}

// withPools returns the addresses with the pools that they are of.
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

func list(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "no address"
	}
	return strings.Trim(fmt.Sprint(addrs), "[]")
}

// release gives back what svc holds, and forgets it.
func (c *Cloud) release(svc *v1.Service) {
	c.standings.forget(string(svc.UID))
	released := c.allocator.Release(string(svc.UID))
	if len(released) == 0 {
		return
	}
	c.log.Info("addresses released", "service", service.Name(svc), "addresses", released)
	c.kickWaiting()
}

// explain adds to a refusal what may be behind it.
func (c *Cloud) explain(err error) string {
	text := err.Error()
	if problem := c.config.State().Problem; problem != nil {
		first, _, _ := strings.Cut(problem.Error(), "\n")
		text += fmt.Sprintf(" (ConfigMap %s: %s)", &c.options.ConfigMap, first)
	}
	return text
}

// namespaceLabels returns the labels of a namespace, none if it is not known.
func (c *Cloud) namespaceLabels(name string) map[string]string {
	namespace, err := c.namespaces.Get(name)
	if err != nil {
		return nil
	}
	return namespace.Labels
}
