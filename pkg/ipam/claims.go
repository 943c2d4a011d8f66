package ipam

import (
	"net/netip"
	"slices"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// claim is the record of one Service: its last request, and the addresses that it holds.
type claim struct {
	uid, namespace, name string
	addrs                []netip.Addr
	// from says where addrs come from. An address that was adopted and that no pool had is
	// not in it.
	from    origins
	sharing Sharing
	request Request
}

// origins has one origin for each address of a claim. It is a list, which is cheaper than a
// map, because almost every claim has at most two addresses.
type origins []origin

// origin is where an address comes from: the name of the last pool that would give it to the
// Service, and the last pool that had it, nil if no pool is known.
type origin struct {
	addr netip.Addr
	pool string
	home *config.Pool
}

func (o origins) of(addr netip.Addr) origin {
	if i := slices.IndexFunc(o, func(e origin) bool { return e.addr == addr }); i >= 0 {
		return o[i]
	}
	return origin{addr: addr}
}

func (o *origins) set(e origin) {
	o.remove(e.addr)
	*o = append(*o, e)
}

func (o *origins) remove(addr netip.Addr) {
	*o = slices.DeleteFunc(*o, func(e origin) bool { return e.addr == addr })
}

func (c *claim) String() string { return c.namespace + "/" + c.name }

// claimOf returns the Service's claim. It creates the claim if there is none.
func (a *Allocator) claimOf(r Request) *claim {
	c := a.claims[r.UID]
	if c == nil {
		c = &claim{uid: r.UID, namespace: r.Namespace, name: r.Name, sharing: r.Sharing, request: r}
		a.claims[r.UID] = c
	}
	return c
}

func (a *Allocator) forgetEmpty(c *claim) {
	if len(c.addrs) == 0 {
		delete(a.claims, c.uid)
	}
}

// setRequest records the request, and how the Service shares its addresses now.
func (a *Allocator) setRequest(c *claim, r Request) {
	c.request = r
	before := c.sharing
	if c.sharing = r.Sharing; r.Sharing.Key == "" {
		c.sharing = Sharing{} // its ports are not needed
	}
	if !before.equal(c.sharing) && len(c.addrs) > 0 {
		a.chances++
	}
	if before.Key == c.sharing.Key {
		return
	}
	for _, addr := range c.addrs { // takeLost has checked that no other Service uses them
		a.unlist(before.Key, addr)
		a.list(c.sharing.Key, addr)
	}
}

// give gives the addresses in want to the Service, and frees its other addresses. Then the
// Service is served.
func (a *Allocator) give(c *claim, want []netip.Addr) {
	for _, addr := range slices.Clone(c.addrs) {
		if !slices.Contains(want, addr) {
			a.free(c, addr)
		}
	}
	for _, addr := range want {
		if !slices.Contains(c.addrs, addr) {
			a.take(c, addr)
		}
	}
	for _, addr := range want {
		if pool, ok := a.config.PoolOf(addr); ok && a.checkPool(addr, c.request) == nil {
			c.from.set(origin{addr, pool.Name, pool})
		}
	}
	c.addrs = want
	a.claims[c.uid] = c
	delete(a.leavers, c.uid)
}

func (a *Allocator) take(c *claim, addr netip.Addr) {
	users := a.users[addr]
	a.count(addr, users, c.namespace, 1)
	if len(users) == 0 {
		a.list(c.sharing.Key, addr)
		if s := a.spaceOf(addr); s != nil {
			s.take(addr)
		}
	}
	if c.sharing.Key != "" {
		a.chances++ // a Service with the same key can join
	}
	a.users[addr] = append(users, c)
	c.addrs = append(c.addrs, addr)
	if pool, ok := a.config.PoolOf(addr); ok {
		c.from.set(origin{addr, pool.Name, pool})
	}
}

func (a *Allocator) free(c *claim, addr netip.Addr) {
	a.chances++
	c.addrs = slices.DeleteFunc(slices.Clone(c.addrs), func(h netip.Addr) bool { return h == addr })
	c.from.remove(addr)
	users := a.users[addr].without(c.uid)
	a.count(addr, users, c.namespace, -1)
	if len(users) > 0 {
		a.users[addr] = users
		return
	}
	delete(a.users, addr)
	a.unlist(c.sharing.Key, addr)
	if s := a.spaceOf(addr); s != nil {
		s.release(cooldown{addr: addr, until: time.Now().Add(s.pool.ReuseDelay), namespace: c.namespace})
	}
}

// count adds n to the number of addresses of the pool that the namespace has. It does
// nothing if another Service of the namespace has the same address.
func (a *Allocator) count(addr netip.Addr, others users, namespace string, n int) {
	pool, ok := a.config.PoolOf(addr)
	if !ok || others.inNamespace(namespace) {
		return
	}
	key := quotaKey{pool.Name, namespace}
	if a.held[key] += n; a.held[key] == 0 {
		delete(a.held, key)
	}
}

// list and unlist maintain the addresses that can be shared under a key.
func (a *Allocator) list(key string, addr netip.Addr) {
	if key != "" {
		a.shared[key] = append(a.shared[key], addr)
	}
}

func (a *Allocator) unlist(key string, addr netip.Addr) {
	if key == "" {
		return
	}
	a.shared[key] = slices.DeleteFunc(a.shared[key], func(s netip.Addr) bool { return s == addr })
	if len(a.shared[key]) == 0 {
		delete(a.shared, key)
	}
}

func (a *Allocator) acrossNamespaces(addr netip.Addr) bool {
	pool, ok := a.config.PoolOf(addr)
	return ok && pool.ShareAcrossNamespaces
}

// spaceOf returns the space that gives out addr, or nil.
func (a *Allocator) spaceOf(addr netip.Addr) *space {
	pool, ok := a.config.PoolOf(addr)
	if !ok || !pool.Gives(addr) {
		return nil
	}
	return a.index[spaceKey{pool.Name, FamilyOf(addr)}]
}

// users are the Services that hold an address: one Service, or several that share it.
type users []*claim

// without returns the users except the Service with that UID.
func (u users) without(uid string) users {
	return slices.DeleteFunc(slices.Clone(u), func(c *claim) bool { return c.uid == uid })
}

// inNamespace reports whether one of the users is in the namespace.
func (u users) inNamespace(namespace string) bool {
	return slices.ContainsFunc(u, func(c *claim) bool { return c.namespace == namespace })
}

// inOtherNamespace returns the first user that is in another namespace, or nil.
func (u users) inOtherNamespace(namespace string) *claim {
	if i := slices.IndexFunc(u, func(c *claim) bool { return c.namespace != namespace }); i >= 0 {
		return u[i]
	}
	return nil
}
