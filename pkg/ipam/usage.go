package ipam

import (
	"time"
)

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
		usage[i] = Usage{Pool: s.pool.Name, Family: s.family, Usable: s.usable(), Used: uint64(len(s.used)), Cooldown: uint64(len(s.cooldowns))}
	}
	return usage
}
