package cloudprovider

import (
	"context"

	v1 "k8s.io/api/core/v1"
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
// If svc gets no address, it returns ImplementedElsewhere. The pool controller then serves
// svc as soon as there is an address. With another error upstream would try again, and
// write its own Events with every attempt.
func (b *balancer) EnsureLoadBalancer(ctx context.Context, _ string, svc *v1.Service, _ []*v1.Node) (*v1.LoadBalancerStatus, error) {
	if err := b.waitAdopted(ctx); err != nil {
		b.tracker.setWaiting(svc, "") // the pool controller serves it after the adoption
		b.retryWaiting()
		return nil, upstream.ImplementedElsewhere
	}
	if err := b.waitPools(ctx); err != nil {
		b.refused(svc, err)
		return nil, upstream.ImplementedElsewhere
	}
	addrs, err := b.allocate(svc)
	if err != nil {
		b.repairLater(svc)
		return nil, upstream.ImplementedElsewhere
	}
	return status(addrs), nil
}

// UpdateLoadBalancer does nothing. Upstream calls it when the nodes change, also for
// Services that are deleted already, so it must never allocate.
func (b *balancer) UpdateLoadBalancer(context.Context, string, *v1.Service, []*v1.Node) error {
	return nil
}

// GetLoadBalancer answers from the allocator. The status is not enough, because the API
// server deletes it when the type of a Service changes. A Service with the finalizer exists
// here even if it never got an address, because the finalizer must be removed.
func (b *balancer) GetLoadBalancer(ctx context.Context, _ string, svc *v1.Service) (*v1.LoadBalancerStatus, bool, error) {
	if err := b.waitAdopted(ctx); err != nil {
		return nil, false, err
	}
	addrs := b.allocator.Addrs(string(svc.UID))
	return status(addrs), len(addrs) > 0 || servicehelpers.HasLBFinalizer(svc), nil
}

// GetLoadBalancerName returns namespace/name. Upstream uses it for messages.
func (b *balancer) GetLoadBalancerName(_ context.Context, _ string, svc *v1.Service) string {
	return service.Name(svc)
}

// EnsureLoadBalancerDeleted releases the addresses of svc. It does not touch a new Service
// of the same name, because that has another UID.
func (b *balancer) EnsureLoadBalancerDeleted(ctx context.Context, _ string, svc *v1.Service) error {
	if err := b.waitAdopted(ctx); err != nil {
		return err
	}
	b.release(svc)
	return nil
}
