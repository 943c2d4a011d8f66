package ipam

import (
	"net/netip"
	"time"
)

// Orphan is an address in use that no pool would give to its Service any more.
type Orphan struct {
	Addr netip.Addr
	Why  string
}

// Orphans returns the orphans among the addresses that the Service holds.
func (a *Allocator) Orphans(r Request) []Orphan {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.claims[r.UID]
	if c == nil || a.config == nil {
		return nil
	}
	var orphans []Orphan
	for _, addr := range c.addrs {
		if err := a.checkPool(addr, r); err != nil {
			orphans = append(orphans, Orphan{Addr: addr, Why: err.Msg})
		}
	}
	return orphans
}

// Usage says how full one family of one pool is.
type Usage struct {
	Pool   string
	Family Family
	// Usable is the number of addresses that Services can have, in use or not. A pool of
	// 2^64 addresses or more counts as 2^64-1.
	Usable uint64
	Used   uint64
	// Cooldown is the number of free addresses that were released within the pool's
	// reuse delay.
	Cooldown uint64
}

// Usage returns one entry for each family of each pool, in the pools' order.
func (a *Allocator) Usage() []Usage {
	a.mu.Lock()
	defer a.mu.Unlock()
	usage := make([]Usage, len(a.spaces))
	for i, s := range a.spaces {
		s.expireCooldowns(time.Now())
		usage[i] = Usage{Pool: s.pool.Name, Family: s.family, Usable: s.usable, Used: uint64(len(s.used)), Cooldown: uint64(len(s.cooldowns))}
	}
	return usage
}
