package ipam

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// SetPublished sets the orphans that an earlier process has published. Adopt adopts them.
func (a *Allocator) SetPublished(orphans []config.Orphan) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.published = map[netip.Addr]config.Orphan{}
	for _, o := range orphans {
		a.published[o.Addr] = o
	}
}

// AllOrphans returns all orphans, in the order of their addresses. An address counts as an
// orphan, too, if its Service asks for another pool and keeps it. So the record of the pool
// that gave it survives a restart.
func (a *Allocator) AllOrphans() []config.Orphan {
	a.mu.Lock()
	defer a.mu.Unlock()
	byAddr := map[netip.Addr]config.Orphan{}
	if a.config == nil {
		return nil
	}
	for _, c := range a.claims {
		for _, addr := range c.addrs {
			if a.checkPool(addr, c.request) == nil {
				continue
			}
			o, ok := byAddr[addr]
			if !ok {
				o = config.Orphan{Addr: addr, Pool: a.homeOf(addr)}
			}
			o.UIDs = append(o.UIDs, c.uid)
			byAddr[addr] = o
		}
	}
	orphans := slices.SortedFunc(maps.Values(byAddr), func(x, y config.Orphan) int { return x.Addr.Compare(y.Addr) })
	for _, o := range orphans {
		slices.Sort(o.UIDs)
	}
	return orphans
}

// homeOf returns the pool under which the orphan is published: how the address is
// announced, with the name of the pool that gave it. It looks at all Services that share the
// address, because the claim of a Service that joined later may not have the pool.
func (a *Allocator) homeOf(addr netip.Addr) *config.Pool {
	for _, c := range a.users[addr] {
		e := c.from.of(addr)
		if e.home == nil {
			continue
		}
		if e.pool == e.home.Name {
			return e.home
		}
		renamed := *e.home
		renamed.Name = e.pool
		return &renamed
	}
	return a.config.UnknownPool()
}

// Kept is an orphan of one Service, with the reason why no pool would give it.
type Kept struct {
	Addr netip.Addr
	Why  string
}

// Orphans returns the orphans among the addresses that the Service holds, each with the
// reason.
func (a *Allocator) Orphans(r Request) []Kept {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.claims[r.UID]
	if c == nil || a.config == nil {
		return nil
	}
	var orphans []Kept
	for _, addr := range c.addrs {
		if err := a.checkPool(addr, r); err != nil {
			orphans = append(orphans, Kept{Addr: addr, Why: err.Msg})
		}
	}
	return orphans
}
