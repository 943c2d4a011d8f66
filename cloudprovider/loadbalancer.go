package cloudprovider

import (
	"context"

	v1 "k8s.io/api/core/v1"
	upstream "k8s.io/cloud-provider"
	servicehelpers "k8s.io/cloud-provider/service/helpers"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// balancer implements upstream's LoadBalancer. The upstream service controller
// calls it, for different Services concurrently.
type balancer struct{ *Cloud }

// EnsureLoadBalancer returns the addresses of svc, allocating them when it has
// none. The nodes do not matter: the speakers decide who announces.
//
// To a Service that gets none it answers ImplementedElsewhere, and leaves it to
// the pool controller, which serves it as soon as there is an address. Upstream
// would repeat its own Events with every attempt, for each of them.
func (b *balancer) EnsureLoadBalancer(ctx context.Context, _ string, svc *v1.Service, _ []*v1.Node) (*v1.LoadBalancerStatus, error) {
	if err := b.waitAdopted(ctx); err != nil {
		b.standings.refused(svc, "") // it is served after the adoption
		b.kickWaiting()
		return nil, upstream.ImplementedElsewhere
	}
	if err := b.waitPools(ctx); err != nil {
		b.refused(svc, err)
		return nil, upstream.ImplementedElsewhere
	}
	addrs, err := b.allocate(svc)
	if err != nil {
		b.statusDiffers(svc)
		return nil, upstream.ImplementedElsewhere
	}
	return status(addrs), nil
}

// UpdateLoadBalancer does nothing. It is called when nodes come or go, also for
// Services that are gone already, and must never allocate.
func (b *balancer) UpdateLoadBalancer(context.Context, string, *v1.Service, []*v1.Node) error {
	return nil
}

// GetLoadBalancer answers from the allocator and not from the status, which the
// API server wipes as soon as the type of a Service changes. A Service with the
// finalizer has something to clean up even if it never got an address.
func (b *balancer) GetLoadBalancer(ctx context.Context, _ string, svc *v1.Service) (*v1.LoadBalancerStatus, bool, error) {
	if err := b.waitAdopted(ctx); err != nil {
		return nil, false, err
	}
	addrs := b.allocator.Addrs(string(svc.UID))
	return status(addrs), len(addrs) > 0 || servicehelpers.HasLBFinalizer(svc), nil
}

// GetLoadBalancerName returns namespace/name; upstream uses it for messages.
func (b *balancer) GetLoadBalancerName(_ context.Context, _ string, svc *v1.Service) string {
	return service.Name(svc)
}

// EnsureLoadBalancerDeleted releases the addresses of svc, which is told from a
// new Service of the same name by its UID.
func (b *balancer) EnsureLoadBalancerDeleted(ctx context.Context, _ string, svc *v1.Service) error {
	if err := b.waitAdopted(ctx); err != nil {
		return err
	}
	b.release(svc)
	return nil
}
