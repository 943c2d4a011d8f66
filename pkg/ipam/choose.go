package ipam

import (
	"math"
	"net/netip"
	"slices"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/quote"
)

// choose returns the addresses that the Service should have, without taking them.
func (a *Allocator) choose(r Request, c *claim) ([]netip.Addr, error) {
	if len(r.Addrs) > 0 {
		return a.chooseRequested(r, c)
	}
	var want []netip.Addr
	var missing []Family
	for _, family := range r.Families {
		if addr, ok := a.kept(r, c, family); ok {
			want = append(want, addr)
		} else {
			missing = append(missing, family)
		}
	}
	found, err := a.chooseFree(r, c, want, missing)
	if err != nil && (r.RequireAll || len(want)+len(found) == 0 || wouldLose(r, c, append(want, found...))) {
		return nil, err
	}
	return inOrder(append(want, found...), r.Families), nil
}

func inOrder(addrs []netip.Addr, families []Family) []netip.Addr {
	slices.SortStableFunc(addrs, func(x, y netip.Addr) int {
		return slices.Index(families, FamilyOf(x)) - slices.Index(families, FamilyOf(y))
	})
	return addrs
}

// kept returns the address of the family that the Service holds and keeps. The Service
// does not keep an address if it asks for another pool than the one that has the address
// or has given it. It does not keep an orphan if the configuration says reassign.
func (a *Allocator) kept(r Request, c *claim, family Family) (netip.Addr, bool) {
	for _, addr := range c.addrs {
		if FamilyOf(addr) != family {
			continue
		}
		if a.config != nil && a.config.Reassign && a.checkPool(addr, r) != nil {
			continue
		}
		pool, ok := a.config.PoolOf(addr)
		if from := c.from.of(addr).pool; r.Pool == "" || from == "" || r.Pool == from || ok && pool.Name == r.Pool {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

// wouldLose reports whether the Service holds an address of a family that it still wants,
// and want has no address of this family. A Service does not give up an address before
// it has another.
func wouldLose(r Request, c *claim, want []netip.Addr) bool {
	return slices.ContainsFunc(c.addrs, func(held netip.Addr) bool {
		family := FamilyOf(held)
		return slices.Contains(r.Families, family) &&
			!slices.ContainsFunc(want, func(w netip.Addr) bool { return FamilyOf(w) == family })
	})
}

// chooseRequested checks the addresses that the Service asks for. The Service always
// keeps an address that it holds already, even if no pool has it any more.
func (a *Allocator) chooseRequested(r Request, c *claim) ([]netip.Addr, error) {
	var families []Family
	for _, addr := range r.Addrs {
		if slices.Contains(families, FamilyOf(addr)) {
			return nil, refuse(Invalid, "the Service asks for two %s addresses, and can have only one of each family", FamilyOf(addr))
		}
		families = append(families, FamilyOf(addr))
		if !slices.Contains(r.Families, FamilyOf(addr)) {
			return nil, refuse(Invalid, "%s is asked for, but the Service has no %s in its ipFamilies", addr, FamilyOf(addr))
		}
		if !slices.Contains(c.addrs, addr) {
			others := slices.DeleteFunc(slices.Clone(r.Addrs), func(other netip.Addr) bool { return other == addr })
			if err := a.checkAsked(addr, r, c, others); err != nil {
				return nil, err
			}
		}
	}
	for _, family := range r.Families {
		if r.RequireAll && !slices.Contains(families, family) {
			return nil, refuse(Invalid, "the Service requires dual stack, but asks for no %s address", family)
		}
	}
	return inOrder(slices.Clone(r.Addrs), r.Families), nil
}

// room returns how many more addresses of the pool the Service's namespace can have, if
// the Service has exactly the addresses in keep.
func (a *Allocator) room(pool *config.Pool, r Request, c *claim, keep []netip.Addr) int {
	if pool.MaxPerNamespace == 0 {
		return math.MaxInt
	}
	counts := func(addr netip.Addr) bool {
		of, ok := a.config.PoolOf(addr)
		return ok && of == pool && !a.users[addr].without(c.uid).inNamespace(r.Namespace)
	}
	room := pool.MaxPerNamespace - a.held[quotaKey{pool.Name, r.Namespace}]
	for _, addr := range c.addrs {
		if !slices.Contains(keep, addr) && counts(addr) {
			room++
		}
	}
	for _, addr := range keep {
		if !slices.Contains(c.addrs, addr) && counts(addr) {
			room--
		}
	}
	return room
}

// chooseFree finds an address of each family, in addition to the addresses in keep. It
// prefers an address that the Service claims, then one that is shared under its key, then
// a free one. The free addresses come from one pool if one pool has them all, else each
// from the first pool that has one. If these are not enough, chooseFree also uses addresses
// in cooldown. It returns the addresses that it found even if it returns an error.
func (a *Allocator) chooseFree(r Request, c *claim, keep []netip.Addr, families []Family) ([]netip.Addr, error) {
	var all []netip.Addr
	var missing []Family
	for _, family := range families {
		if addr, ok := a.claimedOrShared(r, c, append(slices.Clone(keep), all...), family); ok {
			all = append(all, addr)
		} else {
			missing = append(missing, family)
		}
	}
	if len(missing) == 0 {
		return all, nil
	}
	pools, err := a.poolsFor(r)
	if err != nil {
		return all, err
	}
	keep = append(slices.Clone(keep), all...)
	now := time.Now()
	var found []netip.Addr
	var refused error
	for _, endCooldown := range []bool{false, true} {
		for _, pool := range pools {
			if found := a.freeIn(pool, r, c, keep, missing, now, endCooldown); len(found) == len(missing) {
				return append(all, found...), nil
			}
		}
		found, refused = nil, nil
		for _, family := range missing {
			var free []netip.Addr // at most one
			keep := append(slices.Clone(keep), found...)
			for _, pool := range pools {
				if free = a.freeIn(pool, r, c, keep, []Family{family}, now, endCooldown); len(free) > 0 {
					break
				}
			}
			if len(free) == 0 && refused == nil {
				refused = a.refuseFamily(pools, r, c, keep, family)
			}
			found = append(found, free...)
		}
		if refused == nil {
			break
		}
	}
	return append(all, found...), refused
}

// maxShared limits the search for an address to share. If one key has so many addresses,
// the operator probably did not intend its Services to share one.
const maxShared = 100

// claimedOrShared returns an address of the family that the Service claims and can have.
// Otherwise it returns an address that other Services share under the Service's key and
// that the Service can share with them.
func (a *Allocator) claimedOrShared(r Request, c *claim, keep []netip.Addr, family Family) (netip.Addr, bool) {
	can := func(addr netip.Addr) bool {
		return FamilyOf(addr) == family && !slices.Contains(c.addrs, addr) && a.checkAddr(addr, r, c, keep) == nil
	}
	claimed := func(addr netip.Addr) bool { return can(addr) && a.checkAsked(addr, r, c, keep) == nil }
	if i := slices.IndexFunc(r.Claimed, claimed); i >= 0 {
		return r.Claimed[i], true
	}
	shared := a.shared[r.Sharing.Key]
	shared = shared[:min(len(shared), maxShared)]
	i := slices.IndexFunc(shared, func(addr netip.Addr) bool {
		if !can(addr) {
			return false
		}
		pool, _ := a.config.PoolOf(addr) // checkAddr has found it
		return pool.AutoAssign || pool.Name == r.Pool
	})
	if i < 0 {
		return netip.Addr{}, false
	}
	return shared[i], true
}

// poolsFor returns the pools that serve the Service, by priority.
func (a *Allocator) poolsFor(r Request) ([]*config.Pool, error) {
	if r.Pool != "" {
		pool, ok := a.config.Pool(r.Pool)
		if !ok {
			return nil, refuse(NoPool, "there is no pool %s", quote.Short(r.Pool))
		}
		if !pool.Serves(r.Namespace, r.NamespaceLabels, r.Labels) {
			return nil, refuse(NoPool, "pool %q is for other namespaces or Services", r.Pool)
		}
		return []*config.Pool{pool}, nil
	}
	var pools []*config.Pool
	auto := false
	for _, pool := range a.order {
		auto = auto || pool.AutoAssign
		if pool.AutoAssign && pool.Serves(r.Namespace, r.NamespaceLabels, r.Labels) {
			pools = append(pools, pool)
		}
	}
	switch {
	case !auto:
		return nil, refuse(NoPool, "no pool serves Services that do not ask for a pool")
	case len(pools) == 0:
		return nil, refuse(NoPool, "every pool is for other namespaces or Services")
	}
	return pools, nil
}

// freeIn returns a free address of the pool for each of the families that has one.
func (a *Allocator) freeIn(pool *config.Pool, r Request, c *claim, keep []netip.Addr, families []Family, now time.Time, endCooldown bool) []netip.Addr {
	if a.room(pool, r, c, keep) < len(families) {
		return nil
	}
	var found []netip.Addr
	for _, family := range families {
		if s := a.index[spaceKey{pool.Name, family}]; s != nil {
			if addr, ok := s.first(now, endCooldown); ok {
				found = append(found, addr)
			}
		}
	}
	return found
}
