package ipam

import (
	"container/heap"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// space is the part of a pool that is of one family. Its free addresses are in
// one of three places: at the cursor and behind it (never given out since the
// pools were set), in the heap (given back and rested), or resting. An entry of
// the heap or the queue that has become untrue is dropped when it comes up, so
// that no operation has to search.
type space struct {
	pool   *config.Pool
	family Family
	ranges []config.Range
	usable uint64
	used   map[netip.Addr]bool

	cursor place
	heap   placeHeap
	queue  []rested // in the order of until
	until  map[netip.Addr]time.Time
}

// place is an address with the range it is in: pools are filled in file order.
type place struct {
	rangeIndex int
	addr       netip.Addr
}

func (p place) before(q place) bool {
	if p.rangeIndex != q.rangeIndex {
		return p.rangeIndex < q.rangeIndex
	}
	return p.addr.Less(q.addr)
}

type rested struct {
	addr  netip.Addr
	until time.Time
}

func newSpace(pool *config.Pool, family Family) *space {
	s := &space{pool: pool, family: family, used: map[netip.Addr]bool{}, until: map[netip.Addr]time.Time{}}
	for _, r := range pool.Ranges {
		if FamilyOf(r.From) != family {
			continue
		}
		s.ranges = append(s.ranges, r)
		size := r.Size()
		if pool.AvoidBuggyIPs {
			size -= r.BuggyCount()
		}
		if s.usable += size; s.usable < size {
			s.usable = math.MaxUint64
		}
	}
	if len(s.ranges) > 0 {
		s.cursor = place{addr: s.ranges[0].From}
	}
	return s
}

func (s *space) full() bool { return uint64(len(s.used)) >= s.usable }

func (s *space) take(addr netip.Addr) {
	s.used[addr] = true
	delete(s.until, addr)
}

// release puts an address to rest.
func (s *space) release(r rested) {
	delete(s.used, r.addr)
	s.until[r.addr] = r.until
	s.queue = append(s.queue, r)
}

func (s *space) free(addr netip.Addr) bool {
	_, rests := s.until[addr]
	return !rests && !s.used[addr]
}

// first returns the address that would be given out next: the first free one
// in the order of the pool, or else, if resting will do, the one that has rested
// longest. It does not take it.
func (s *space) first(now time.Time, resting bool) (netip.Addr, bool) {
	if s.full() {
		return netip.Addr{}, false
	}
	s.wake(now)
	for len(s.heap) > 0 && !s.free(s.heap[0].addr) {
		heap.Pop(&s.heap)
	}
	if s.advance() && (len(s.heap) == 0 || s.cursor.before(s.heap[0])) {
		return s.cursor.addr, true
	}
	if len(s.heap) > 0 {
		return s.heap[0].addr, true
	}
	if !resting {
		return netip.Addr{}, false
	}
	return s.queue[0].addr, true // wake has dropped what is untrue before it
}

// wake moves the addresses that have rested enough to the heap, up to the
// first that has not.
func (s *space) wake(now time.Time) {
	for len(s.queue) > 0 {
		r := s.queue[0]
		if until, rests := s.until[r.addr]; rests && until.Equal(r.until) {
			if now.Before(until) {
				return
			}
			delete(s.until, r.addr)
			heap.Push(&s.heap, s.placeOf(r.addr))
		}
		s.queue = s.queue[1:]
	}
}

// advance moves the cursor to the next free address and reports whether there
// is one. What it passes is in use or rests, and comes back through the heap:
// it never has to go back.
func (s *space) advance() bool {
	for s.cursor.rangeIndex < len(s.ranges) {
		addr := s.cursor.addr
		if s.free(addr) && s.pool.Gives(addr) {
			return true
		}
		if addr != s.ranges[s.cursor.rangeIndex].To {
			s.cursor.addr = addr.Next()
			continue
		}
		if s.cursor.rangeIndex++; s.cursor.rangeIndex < len(s.ranges) {
			s.cursor.addr = s.ranges[s.cursor.rangeIndex].From
		}
	}
	return false
}

func (s *space) placeOf(addr netip.Addr) place {
	i := slices.IndexFunc(s.ranges, func(r config.Range) bool { return r.Contains(addr) })
	return place{rangeIndex: i, addr: addr}
}

type placeHeap []place

func (h placeHeap) Len() int           { return len(h) }
func (h placeHeap) Less(i, j int) bool { return h[i].before(h[j]) }
func (h placeHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *placeHeap) Push(x any)        { *h = append(*h, x.(place)) }
func (h *placeHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
