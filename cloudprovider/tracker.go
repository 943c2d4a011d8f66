package cloudprovider

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
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
	// addrs are the addresses that were reported last.
	addrs []netip.Addr
	// orphans are the last ones that were found. An Event has reported each of them.
	orphans []ipam.Kept
	// asked are the ipMode and the hostname that it asked for last, empty if unknown.
	asked string
	// outcome is the last decision, nil before the first one.
	outcome *outcome
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
// addrs are the addresses that it has. The reason is empty for a Service that waits for its
// second family only, or for the adoption. An empty reason is never new.
func (t *tracker) setWaiting(svc *v1.Service, addrs []netip.Addr, reason string) (isNew bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.recordOf(svc)
	if r.waitingSince.IsZero() {
		r.waitingSince = time.Now()
	}
	isNew = reason != "" && reason != r.refusal
	r.refusal, r.addrs = reason, addrs
	return isNew
}

// setServed records that svc has the addresses that it asks for. It returns the addresses
// that svc had when they were reported last, and how long it waited for the new ones.
//
// A new ipMode or hostname is a reason to write the status, too.
func (t *tracker) setServed(svc *v1.Service, addrs []netip.Addr) (before []netip.Addr, waited time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.recordOf(svc)
	if !r.waitingSince.IsZero() {
		waited = time.Since(r.waitingSince)
	}
	r.waitingSince, r.refusal = time.Time{}, ""
	before, r.addrs = r.addrs, addrs
	asked := svc.Annotations[service.IPModeAnnotation] + "/" + svc.Annotations[service.HostnameAnnotation]
	if r.asked == "" {
		r.asked = "/" // the status of a Service that asks for neither is as it should be
	}
	r.unwritten = r.unwritten || !slices.Equal(before, addrs) || r.asked != asked
	r.asked = asked
	return before, waited
}

// setAdopted records the addresses that svc had before this process.
func (t *tracker) setAdopted(svc *v1.Service, addrs []netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recordOf(svc).addrs = addrs
}

// setOutcome records what was decided for svc. It returns the addresses that were withheld
// before.
func (t *tracker) setOutcome(svc *v1.Service, o outcome) (withheld map[netip.Addr]string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.recordOf(svc)
	if r.outcome != nil {
		withheld = r.outcome.withheld
	}
	r.outcome = &o
	return withheld
}

// withheld returns the addresses that are withheld, by the UIDs of the Services. For Services
// about which nothing was decided yet, those that were published before count.
func (t *tracker) withheld(published map[types.UID][]netip.Addr) map[string][]netip.Addr {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := map[string][]netip.Addr{}
	for uid, r := range t.byUID {
		if before := published[types.UID(uid)]; r.outcome == nil && len(before) > 0 {
			all[uid] = before
		} else if r.outcome != nil && len(r.outcome.withheld) > 0 {
			all[uid] = slices.SortedFunc(maps.Keys(r.outcome.withheld), netip.Addr.Compare)
		}
	}
	return all
}

// outcome returns what was decided for svc last, or nil.
func (t *tracker) outcome(svc *v1.Service) *outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.byUID[string(svc.UID)]; r != nil {
		return r.outcome
	}
	return nil
}

// setUnwritten records that the status of svc does not have its present addresses.
func (t *tracker) setUnwritten(svc *v1.Service) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recordOf(svc).unwritten = true
}

// setWritten records that the status of svc has these addresses, and reports whether this
// write was expected. A newer decision may have been made in the meantime; then another
// write is expected.
func (t *tracker) setWritten(svc *v1.Service, addrs []netip.Addr) (expected bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.byUID[string(svc.UID)]
	if r == nil {
		return false
	}
	expected = r.unwritten
	if slices.Equal(r.addrs, addrs) {
		r.unwritten = false
	}
	return expected
}

// setOrphans records the orphans of svc. It returns the new ones, and whether there is
// any change.
func (t *tracker) setOrphans(svc *v1.Service, orphans []ipam.Kept) (added []ipam.Kept, changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.recordOf(svc)
	for _, o := range orphans {
		if !slices.Contains(r.orphans, o) {
			added = append(added, o)
		}
	}
	changed = !slices.Equal(r.orphans, orphans)
	r.orphans = orphans
	return added, changed
}

// forget removes the record of the Service with this UID, and reports whether it had
// orphans or withheld addresses, which are published.
func (t *tracker) forget(uid string) (wasPublished bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.byUID[uid]
	delete(t.byUID, uid)
	return r != nil && (len(r.orphans) > 0 || r.outcome != nil && len(r.outcome.withheld) > 0)
}

// contains reports whether there is a record of svc. For a Service without a class this
// means that upstream has called Ensure for it.
func (t *tracker) contains(svc *v1.Service) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byUID[string(svc.UID)] != nil
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
