package cloudprovider

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/cloud-provider/api"
	servicehelpers "k8s.io/cloud-provider/service/helpers"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

const (
	// retryStarting is how soon upstream asks again while addresses are adopted.
	retryStarting = time.Second
	// retryRefused is how soon upstream asks again after a refusal. Each time
	// writes an Event; the pool controller is there to be faster.
	retryRefused = time.Minute
)

// balancer implements upstream's LoadBalancer. The upstream service controller
// calls it, for different Services concurrently.
type balancer struct{ *Cloud }

// EnsureLoadBalancer returns the addresses of svc, allocating them when it has
// none. The nodes do not matter: the speakers decide who announces.
func (b *balancer) EnsureLoadBalancer(ctx context.Context, _ string, svc *v1.Service, _ []*v1.Node) (*v1.LoadBalancerStatus, error) {
	err := b.waitAdopted(ctx)
	if err == nil {
		err = b.waitPools(ctx)
	}
	if err != nil {
		return nil, api.NewRetryError(err.Error(), retryStarting)
	}
	addrs, err := b.allocate(svc)
	if err != nil {
		return nil, api.NewRetryError(b.explain(err), retryRefused)
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

// allocate gives svc its addresses in the allocator. Since the Service may have
// been deleted at the same time, by a caller that found nothing to release yet,
// it looks again afterwards.
func (c *Cloud) allocate(svc *v1.Service) ([]netip.Addr, error) {
	r, err := request(svc)
	if err != nil {
		c.metrics.count(ipam.Invalid)
		return nil, err
	}
	held := c.allocator.Addrs(r.UID)
	addrs, err := c.allocator.Allocate(r)
	if err != nil {
		if refusal := (*ipam.Error)(nil); errors.As(err, &refusal) {
			c.metrics.count(refusal.Reason)
		}
		return nil, err
	}
	if !slices.Equal(held, addrs) {
		c.metrics.count(allocated)
		c.log.Info("addresses assigned", "service", r.Name, "addresses", addrs, "before", held)
		if lost := len(held) > 0; lost {
			c.kickPending() // somebody may wait for what was given back
		}
	}
	now, err := c.services.Services(svc.Namespace).Get(svc.Name)
	if err != nil || now.UID != svc.UID || !service.Ours(now) || now.DeletionTimestamp != nil {
		c.release(svc)
		return nil, fmt.Errorf("%s is not there any more, or no longer of type LoadBalancer", r.Name)
	}
	return addrs, nil
}

// release gives back what svc holds.
func (c *Cloud) release(svc *v1.Service) {
	released := c.allocator.Release(string(svc.UID))
	if len(released) == 0 {
		return
	}
	c.log.Info("addresses released", "service", service.Name(svc), "addresses", released)
	c.kickPending()
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

// request translates what svc asks for.
func request(svc *v1.Service) (ipam.Request, error) {
	addrs, err := service.Asked(svc)
	if err != nil {
		return ipam.Request{}, err
	}
	return ipam.Request{
		UID:        string(svc.UID),
		Name:       service.Name(svc),
		Families:   families(svc),
		RequireAll: svc.Spec.IPFamilyPolicy != nil && *svc.Spec.IPFamilyPolicy == v1.IPFamilyPolicyRequireDualStack,
		Addrs:      addrs,
		Pool:       svc.Annotations[service.PoolAnnotation],
	}, nil
}

func families(svc *v1.Service) []ipam.Family {
	var families []ipam.Family
	for _, f := range svc.Spec.IPFamilies {
		if f == v1.IPv6Protocol {
			families = append(families, ipam.IPv6)
		} else {
			families = append(families, ipam.IPv4)
		}
	}
	return families
}

// status always sets ipMode: the API server would default it to VIP, and
// upstream, which compares before that, would patch the status for ever.
func status(addrs []netip.Addr) *v1.LoadBalancerStatus {
	mode := v1.LoadBalancerIPModeVIP
	s := &v1.LoadBalancerStatus{}
	for _, addr := range addrs {
		s.Ingress = append(s.Ingress, v1.LoadBalancerIngress{IP: addr.String(), IPMode: &mode})
	}
	return s
}
