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

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// PoolControllerName is the pool controller's name for --controllers and /healthz.
const PoolControllerName = "baremetal-pool-controller"

const (
	// repairAfter is how long a status may differ from the allocator. A short difference
	// is normal: upstream writes the status some time after it has called Ensure.
	repairAfter = 2 * time.Second
	// passEvery is the shortest time between two passes.
	passEvery = 20 * time.Millisecond
	// conditionEvery spreads the writes if many Services need only a new condition: after an
	// upgrade, or when the text of a refusal changes. So these writes do not delay addresses.
	conditionEvery = 5 * time.Millisecond
	// conditionAfter is the time from the refusal of a Service until its condition is written.
	// By then the cache should have upstream's finalizer, so that the write is no conflict.
	conditionAfter = 100 * time.Millisecond
	// writers is how many statuses are written concurrently.
	writers = 10
)

// RunPoolController runs the pool controller until ctx ends. It does what upstream's service
// controller does not do:
//
//   - It tries again to serve the Services that wait for an address, after every change that
//     a refusal can depend on.
//   - It allocates again for Services whose labels, selector or family policy change.
//   - It repairs a status that differs from what was decided.
//   - It serves the Services with one of our classes.
//
// Before the adoption it only cleans up Services with one of our classes.
func (c *Cloud) RunPoolController(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer c.queue.ShutDown() // runs before wg.Wait, because it ends the writers
	for range writers {
		wg.Go(func() {
			for c.syncNext(ctx) {
			}
		})
	}
	for {
		all := false
		select {
		case <-c.lookAtAll.C():
			all = true
		case <-c.lookAtWaiting.C():
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

// retryWaiting makes the pool controller try again to serve the Services that wait.
func (c *Cloud) retryWaiting() {
	c.lookAtWaiting.Set()
}

// retryAll makes the pool controller look at all Services again.
func (c *Cloud) retryAll() {
	c.lookAtAll.Set()
}

// pass tries to serve all Services, or only those that wait, the oldest first. It is short
// because it does not write: it adds the Services to write to the queue.
func (c *Cloud) pass(all bool) {
	if !c.isAdopted() {
		c.passWithoutConfig()
		return
	}
	c.turn.Lock()
	defer c.turn.Unlock()
	c.passed = c.allocator.Chances()
	names := c.tracker.waiting()
	if all {
		services, err := c.services.List(labels.Everything())
		if err != nil {
			c.log.Error("looking at all Services failed", "error", fmt.Errorf("listing Services from the cache: %w", err))
			return
		}
		slices.SortFunc(services, olderFirst)
		names = nil
		for _, svc := range services {
			names = append(names, cache.MetaObjectToName(svc))
		}
	}
	var conditions time.Duration // how many Services need only a new condition
	for _, name := range names {
		svc, err := c.services.Services(name.Namespace).Get(name.Name)
		if err != nil || !c.managed(svc) {
			continue
		}
		if c.serve(svc, conditions*conditionEvery) {
			conditions++
		}
	}
}

// serve tries to serve svc, and adds it to the queue if its status has to be written. It
// waits for delay before it writes only a condition, and reports whether that is so. The
// caller must hold c.turn.
func (c *Cloud) serve(svc *v1.Service, delay time.Duration) (conditionOnly bool) {
	name := cache.MetaObjectToName(svc)
	switch o, err := c.try(svc); {
	case errors.Is(err, errNotServed) || inSync(svc, o):
	case statusMatches(svc, o.addrs) && service.HasCleanupFinalizer(svc):
		c.queue.AddAfter(name, delay)
		return true
	default:
		c.queue.Add(name)
	}
	return false
}

// passWithoutConfig reports why the Services wait: nothing can be decided without a
// configuration. When there is a configuration, the adoption causes a pass over all Services.
func (c *Cloud) passWithoutConfig() {
	err := c.notAdopted()
	if !errors.Is(err, errNoConfig) {
		return
	}
	for _, name := range c.tracker.waiting() {
		if svc, gone := c.services.Services(name.Namespace).Get(name.Name); gone == nil && c.managed(svc) && len(service.VIPs(svc)) == 0 {
			c.refused(svc, nil, err)
		}
	}
}

// managed reports whether the pool controller may write svc: it has one of our classes, or
// upstream has begun to serve it and has not cleaned it up.
func (c *Cloud) managed(svc *v1.Service) bool {
	switch {
	case svc.DeletionTimestamp != nil:
		return false
	case c.options.Scope.Classed(svc):
		return true
	}
	return c.options.Scope.Classless(svc) && (servicehelpers.HasLBFinalizer(svc) || c.tracker.contains(svc) || len(c.allocator.Addrs(string(svc.UID))) > 0)
}

// serviceChanged handles a new or changed Service.
func (c *Cloud) serviceChanged(before, svc *v1.Service) {
	name := cache.MetaObjectToName(svc)
	switch {
	case c.options.Scope.Classed(svc) || hasOwnFinalizer(svc):
		c.queue.Add(name)
	case !c.options.Scope.Ours(svc) && !servicehelpers.HasLBFinalizer(svc):
		if before != nil {
			c.release(svc) // it may have been ours, and no other code releases its addresses
		}
		if svc.DeletionTimestamp == nil && hasConditions(svc) {
			c.queue.Add(name)
		}
	case !c.managed(svc):
	case before != nil && changedUnseen(before, svc):
		c.queue.Add(name)
	default:
		c.repairLater(svc)
	}
}

// changedUnseen reports whether a change can affect the addresses, and upstream does not
// call Ensure for it.
func changedUnseen(before, after *v1.Service) bool {
	a, b := before.Spec, after.Spec
	return !labels.Equals(before.Labels, after.Labels) || !labels.Equals(a.Selector, b.Selector) ||
		a.IPFamilyPolicy != nil && b.IPFamilyPolicy != nil && *a.IPFamilyPolicy != *b.IPFamilyPolicy
}

// repairLater makes the pool controller repair the status and the finalizer of svc, if they
// are not correct. It waits for repairAfter, because upstream may be about to write the
// status.
func (c *Cloud) repairLater(svc *v1.Service) {
	if o := c.tracker.outcome(svc); o != nil && inSync(svc, *o) {
		c.tracker.setWritten(svc, o.addrs)
		return
	}
	c.queue.AddAfter(cache.MetaObjectToName(svc), repairAfter)
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
		if !apierrors.IsConflict(err) && ctx.Err() == nil { // after a conflict the cache gets the newer version soon
			c.log.Warn("writing the status failed, retrying", "service", name.String(), "error", err)
		}
		c.queue.AddRateLimited(name)
		return true
	}
	c.queue.Forget(name)
	return true
}

// sync tries again to serve the Service, and then writes the allocator's addresses to its
// status.
func (c *Cloud) sync(ctx context.Context, name cache.ObjectName) error {
	svc, err := c.services.Services(name.Namespace).Get(name.Name)
	switch {
	case err != nil:
		return nil // it was deleted
	case c.options.Scope.Classed(svc) || hasOwnFinalizer(svc):
		return c.syncClassed(ctx, svc)
	case !c.options.Scope.Ours(svc) && !servicehelpers.HasLBFinalizer(svc) && hasConditions(svc):
		after := svc.DeepCopy()
		dropConditions(after)
		return patch(ctx, c.client, svc, after, true)
	case !c.isAdopted() || !c.managed(svc):
		return nil
	}
	o, err := c.allocate(svc)
	if errors.Is(err, errNotServed) {
		return nil
	}
	return c.writeStatus(ctx, svc, o, servicehelpers.LoadBalancerCleanupFinalizer)
}

// namespaceChanged retries the Services for which other pools may be open now.
func (c *Cloud) namespaceChanged(before, after *v1.Namespace) {
	switch {
	case before == nil:
		c.retryWaiting()
	case !labels.Equals(before.Labels, after.Labels):
		c.log.Info("labels of the namespace changed", "namespace", after.Name)
		c.retryAll()
	}
}
