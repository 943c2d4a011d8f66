package ipam

import (
	"container/heap"
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// space is the part of a pool that belongs to one family. Each free address is in one
// of three places: at or after the cursor (not given out since the pools were set), in
// the heap (released, and its cooldown has expired), or in cooldown. An entry of the
// heap or the queue can become outdated. It is dropped when it comes to the front, so
// that no operation has to search.
type space struct {
	pool   *config.Pool
	family Family
	ranges []config.Range
	size   uint64 // how many addresses it has, reserved or not
	used   map[netip.Addr]bool
	// reserved are its addresses that a node or a gateway has.
	reserved map[netip.Addr]bool

	cursor    place
	heap      placeHeap
	queue     []cooldown              // in the order of their end
	cooldowns map[netip.Addr]cooldown // by address in cooldown
}

// place is an address and the index of its range. Pools are filled in the order of the file.
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

// cooldown is the time after the release of an address in which it is not given out, if
// another address is free. A Service of another namespace that asks for it is refused.
type cooldown struct {
	addr      netip.Addr
	until     time.Time
	namespace string // of the Service that released it
}

func newSpace(pool *config.Pool, family Family, reserved map[netip.Addr]string) *space {
	s := &space{pool: pool, family: family, used: map[netip.Addr]bool{}, reserved: map[netip.Addr]bool{}, cooldowns: map[netip.Addr]cooldown{}}
	for _, r := range pool.Ranges {
		if FamilyOf(r.From) != family {
			continue
		}
		s.ranges = append(s.ranges, r)
		size := r.Size()
		if pool.AvoidBuggyIPs {
			size -= r.BuggyCount()
		}
		if s.size += size; s.size < size {
			s.size = math.MaxUint64
		}
		for addr := range reserved {
			if r.Contains(addr) && pool.Gives(addr) {
				s.reserved[addr] = true
			}
		}
	}
	if len(s.ranges) > 0 {
		s.cursor = place{addr: s.ranges[0].From}
	}
	return s
}

// usable returns the number of addresses that Services can have.
func (s *space) usable() uint64 { return s.size - uint64(len(s.reserved)) }

func (s *space) full() bool {
	used := uint64(len(s.used))
	for addr := range s.reserved {
		if s.used[addr] { // its Service is about to lose it
			used--
		}
	}
	return used >= s.usable()
}

func (s *space) take(addr netip.Addr) {
	s.used[addr] = true
	delete(s.cooldowns, addr)
}

// release makes an address free, and begins its cooldown.
func (s *space) release(d cooldown) {
	delete(s.used, d.addr)
	s.cooldowns[d.addr] = d
	s.queue = append(s.queue, d)
}

// restoreCooldown makes the cooldown of an address what it was before the address was taken
// and released, or released and taken. It is nil if there was none.
func (s *space) restoreCooldown(addr netip.Addr, before *cooldown) {
	s.queue = slices.DeleteFunc(s.queue, func(d cooldown) bool { return d.addr == addr })
	delete(s.cooldowns, addr)
	switch {
	case before != nil:
		s.cooldowns[addr] = *before
		i, _ := slices.BinarySearchFunc(s.queue, *before, func(x, y cooldown) int { return x.until.Compare(y.until) })
		s.queue = slices.Insert(s.queue, i, *before)
	case !s.used[addr]:
		heap.Push(&s.heap, s.placeOf(addr)) // the cursor may have passed it
	}
}

// free reports whether the address is neither in use nor reserved nor in cooldown.
func (s *space) free(addr netip.Addr) bool {
	_, cooling := s.cooldowns[addr]
	return !cooling && !s.used[addr] && !s.reserved[addr]
}

// isCooling reports whether the cooldown has neither been replaced nor ended early.
func (s *space) isCooling(d cooldown) bool {
	present, ok := s.cooldowns[d.addr]
	return ok && present.until.Equal(d.until)
}

// first returns the address to give out next: the first free address in the order of
// the pool. If there is none and endCooldown is true, it returns the address whose
// cooldown expires first. It does not take the address.
func (s *space) first(now time.Time, endCooldown bool) (netip.Addr, bool) {
	if s.full() {
		return netip.Addr{}, false
	}
	s.expireCooldowns(now)
	for len(s.heap) > 0 && !s.free(s.heap[0].addr) {
		heap.Pop(&s.heap)
	}
	if s.advance() && (len(s.heap) == 0 || s.cursor.before(s.heap[0])) {
		return s.cursor.addr, true
	}
	if len(s.heap) > 0 {
		return s.heap[0].addr, true
	}
	if !endCooldown {
		return netip.Addr{}, false
	}
	i := slices.IndexFunc(s.queue, func(d cooldown) bool { return s.isCooling(d) && !s.reserved[d.addr] })
	if i < 0 {
		return netip.Addr{}, false
	}
	return s.queue[i].addr, true
}

// expireCooldowns moves the addresses whose cooldown has expired to the heap. It stops
// at the first address that is still in cooldown.
func (s *space) expireCooldowns(now time.Time) {
	for len(s.queue) > 0 {
		d := s.queue[0]
		if s.isCooling(d) {
			if now.Before(d.until) {
				return
			}
			delete(s.cooldowns, d.addr)
			heap.Push(&s.heap, s.placeOf(d.addr))
		}
		s.queue = s.queue[1:]
	}
}

// advance moves the cursor to the next free address, and reports whether there is one.
// The addresses that the cursor passes are in use or in cooldown. They come back through
// the heap, so the cursor never moves backwards.
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
