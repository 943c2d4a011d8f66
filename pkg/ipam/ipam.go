// Package ipam gives addresses from pools to Services. It does not use Kubernetes:
// its input is pools and requests, its output is addresses.
package ipam

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// Allocator records every address that is in use, and gives free addresses to
// Services. Its methods may be called concurrently. They do no I/O.
type Allocator struct {
	mu     sync.Mutex
	config *config.Config
	order  []*config.Pool // by priority
	spaces []*space       // in the pools' order
	index  map[spaceKey]*space

	users  map[netip.Addr]users
	claims map[string]*claim       // by UID
	shared map[string][]netip.Addr // by share key: the addresses whose users have this key
	held   map[quotaKey]int        // how many addresses of a pool a namespace has
}

type spaceKey struct {
	pool   string
	family Family
}

type quotaKey struct{ pool, namespace string }

// New returns an Allocator without pools.
func New() *Allocator {
	return &Allocator{
		users:  map[netip.Addr]users{},
		claims: map[string]*claim{},
		shared: map[string][]netip.Addr{},
		held:   map[quotaKey]int{},
	}
}

// SetPools replaces the pools. Addresses in use stay in use, even if they are in no
// pool any more.
func (a *Allocator) SetPools(c *config.Config) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.spaces
	a.config, a.order, a.spaces, a.index, a.held = c, nil, nil, map[spaceKey]*space{}, map[quotaKey]int{}
	for i := range c.Pools {
		a.order = append(a.order, &c.Pools[i])
	}
	slices.SortStableFunc(a.order, func(x, y *config.Pool) int {
		// 0 wraps around to the highest number, so that it comes last.
		return cmp.Compare(uint64(x.Priority)-1, uint64(y.Priority)-1)
	})
	for _, pool := range a.order {
		for _, family := range []Family{IPv4, IPv6} {
			if s := newSpace(pool, family); s.usable > 0 {
				a.spaces = append(a.spaces, s)
				a.index[spaceKey{s.pool.Name, family}] = s
			}
		}
	}
	for addr, users := range a.users {
		if s := a.spaceOf(addr); s != nil {
			s.take(addr)
		}
		for i, c := range users {
			a.count(addr, users[:i], c.namespace, 1)
		}
	}
	a.keepCooldowns(old)
}

// keepCooldowns copies the cooldowns from the old spaces. No cooldown stays longer
// than the reuse delay of the new pool.
func (a *Allocator) keepCooldowns(old []*space) {
	now := time.Now()
	var kept []cooldown
	for _, s := range old {
		for _, d := range s.queue {
			if a.spaceOf(d.addr) != nil && s.cooldowns[d.addr].Equal(d.until) {
				kept = append(kept, d)
			}
		}
	}
	for i, d := range kept {
		if latest := now.Add(a.spaceOf(d.addr).pool.ReuseDelay); d.until.After(latest) {
			kept[i].until = latest
		}
	}
	slices.SortFunc(kept, func(x, y cooldown) int { return cmp.Or(x.until.Compare(y.until), x.addr.Compare(y.addr)) })
	for _, d := range kept {
		a.spaceOf(d.addr).release(d)
	}
}

// Adopt records that the Service holds the addresses of r.Claimed already. It does
// not adopt an address that another Service holds and r may not share. The error
// names the first such address.
func (a *Allocator) Adopt(r Request) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.claimOf(r)
	c.pool = r.Pool
	var refused error
	for _, addr := range r.Claimed {
		if slices.Contains(c.addrs, addr) {
			continue
		}
		err := a.users[addr].checkSharing(addr, r)
		if err == nil && !a.acrossNamespaces(addr) {
			err = a.users[addr].checkNamespace(addr, r)
		}
		if err == nil {
			a.take(c, addr)
		} else if refused == nil {
			refused = err
		}
	}
	a.forgetEmpty(c)
	return refused
}

// Addrs returns the addresses that the Service holds.
func (a *Allocator) Addrs(uid string) []netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.claims[uid]; c != nil {
		return slices.Clone(c.addrs)
	}
	return nil
}

// Release takes all addresses from the Service and returns them.
func (a *Allocator) Release(uid string) []netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.claims[uid]
	if c == nil {
		return nil
	}
	released := slices.Clone(c.addrs)
	for _, addr := range released {
		a.free(c, addr)
	}
	delete(a.claims, uid)
	return released
}

// Allocate gives the Service the addresses that it asks for, and returns them. The
// Service keeps the addresses that it holds and still wants. A missing address is the
// first free address of the first pool that has one.
//
// The error is an *Error. In this case nothing changes, with one exception: the Service
// loses an address that it can share no longer because its port, policy or key changed.
func (a *Allocator) Allocate(r Request) ([]netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.claimOf(r)
	defer a.forgetEmpty(c)
	var lost *Error
	for _, addr := range slices.Clone(c.addrs) {
		if refusal := a.users[addr].checkSharing(addr, r); refusal != nil {
			a.free(c, addr)
			lost = refusal
		}
	}
	a.setSharing(c, r.Sharing)
	want, err := a.choose(r, c)
	if err != nil {
		if lost != nil && lost.Msg != err.Error() {
			return nil, refuse(lost.Reason, "%s; %s", lost.Msg, err)
		}
		return nil, err
	}
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
	c.addrs, c.pool = want, r.Pool
	return slices.Clone(want), nil
}

// claimOf returns the Service's claim. It creates the claim if there is none.
func (a *Allocator) claimOf(r Request) *claim {
	c := a.claims[r.UID]
	if c == nil {
		c = &claim{uid: r.UID, namespace: r.Namespace, name: r.Name, sharing: r.Sharing}
		a.claims[r.UID] = c
	}
	return c
}

func (a *Allocator) forgetEmpty(c *claim) {
	if len(c.addrs) == 0 {
		delete(a.claims, c.uid)
	}
}

func (a *Allocator) setSharing(c *claim, s Sharing) {
	before := c.sharing.Key
	if c.sharing = s; s.Key == "" {
		c.sharing = Sharing{} // its ports are not needed
	}
	if before == s.Key {
		return
	}
	for _, addr := range c.addrs { // Allocate has checked that no other Service uses them
		a.unlist(before, addr)
		a.list(s.Key, addr)
	}
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
	a.users[addr] = append(users, c)
	c.addrs = append(c.addrs, addr)
}

func (a *Allocator) free(c *claim, addr netip.Addr) {
	c.addrs = slices.DeleteFunc(slices.Clone(c.addrs), func(h netip.Addr) bool { return h == addr })
	users := a.users[addr].without(c.uid)
	a.count(addr, users, c.namespace, -1)
	if len(users) > 0 {
		a.users[addr] = users
		return
	}
	delete(a.users, addr)
	a.unlist(c.sharing.Key, addr)
	if s := a.spaceOf(addr); s != nil {
		s.release(cooldown{addr: addr, until: time.Now().Add(s.pool.ReuseDelay)})
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
