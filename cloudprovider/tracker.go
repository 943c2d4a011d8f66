package cloudprovider

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// tracker records, for each Service that the provider has tried to serve, what it waits
// for and what has been reported about it. The addresses are in the allocator.
type tracker struct {
	mu    sync.Mutex
	byUID map[string]*serviceRecord
}

// serviceRecord is the state of one Service.
type serviceRecord struct {
	name    cache.ObjectName
	created time.Time
	// waitingSince is zero if the Service does not wait for an address.
	waitingSince time.Time
	// refusal is the last refusal that was reported in an Event, or empty. The same
	// refusal is not reported again.
	refusal string
	// unwritten is true from the allocation until the status has the new addresses.
	unwritten bool
	// orphans are the last ones that were found. An Event has reported each of them.
	orphans []ipam.Orphan
}

// recordOf returns the record of svc. It creates the record if there is none. The caller
// must hold the lock.
func (t *tracker) recordOf(svc *v1.Service) *serviceRecord {
	r := t.byUID[string(svc.UID)]
	if r == nil {
		r = &serviceRecord{name: cache.MetaObjectToName(svc), created: svc.CreationTimestamp.Time}
		t.byUID[string(svc.UID)] = r
	}
	return r
}

// setWaiting records that svc waits for an address, and reports whether the reason is new.
// The reason is empty for a Service that waits for its second family only, or for the
// adoption. An empty reason is never new.
func (t *tracker) setWaiting(svc *v1.Service, reason string) (isNew bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.recordOf(svc)
	if r.waitingSince.IsZero() {
		r.waitingSince = time.Now()
	}
	isNew = reason != "" && reason != r.refusal
	r.refusal = reason
	return isNew
}

// setServed records that svc has the addresses that it asks for, and returns how long it
// waited for them. changed says that they differ from the addresses that it had before.
func (t *tracker) setServed(svc *v1.Service, changed bool) (waited time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.recordOf(svc)
	if !r.waitingSince.IsZero() {
		waited = time.Since(r.waitingSince)
	}
	r.waitingSince, r.refusal = time.Time{}, ""
	r.unwritten = r.unwritten || changed
	return waited
}

// setUnwritten records that the status of svc does not have its present addresses.
func (t *tracker) setUnwritten(svc *v1.Service) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recordOf(svc).unwritten = true
}

// setWritten records that the status of svc has its present addresses, and reports whether
// this write was expected.
func (t *tracker) setWritten(svc *v1.Service) (expected bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.byUID[string(svc.UID)]
	if r == nil {
		return false
	}
	expected, r.unwritten = r.unwritten, false
	return expected
}

// setOrphans records the orphans of svc, and returns the new ones.
func (t *tracker) setOrphans(svc *v1.Service, orphans []ipam.Orphan) (added []ipam.Orphan) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.recordOf(svc)
	for _, o := range orphans {
		if !slices.Contains(r.orphans, o) {
			added = append(added, o)
		}
	}
	r.orphans = orphans
	return added
}

// forget removes the record of the Service with this UID.
func (t *tracker) forget(uid string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byUID, uid)
}

// contains reports whether there is a record of svc. For a Service without a class this
// means that upstream has called Ensure for it.
func (t *tracker) contains(svc *v1.Service) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byUID[string(svc.UID)] != nil
}

// isWaiting reports whether svc waits for an address.
func (t *tracker) isWaiting(svc *v1.Service) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.byUID[string(svc.UID)]
	return r != nil && !r.waitingSince.IsZero()
}

// waiting returns the Services that wait for an address, the oldest Service first.
func (t *tracker) waiting() []cache.ObjectName {
	t.mu.Lock()
	var waiting []*serviceRecord
	for _, r := range t.byUID {
		if !r.waitingSince.IsZero() {
			waiting = append(waiting, r)
		}
	}
	t.mu.Unlock()
	slices.SortFunc(waiting, func(a, b *serviceRecord) int {
		return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.name.String(), b.name.String()))
	})
	names := make([]cache.ObjectName, len(waiting))
	for i, r := range waiting {
		names[i] = r.name
	}
	return names
}

// counts returns how many Services do not get what they ask for, and how many addresses
// are orphans. An address that several Services share counts once.
func (t *tracker) counts() (refused, orphans int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	distinct := map[netip.Addr]bool{}
	for _, r := range t.byUID {
		if r.refusal != "" {
			refused++
		}
		for _, o := range r.orphans {
			distinct[o.Addr] = true
		}
	}
	return refused, len(distinct)
}

// olderFirst orders Services by age.
func olderFirst(a, b *v1.Service) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(service.Name(a), service.Name(b)))
}
