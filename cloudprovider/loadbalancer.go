package cloudprovider

import (
	"context"
	"errors"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
	upstream "k8s.io/cloud-provider"
	servicehelpers "k8s.io/cloud-provider/service/helpers"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// balancer implements upstream's LoadBalancer. Upstream's service controller calls it, for
// several Services concurrently.
type balancer struct{ *Cloud }

// EnsureLoadBalancer returns the addresses of svc, and allocates them if svc has none. It
// ignores the nodes: the speakers decide which node announces.
//
// It writes the status itself, because upstream writes no conditions.
//
// If svc gets no address, it returns ImplementedElsewhere. The pool controller then serves
// svc as soon as there is an address. With another error upstream would try again, and
// write its own Events with every attempt.
func (b *balancer) EnsureLoadBalancer(ctx context.Context, _ string, svc *v1.Service, _ []*v1.Node) (*v1.LoadBalancerStatus, error) {
	if err := b.waitAdopted(ctx); err != nil {
		// The pool controller serves it after the adoption.
		if !errors.Is(err, errAdopting) && len(service.VIPs(svc)) == 0 {
			b.refused(svc, nil, err)
		} else {
			b.tracker.setWaiting(svc, nil, "")
		}
		return nil, upstream.ImplementedElsewhere
	}
	o, err := b.allocate(svc)
	if err != nil {
		// Upstream has just added its finalizer, and the cache does not have it yet. So the
		// condition with the refusal is written a moment later.
		b.queue.AddAfter(cache.MetaObjectToName(svc), conditionAfter)
		return nil, upstream.ImplementedElsewhere
	}
	if latest := b.tracker.outcome(svc); latest != nil {
		o = *latest // the pool controller may have decided anew
	}
	// One request writes addresses and condition. What upstream writes after it changes nothing.
	if err := b.writeStatus(ctx, svc, o, ""); err != nil {
		b.log.Warn("writing the status failed, retrying", "service", service.Name(svc), "error", err)
		b.repairLater(svc)
	}
	return status(svc, o.addrs), nil
}

// UpdateLoadBalancer does nothing. Upstream calls it when the nodes change, also for
// Services that are deleted already, so it must never allocate.
func (b *balancer) UpdateLoadBalancer(context.Context, string, *v1.Service, []*v1.Node) error {
	return nil
}

// GetLoadBalancer answers from the allocator. The status is not enough, because the API
// server deletes it when the type of a Service changes. A Service with the finalizer exists
// here even if it never got an address, because the finalizer must be removed.
func (b *balancer) GetLoadBalancer(_ context.Context, _ string, svc *v1.Service) (*v1.LoadBalancerStatus, bool, error) {
	addrs := b.allocator.Addrs(string(svc.UID))
	if !b.isAdopted() {
		addrs = service.VIPs(svc)
	}
	return status(svc, addrs), len(addrs) > 0 || servicehelpers.HasLBFinalizer(svc), nil
}

// GetLoadBalancerName returns namespace/name. Upstream uses it for messages.
func (b *balancer) GetLoadBalancerName(_ context.Context, _ string, svc *v1.Service) string {
	return service.Name(svc)
}

// EnsureLoadBalancerDeleted releases the addresses of svc. It does not touch a new Service
// of the same name, because that has another UID. It must not fail: upstream would serve no
// new Service of this name. Upstream removes the addresses from the status, and the pool
// controller removes our conditions.
func (b *balancer) EnsureLoadBalancerDeleted(_ context.Context, _ string, svc *v1.Service) error {
	b.release(svc)
	return nil
}
