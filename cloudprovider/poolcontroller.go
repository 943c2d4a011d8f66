package cloudprovider

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	servicehelpers "k8s.io/cloud-provider/service/helpers"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// PoolControllerName is the pool controller's name for --controllers and /healthz.
const PoolControllerName = "baremetal-pool-controller"

// RunPoolController serves the Services that wait for an address whenever there
// is a new chance: pools changed, or an address was given back. Upstream does not
// ask again by itself before the refusal's delay is over. It runs until ctx ends.
func (c *Cloud) RunPoolController(ctx context.Context) {
	select {
	case <-c.ready:
	case <-ctx.Done():
		return
	}
	orphans := map[netip.Addr]bool{}
	for {
		select {
		case <-c.kick:
		case <-ctx.Done():
			return
		}
		services, err := c.services.List(labels.Everything())
		if err != nil {
			c.log.Error("Services that wait for an address are not served", "error", fmt.Errorf("listing Services from the cache: %w", err))
			continue
		}
		services = slices.DeleteFunc(services, func(svc *v1.Service) bool {
			return !service.Ours(svc) || svc.DeletionTimestamp != nil
		})
		orphans = c.reportOrphans(services, orphans)
		if !c.servePending(ctx, services) {
			time.AfterFunc(time.Second, c.kickPending)
		}
	}
}

// servePending allocates for the Services that lack an address, the oldest
// first, and reports whether every status could be written.
func (c *Cloud) servePending(ctx context.Context, services []*v1.Service) bool {
	var pending []*v1.Service
	for _, svc := range services {
		// Without the finalizer upstream has not begun with it, and will ask.
		if servicehelpers.HasLBFinalizer(svc) && len(service.VIPs(svc)) < len(svc.Spec.IPFamilies) {
			pending = append(pending, svc)
		}
	}
	slices.SortFunc(pending, olderFirst)
	written := true
	for _, svc := range pending {
		addrs, err := c.allocate(svc)
		if err != nil || slices.Equal(addrs, service.VIPs(svc)) {
			continue // upstream's own attempt has said why
		}
		updated := svc.DeepCopy()
		updated.Status.LoadBalancer = *status(addrs)
		if _, err := servicehelpers.PatchService(c.client.CoreV1(), svc, updated); err != nil && ctx.Err() == nil {
			c.log.Warn("status not written, trying again", "service", service.Name(svc), "error", err)
			written = false
			continue
		}
		c.events.Eventf(svc, v1.EventTypeNormal, "AddressAssigned", "Assigned %v", addrs)
	}
	return written
}

// reportOrphans tells once of each address that has left every pool, and
// returns those that there are now.
func (c *Cloud) reportOrphans(services []*v1.Service, known map[netip.Addr]bool) map[netip.Addr]bool {
	now := map[netip.Addr]bool{}
	current := c.config.State().Config
	for _, svc := range services {
		for _, vip := range service.VIPs(svc) {
			if _, ok := current.PoolOf(vip); ok {
				continue
			}
			now[vip] = true
			if !known[vip] {
				c.log.Warn("address is in no pool, and kept", "service", service.Name(svc), "address", vip)
				c.events.Eventf(svc, v1.EventTypeWarning, "AddressOutsidePools", "%s is in no pool of ConfigMap %s any more; it is kept and announced until this Service is created anew", vip, &c.options.ConfigMap)
			}
		}
	}
	c.metrics.setOrphans(len(now))
	return now
}

// configChanged takes a new configuration into use. A bad one changes nothing
// but what is said.
func (c *Cloud) configChanged(state configmap.State) {
	c.metrics.configLoaded(state.Problem == nil)
	switch {
	case state.Problem == nil:
		c.allocator.SetPools(state.Config)
		c.events.Eventf(state.Object, v1.EventTypeNormal, "ConfigLoaded", "%s", summary(state.Config))
		c.kickPending()
	case state.Object != nil:
		c.events.Eventf(state.Object, v1.EventTypeWarning, "ConfigRefused", "%s. %s", state.Problem, kept(state.Config))
	default:
		ref := &v1.ObjectReference{Kind: "ConfigMap", APIVersion: "v1", Namespace: c.options.ConfigMap.Namespace, Name: c.options.ConfigMap.Name}
		c.events.Eventf(ref, v1.EventTypeWarning, "ConfigMissing", "%s. %s", state.Problem, kept(state.Config))
	}
}

func kept(c *config.Config) string {
	if c == nil {
		return "There is no earlier configuration: Services wait for an address."
	}
	return "The last good configuration stays in use."
}

func summary(c *config.Config) string {
	addresses := map[ipam.Family]int{}
	for _, p := range c.Pools {
		for _, r := range p.Ranges {
			addresses[ipam.FamilyOf(r.From)]++
		}
	}
	return fmt.Sprintf("%d pools with %d IPv4 and %d IPv6 ranges are in use", len(c.Pools), addresses[ipam.IPv4], addresses[ipam.IPv6])
}
