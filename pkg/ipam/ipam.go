// Package ipam gives addresses from pools to Services. It knows nothing of
// Kubernetes: state goes in as pools and claims, addresses come out.
package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// DefaultRest is how long a released address is not given out again, unless
// there is no other: routers and clients remember the node it was on.
const DefaultRest = 30 * time.Second

// Family is an address family.
type Family uint8

// The two address families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// FamilyOf returns the family of addr.
func FamilyOf(addr netip.Addr) Family {
	if addr.Is4() {
		return IPv4
	}
	return IPv6
}

// String returns "IPv4" or "IPv6".
func (f Family) String() string { return fmt.Sprintf("IPv%d", uint8(f)) }

// Request asks for the addresses of one Service.
type Request struct {
	// UID tells the Service from an earlier one of the same name.
	UID string
	// Name is the Service's namespace/name, for messages.
	Name string
	// Families wanted, in the order in which addresses are returned.
	Families []Family
	// RequireAll refuses to give one family when the other has no free address.
	RequireAll bool
	// Addrs, if not empty, are the only addresses that will do: at most one of a family.
	Addrs []netip.Addr
	// Pool, if not empty, is the pool to take new addresses from. It need not be an
	// AutoAssign pool. Addresses that the Service holds are kept, whatever pool they
	// are of, until it asks for another pool than before: pools may be edited under it.
	Pool string
}

// Allocator holds every address that is in use and gives out the others. Its
// methods may be called concurrently; none does any I/O.
type Allocator struct {
	rest time.Duration

	mu     sync.Mutex
	config *config.Config
	spaces []*space // in the pools' order
	index  map[spaceKey]*space
	owners map[netip.Addr]owner
	held   map[string][]netip.Addr // by UID
	asked  map[string]string       // by UID: the Pool of the last Request that was granted
}

type owner struct{ uid, name string }

type spaceKey struct {
	pool   string
	family Family
}

// New returns an Allocator without pools. A released address rests for rest.
func New(rest time.Duration) *Allocator {
	return &Allocator{
		rest:   rest,
		owners: map[netip.Addr]owner{},
		held:   map[string][]netip.Addr{},
		asked:  map[string]string{},
	}
}

// SetPools replaces the pools. Addresses in use stay in use, also those that
// are in no pool any more.
func (a *Allocator) SetPools(c *config.Config) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.spaces
	a.config, a.spaces, a.index = c, nil, map[spaceKey]*space{}
	for i := range c.Pools {
		for _, family := range []Family{IPv4, IPv6} {
			if s := newSpace(&c.Pools[i], family); s.usable > 0 {
				a.spaces = append(a.spaces, s)
				a.index[spaceKey{s.pool.Name, family}] = s
			}
		}
	}
	for addr := range a.owners {
		if s := a.spaceOf(addr); s != nil {
			s.take(addr)
		}
	}
	var resting []rested
	for _, s := range old {
		for _, r := range s.queue {
			if s.until[r.addr].Equal(r.until) {
				resting = append(resting, r)
			}
		}
	}
	slices.SortStableFunc(resting, func(x, y rested) int { return x.until.Compare(y.until) })
	for _, r := range resting {
		if s := a.spaceOf(r.addr); s != nil {
			s.release(r)
		}
	}
}

// Adopt records that the Service holds addrs already, and that it asks for pool
// ("" for any). An address that another Service holds is not adopted, and
// reported in the error.
func (a *Allocator) Adopt(uid, name, pool string, addrs []netip.Addr) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked[uid] = pool
	var refused error
	for _, addr := range addrs {
		switch o, taken := a.owners[addr]; {
		case !taken:
			a.take(owner{uid, name}, addr)
		case o.uid != uid && refused == nil:
			refused = inUse(addr, o)
		}
	}
	return refused
}

// Addrs returns the addresses that the Service holds.
func (a *Allocator) Addrs(uid string) []netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.held[uid])
}

// Release takes all addresses from the Service and returns them.
func (a *Allocator) Release(uid string) []netip.Addr {
	a.mu.Lock()
	defer a.mu.Unlock()
	released := a.held[uid]
	for _, addr := range slices.Clone(released) {
		a.free(uid, addr)
	}
	delete(a.asked, uid)
	return released
}

// Allocate returns the addresses that the Service shall have. Those it holds
// and still wants are kept; what is missing is the first free address of the
// first pool that has one. On error, which is an *Error, nothing has changed.
func (a *Allocator) Allocate(r Request) ([]netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	want, err := a.choose(r)
	if err != nil {
		return nil, err
	}
	for _, addr := range slices.Clone(a.held[r.UID]) {
		if !slices.Contains(want, addr) {
			a.free(r.UID, addr)
		}
	}
	for _, addr := range want {
		if _, taken := a.owners[addr]; !taken {
			a.take(owner{r.UID, r.Name}, addr)
		}
	}
	a.held[r.UID], a.asked[r.UID] = want, r.Pool
	return slices.Clone(want), nil
}

func (a *Allocator) take(o owner, addr netip.Addr) {
	a.owners[addr] = o
	a.held[o.uid] = append(a.held[o.uid], addr)
	if s := a.spaceOf(addr); s != nil {
		s.take(addr)
	}
}

func (a *Allocator) free(uid string, addr netip.Addr) {
	delete(a.owners, addr)
	a.held[uid] = slices.DeleteFunc(slices.Clone(a.held[uid]), func(h netip.Addr) bool { return h == addr })
	if len(a.held[uid]) == 0 {
		delete(a.held, uid)
	}
	if s := a.spaceOf(addr); s != nil {
		s.release(rested{addr: addr, until: time.Now().Add(a.rest)})
	}
}

// spaceOf returns the space that would give out addr, or nil.
func (a *Allocator) spaceOf(addr netip.Addr) *space {
	pool, ok := a.config.PoolOf(addr)
	if !ok || !pool.Gives(addr) {
		return nil
	}
	return a.index[spaceKey{pool.Name, FamilyOf(addr)}]
}

// Usage is how full one family of one pool is.
type Usage struct {
	Pool   string
	Family Family
	// Usable is the number of addresses that can be given out, in use or not.
	// Pools of 2^64 addresses and more count as 2^64-1.
	Usable uint64
	Used   uint64
	// Resting is the number of free addresses that were in use a moment ago.
	Resting uint64
}

// Usage returns one entry for each family of each pool, in the pools' order.
func (a *Allocator) Usage() []Usage {
	a.mu.Lock()
	defer a.mu.Unlock()
	usage := make([]Usage, len(a.spaces))
	for i, s := range a.spaces {
		s.wake(time.Now())
		usage[i] = Usage{Pool: s.pool.Name, Family: s.family, Usable: s.usable, Used: uint64(len(s.used)), Resting: uint64(len(s.until))}
	}
	return usage
}
