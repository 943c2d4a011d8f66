package cloudprovider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"
	servicehelpers "k8s.io/cloud-provider/service/helpers"
)

// PoolControllerName is the pool controller's name for --controllers and /healthz.
const PoolControllerName = "baremetal-pool-controller"

const (
	// repairAfter is how long a status may be other than the allocator says, which
	// is normal between upstream's Ensure and its writing the status.
	repairAfter = 2 * time.Second
	// passEvery is the shortest time from one pass to the next.
	passEvery = 20 * time.Millisecond
	// writers is how many statuses are written at a time.
	writers = 10
)

// RunPoolController does what upstream's service controller does not:
//
//   - it serves the Services that wait for an address as soon as there is a new
//     chance, because pools have changed or an address was given back,
//   - it looks again at Services whose labels, selector or family policy change,
//   - it puts statuses right that are not what the allocator says,
//   - it serves the Services with a class of ours.
//
// It runs until ctx ends.
func (c *Cloud) RunPoolController(ctx context.Context) {
	defer c.queue.ShutDown()
	for _, ready := range []<-chan struct{}{c.adopted, c.config.Loaded()} {
		select {
		case <-ready:
		case <-ctx.Done():
			return
		}
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer c.queue.ShutDown() // before the wait: it is what ends the writers
	for range writers {
		wg.Go(func() {
			for c.syncNext(ctx) {
			}
		})
	}
	for {
		all := false
		select {
		case <-c.kickedAll:
			all = true
		case <-c.kickedWaiting:
		case <-ctx.Done():
			return
		}
		c.pass(all)
		select {
		case <-time.After(passEvery):
		case <-ctx.Done():
			return
		}
	}
}

// kickWaiting asks the pool controller to look at the Services that wait: they
// have a new chance.
func (c *Cloud) kickWaiting() {
	c.chances.Add(1)
	kick(c.kickedWaiting)
}

// kickAll asks it to look at all.
func (c *Cloud) kickAll() {
	c.chances.Add(1)
	kick(c.kickedAll)
}

func kick(kicked chan struct{}) {
	select {
	case kicked <- struct{}{}:
	default: // one is waiting already
	}
}

// pass tries to serve all Services, or those that wait, the oldest first. It
// leaves the writing to the queue, so that it is over in no time.
func (c *Cloud) pass(all bool) {
	names := c.standings.waiting()
	if all {
		services, err := c.services.List(labels.Everything())
		if err != nil {
			c.log.Error("Services are not looked at", "error", fmt.Errorf("listing Services from the cache: %w", err))
			return
		}
		slices.SortFunc(services, olderFirst)
		names = nil
		for _, svc := range services {
			names = append(names, cache.MetaObjectToName(svc))
		}
	}
	for _, name := range names {
		svc, err := c.services.Services(name.Namespace).Get(name.Name)
		if err != nil || !c.managed(svc) {
			continue
		}
		if addrs, err := c.allocate(svc); !errors.Is(err, errGone) && !settled(svc, addrs) {
			c.queue.Add(name)
		}
	}
}

// managed reports whether svc is ours to write: it has a class of ours, or
// upstream has begun with it, and not ended.
func (c *Cloud) managed(svc *v1.Service) bool {
	switch {
	case svc.DeletionTimestamp != nil:
		return false
	case c.options.Scope.Classed(svc):
		return true
	}
	return c.options.Scope.Classless(svc) && (servicehelpers.HasLBFinalizer(svc) || c.standings.known(svc) || len(c.allocator.Addrs(string(svc.UID))) > 0)
}

// serviceChanged looks at a Service that is new or has changed.
func (c *Cloud) serviceChanged(before, svc *v1.Service) {
	name := cache.MetaObjectToName(svc)
	switch {
	case c.options.Scope.Classed(svc) || hasOwnFinalizer(svc):
		c.queue.Add(name)
	case !c.options.Scope.Ours(svc) && !servicehelpers.HasLBFinalizer(svc):
		if before != nil {
			c.serviceDeleted(svc) // it may have been ours, and nobody else will see to it
		}
	case !c.managed(svc):
	case before != nil && unseenChange(before, svc):
		c.queue.Add(name)
	default:
		c.statusDiffers(svc)
	}
}

// unseenChange reports whether something has changed that decides about
// addresses, and that upstream does not call Ensure for.
func unseenChange(before, after *v1.Service) bool {
	a, b := before.Spec, after.Spec
	return !labels.Equals(before.Labels, after.Labels) || !labels.Equals(a.Selector, b.Selector) ||
		a.IPFamilyPolicy != nil && b.IPFamilyPolicy != nil && *a.IPFamilyPolicy != *b.IPFamilyPolicy
}

// statusDiffers has the status of svc put right, if it is wrong for so long that
// it is not just about to be written by upstream, and its finalizer restored.
func (c *Cloud) statusDiffers(svc *v1.Service) {
	addrs := c.allocator.Addrs(string(svc.UID))
	if settled(svc, addrs) {
		c.standings.written(svc)
		return
	}
	c.queue.AddAfter(cache.MetaObjectToName(svc), repairAfter)
}

// serviceDeleted releases the addresses of a Service that is gone, or not ours
// any more, and has nobody else to do it: its finalizer had been removed by hand.
// What it says before the adoption counts for the adoption.
func (c *Cloud) serviceDeleted(svc *v1.Service) {
	c.standings.forget(string(svc.UID))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deleted != nil {
		c.deleted[string(svc.UID)] = true
		return
	}
	c.release(svc)
}

func (c *Cloud) syncNext(ctx context.Context) bool {
	name, shutdown := c.queue.Get()
	if shutdown {
		return false
	}
	defer c.queue.Done(name)
	if ctx.Err() != nil {
		return false
	}
	if err := c.sync(ctx, name); err != nil {
		if !apierrors.IsConflict(err) && ctx.Err() == nil { // a newer version is on its way to the cache
			c.log.Warn("status not written, trying again", "service", name.String(), "error", err)
		}
		c.queue.AddRateLimited(name)
		return true
	}
	c.queue.Forget(name)
	return true
}

// sync makes the Service's status what the allocator says, after it has had
// another try.
func (c *Cloud) sync(ctx context.Context, name cache.ObjectName) error {
	svc, err := c.services.Services(name.Namespace).Get(name.Name)
	switch {
	case err != nil:
		return nil // it is gone
	case c.options.Scope.Classed(svc) || hasOwnFinalizer(svc):
		return c.syncClassed(ctx, svc)
	case !c.managed(svc):
		return nil
	}
	addrs, err := c.allocate(svc)
	if errors.Is(err, errGone) {
		return nil
	}
	return c.write(ctx, svc, addrs, servicehelpers.LoadBalancerCleanupFinalizer)
}

// namespaceChanged looks at the Services again whose pools may now be others.
func (c *Cloud) namespaceChanged(before, after *v1.Namespace) {
	switch {
	case before == nil:
		c.kickWaiting()
	case !labels.Equals(before.Labels, after.Labels):
		c.log.Info("labels of a namespace have changed", "namespace", after.Name)
		c.kickAll()
	}
}
