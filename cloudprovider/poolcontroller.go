package cloudprovider

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	servicehelpers "k8s.io/cloud-provider/service/helpers"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// PoolControllerName is the pool controller's name for --controllers and /healthz.
const PoolControllerName = "baremetal-pool-controller"

const (
	// repairAfter is how long a status may be other than the allocator says, which
	// is normal between upstream's Ensure and its writing the status.
	repairAfter = 2 * time.Second
	// writeAgain is how soon a status is written again that could not be written.
	writeAgain = time.Second
)

// RunPoolController serves the Services that wait for an address whenever there
// is a new chance: pools changed, or an address was given back. Upstream does not
// ask again by itself before the refusal's delay is over. It also puts statuses
// right that are not what the allocator says. It runs until ctx ends.
func (c *Cloud) RunPoolController(ctx context.Context) {
	for _, ready := range []<-chan struct{}{c.adopted, c.config.Loaded()} {
		select {
		case <-ready:
		case <-ctx.Done():
			return
		}
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
		slices.SortFunc(services, olderFirst)
		again := false
		for _, svc := range services {
			if err := c.reconcile(ctx, svc); err != nil && ctx.Err() == nil {
				c.log.Warn("status not written, trying again", "service", service.Name(svc), "error", err)
				again = true
			}
		}
		if again {
			time.AfterFunc(writeAgain, c.kickPending)
		}
		orphans = c.reportOrphans(services, orphans)
	}
}

// managed reports whether svc is ours and upstream has begun with it, and not
// ended: before, there is no finalizer.
func managed(svc *v1.Service) bool {
	return service.Ours(svc) && svc.DeletionTimestamp == nil && servicehelpers.HasLBFinalizer(svc)
}

// tampered reports whether the status of svc is not what the allocator says.
func (c *Cloud) tampered(svc *v1.Service) bool {
	return managed(svc) && !slices.Equal(service.VIPs(svc), c.allocator.Addrs(string(svc.UID)))
}

// reconcile gives a Service that lacks an address one, if there is one now, and
// makes its status what the allocator says. The Service is read anew, since
// those before it in the list may have taken long; the patch holds only for that
// version.
func (c *Cloud) reconcile(ctx context.Context, listed *v1.Service) error {
	svc, err := c.services.Services(listed.Namespace).Get(listed.Name)
	if err != nil || !managed(svc) {
		return nil // it is gone, or not ours to write
	}
	had := service.VIPs(svc)
	if len(had) >= len(svc.Spec.IPFamilies) && !c.tampered(svc) {
		return nil
	}
	held := c.allocator.Addrs(string(svc.UID))
	addrs, err := c.allocate(svc)
	if err != nil {
		addrs = c.allocator.Addrs(string(svc.UID)) // upstream's own attempt says why
	}
	if slices.Equal(addrs, had) {
		return nil
	}
	before, after := svc.DeepCopy(), svc.DeepCopy()
	before.UID, before.ResourceVersion = "", "" // so that the patch has them, as preconditions
	after.Status.LoadBalancer = *status(addrs)
	if _, err := servicehelpers.PatchService(c.client.CoreV1(), before, after); err != nil {
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}
	if !slices.Equal(held, addrs) {
		c.events.Eventf(svc, v1.EventTypeNormal, "AddressAssigned", "Assigned %v", addrs)
		return nil
	}
	c.log.Warn("status put right", "service", service.Name(svc), "had", had, "has", addrs)
	c.events.Eventf(svc, v1.EventTypeWarning, "StatusRepaired", "The status said %v; the addresses of this Service are %v", had, addrs)
	return nil
}

// reportOrphans tells once of each address in use that has left every pool, and
// returns those that there are now.
func (c *Cloud) reportOrphans(services []*v1.Service, known map[netip.Addr]bool) map[netip.Addr]bool {
	current := c.config.State().Config
	if current == nil {
		return known // what is wrong is the ConfigMap, and is said
	}
	now := map[netip.Addr]bool{}
	for _, svc := range services {
		for _, addr := range c.allocator.Addrs(string(svc.UID)) {
			if _, ok := current.PoolOf(addr); ok {
				continue
			}
			now[addr] = true
			if !known[addr] {
				c.log.Warn("address is in no pool, and kept", "service", service.Name(svc), "address", addr)
				c.events.Eventf(svc, v1.EventTypeWarning, "AddressOutsidePools", "%s is in no pool of ConfigMap %s any more; it is kept and announced until this Service is created anew or asks for another", addr, &c.options.ConfigMap)
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
