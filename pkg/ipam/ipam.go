// Package ipam gives addresses from pools to Services. It does not use Kubernetes:
// its input is pools and requests, its output is addresses.
package ipam

import (
	"cmp"
	"errors"
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

	reserved  map[netip.Addr]string        // addresses of nodes and gateways, each with what it is
	published map[netip.Addr]config.Orphan // orphans that an earlier process has published
	leavers   map[string]Request           // by UID: refused requests of Services that would give up an address
	losses    map[string][]Loss            // by UID: the losses that were not reported yet
	chances   uint64

	handedOver map[netip.Addr]bool // in a rearrangement: addresses that a Service gives up for another
}

type spaceKey struct {
	pool   string
	family Family
}

type quotaKey struct{ pool, namespace string }

// Loss is an address that was taken from a Service which still wants an address.
type Loss struct {
	Addr   netip.Addr
	Reason Reason
	Why    string
}

// New returns an Allocator without pools.
func New() *Allocator {
	return &Allocator{
		users:     map[netip.Addr]users{},
		claims:    map[string]*claim{},
		shared:    map[string][]netip.Addr{},
		held:      map[quotaKey]int{},
		published: map[netip.Addr]config.Orphan{},
		leavers:   map[string]Request{},
		losses:    map[string][]Loss{},
	}
}

// SetPools replaces the pools. Addresses in use stay in use, even if they are in no
// pool any more.
func (a *Allocator) SetPools(c *config.Config) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.config, a.order = c, nil
	for i := range c.Pools {
		a.order = append(a.order, &c.Pools[i])
	}
	slices.SortStableFunc(a.order, func(x, y *config.Pool) int {
		// 0 wraps around to the highest number, so that it comes last.
		return cmp.Compare(uint64(x.Priority)-1, uint64(y.Priority)-1)
	})
	for _, claim := range a.claims {
		for i, e := range claim.from {
			if pool, ok := c.PoolOf(e.addr); ok {
				claim.from[i].home = pool
			}
		}
	}
	a.rebuild()
}

// SetReserved replaces the addresses that no Service may have, because a node or a
// gateway has them. The texts complete the sentence "192.0.2.1 is …". A Service that has
// such an address loses it at its next Allocate.
func (a *Allocator) SetReserved(reserved map[netip.Addr]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reserved = reserved
	if a.config != nil {
		a.rebuild()
	}
}

// rebuild makes the spaces of the present pools.
func (a *Allocator) rebuild() {
	a.chances++
	old := a.spaces
	a.spaces, a.index, a.held = nil, map[spaceKey]*space{}, map[quotaKey]int{}
	for _, pool := range a.order {
		for _, family := range []Family{IPv4, IPv6} {
			if s := newSpace(pool, family, a.reserved); s.size > 0 {
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
			if a.spaceOf(d.addr) != nil && s.isCooling(d) {
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

// Addrs returns the addresses that the Service holds.
func (a *Allocator) Addrs(uid string) []netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.claims[uid]; c != nil {
		return slices.Clone(c.addrs)
	}
	return nil
}

// Losses returns what the Service has lost since the last call.
func (a *Allocator) Losses(uid string) []Loss {
	a.mu.Lock()
	defer a.mu.Unlock()
	lost := a.losses[uid]
	delete(a.losses, uid)
	return lost
}

// Chances counts the changes after which a request that was refused may succeed: an
// address was released, another Service shares its address in another way, or the pools
// changed. Nothing that a refusal depends on changes without a new count, except the
// request itself and the end of a cooldown; see Error.RetryAfter.
func (a *Allocator) Chances() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.chances
}

// Release takes all addresses from the Service and returns them.
func (a *Allocator) Release(uid string) []netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.leavers, uid)
	delete(a.losses, uid)
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
// loses an address that it cannot share any more because its port, policy or key changed,
// and an address that is reserved. Losses returns these.
//
// If waiting Services hold what this Service asks for, and all of them can be served
// together, Allocate serves all of them. The next Allocate of each of these Services
// returns what it asks for.
func (a *Allocator) Allocate(r Request) ([]netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.claimOf(r)
	defer a.forgetEmpty(c)
	lost := a.takeLost(r, c)
	a.setRequest(c, r)
	want, err := a.choose(r, c)
	if err != nil {
		if want, ok := a.rearrange(r); ok {
			return want, nil
		}
		if delete(a.leavers, r.UID); len(a.leaving(r, c)) > 0 {
			a.leavers[r.UID] = r
		}
		return nil, withLosses(lost, err)
	}
	a.give(c, want)
	return slices.Clone(want), nil
}

// takeLost takes the addresses that the Service cannot keep, even if it gets no others.
func (a *Allocator) takeLost(r Request, c *claim) (lost []*Error) {
	for _, addr := range slices.Clone(c.addrs) {
		refusal := a.checkReserved(addr)
		if refusal == nil {
			refusal = a.users[addr].checkSharing(addr, r)
		}
		if refusal != nil {
			a.free(c, addr)
			a.losses[r.UID] = append(a.losses[r.UID], Loss{addr, refusal.Reason, refusal.Msg})
			lost = append(lost, refusal)
		}
	}
	return lost
}

// withLosses puts the losses before the refusal that followed them.
func withLosses(lost []*Error, err error) error {
	refusal, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	for _, l := range slices.Backward(lost) {
		if l.Msg != refusal.Msg {
			refusal = &Error{Reason: l.Reason, Msg: l.Msg + "; " + refusal.Msg, RetryAfter: refusal.RetryAfter}
		}
	}
	return refusal
}
