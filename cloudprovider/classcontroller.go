package cloudprovider

import (
	"context"
	"errors"
	"slices"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

func hasOwnFinalizer(svc *v1.Service) bool {
	return slices.Contains(svc.Finalizers, service.Finalizer)
}

// syncClassed serves a Service with one of our classes. Upstream's service controller
// ignores every Service with a class. syncClassed also cleans up when a Service loses such
// a class or is being deleted.
func (c *Cloud) syncClassed(ctx context.Context, svc *v1.Service) error {
	scope := c.options.Scope
	if scope.Classed(svc) && svc.DeletionTimestamp == nil {
		if !c.isAdopted() { // the adoption looks at all Services
			if err := c.notAdopted(); errors.Is(err, errNoConfig) && len(service.VIPs(svc)) == 0 {
				c.refused(svc, nil, err)
			} else {
				c.tracker.setWaiting(svc, nil, "")
			}
			return nil
		}
		o, err := c.allocate(svc)
		if errors.Is(err, errNotServed) {
			return nil
		}
		return c.writeStatus(ctx, svc, o, service.Finalizer)
	}
	if !hasOwnFinalizer(svc) {
		return nil
	}
	after := svc.DeepCopy()
	after.Finalizers = slices.DeleteFunc(after.Finalizers, func(f string) bool { return f == service.Finalizer })
	if !scope.Classless(svc) || svc.DeletionTimestamp != nil { // otherwise it keeps its addresses as a Service without a class
		c.release(svc)
		after.Status.LoadBalancer = v1.LoadBalancerStatus{}
		dropConditions(after)
	}
	if err := patch(ctx, c.client, svc, after, true); err != nil {
		return err
	}
	c.log.Info("finalizer removed", "service", service.Name(svc))
	return nil
}
