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

// standing is what is known of a Service that is ours, beside its addresses: what
// it waits for, and what has been said about it, which is not said again.
type standing struct {
	name    cache.ObjectName
	created time.Time
	// waits since that time for an address; zero if it does not.
	since time.Time
	// refusal is the last one that an Event was written about, or empty.
	refusal string
	// unwritten is set from the allocation until its status says the same.
	unwritten bool
	orphans   []ipam.Orphan
}

// standings is the book of all of them, by UID.
type standings struct {
	mu   sync.Mutex
	book map[string]*standing
}

// of returns the standing of svc. The lock must be held.
func (s *standings) of(svc *v1.Service) *standing {
	st := s.book[string(svc.UID)]
	if st == nil {
		st = &standing{name: cache.MetaObjectToName(svc), created: svc.CreationTimestamp.Time}
		s.book[string(svc.UID)] = st
	}
	return st
}

// refused notes that svc waits, and reports whether the reason is news. A Service
// that waits for a second family only has no reason, which is never news.
func (s *standings) refused(svc *v1.Service, reason string) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.of(svc)
	if st.since.IsZero() {
		st.since = time.Now()
	}
	news = reason != "" && reason != st.refusal
	st.refusal = reason
	return news
}

// served notes that svc has what it asks for, and returns how long it has waited.
func (s *standings) served(svc *v1.Service, changed bool) (waited time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.of(svc)
	if !st.since.IsZero() {
		waited = time.Since(st.since)
	}
	st.since, st.refusal = time.Time{}, ""
	st.unwritten = st.unwritten || changed
	return waited
}

// changed notes that the addresses of svc are others than its status says.
func (s *standings) changed(svc *v1.Service) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(svc).unwritten = true
}

// written notes that the status of svc says what was allocated, and reports
// whether that had been outstanding.
func (s *standings) written(svc *v1.Service) (outstanding bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.book[string(svc.UID)]
	if st == nil {
		return false
	}
	outstanding, st.unwritten = st.unwritten, false
	return outstanding
}

// orphaned notes the orphans of svc, and returns those that are news.
func (s *standings) orphaned(svc *v1.Service, orphans []ipam.Orphan) (news []ipam.Orphan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.of(svc)
	for _, o := range orphans {
		if !slices.Contains(st.orphans, o) {
			news = append(news, o)
		}
	}
	st.orphans = orphans
	return news
}

// forget removes the Service of that UID from the book.
func (s *standings) forget(uid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.book, uid)
}

// known reports whether svc is in the book: upstream has begun with it.
func (s *standings) known(svc *v1.Service) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.book[string(svc.UID)] != nil
}

// waits reports whether svc waits for an address.
func (s *standings) waits(svc *v1.Service) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.book[string(svc.UID)]
	return st != nil && !st.since.IsZero()
}

// waiting returns the Services that wait for an address, the oldest first.
func (s *standings) waiting() []cache.ObjectName {
	s.mu.Lock()
	var waiting []*standing
	for _, st := range s.book {
		if !st.since.IsZero() {
			waiting = append(waiting, st)
		}
	}
	s.mu.Unlock()
	slices.SortFunc(waiting, func(a, b *standing) int {
		return cmp.Or(a.created.Compare(b.created), cmp.Compare(a.name.String(), b.name.String()))
	})
	names := make([]cache.ObjectName, len(waiting))
	for i, st := range waiting {
		names[i] = st.name
	}
	return names
}

// counts returns how many Services wait for an address and have none, and how
// many addresses are orphans.
func (s *standings) counts() (pending, orphans int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	distinct := map[netip.Addr]bool{}
	for _, st := range s.book {
		if st.refusal != "" {
			pending++
		}
		for _, o := range st.orphans {
			distinct[o.Addr] = true
		}
	}
	return pending, len(distinct)
}

// olderFirst orders Services by age.
func olderFirst(a, b *v1.Service) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(service.Name(a), service.Name(b)))
}
