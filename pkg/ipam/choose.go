package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// Reason is why a request was refused, in one word.
type Reason string

// The reasons of refusal.
const (
	Exhausted Reason = "Exhausted" // every pool that would do is full
	NoPool    Reason = "NoPool"    // no pool would do
	InUse     Reason = "InUse"     // another Service holds the address asked for
	Invalid   Reason = "Invalid"   // the request contradicts itself
)

// Error is a refusal, with a text for the person who made the request.
type Error struct {
	Reason Reason
	Msg    string
}

// Error returns the text.
func (e *Error) Error() string { return e.Msg }

func refuse(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Msg: fmt.Sprintf(format, args...)}
}

func inUse(addr netip.Addr, o owner) *Error {
	return refuse(InUse, "%s is used by %s", addr, o.name)
}

// choose returns the addresses that the Service shall have, without taking them.
func (a *Allocator) choose(r Request) ([]netip.Addr, error) {
	if len(r.Addrs) > 0 {
		return a.chooseAsked(r)
	}
	var want []netip.Addr
	var missing []Family
	for _, family := range r.Families {
		if addr, ok := a.kept(r, family); ok {
			want = append(want, addr)
		} else {
			missing = append(missing, family)
		}
	}
	found, err := a.chooseFree(r, missing)
	if err != nil && (r.RequireAll || len(want)+len(found) == 0 || a.wouldLose(r, append(want, found...))) {
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

// kept returns the address of the family that the Service holds, unless it has
// begun to ask for a pool, and the address is not of that one.
func (a *Allocator) kept(r Request, family Family) (netip.Addr, bool) {
	for _, addr := range a.held[r.UID] {
		if FamilyOf(addr) != family {
			continue
		}
		pool, ok := a.config.PoolOf(addr)
		if r.Pool == "" || r.Pool == a.asked[r.UID] || ok && pool.Name == r.Pool {
			return addr, true
		}
	}
	return netip.Addr{}, false
}

// wouldLose reports whether the Service has a family that it still wants and
// that is not in want: no address is given up before there is another.
func (a *Allocator) wouldLose(r Request, want []netip.Addr) bool {
	return slices.ContainsFunc(a.held[r.UID], func(held netip.Addr) bool {
		family := FamilyOf(held)
		return slices.Contains(r.Families, family) &&
			!slices.ContainsFunc(want, func(w netip.Addr) bool { return FamilyOf(w) == family })
	})
}

// chooseAsked checks the addresses that were asked for. An address that the
// Service holds already is always granted, also when no pool has it any more.
func (a *Allocator) chooseAsked(r Request) ([]netip.Addr, error) {
	var families []Family
	for _, addr := range r.Addrs {
		if slices.Contains(families, FamilyOf(addr)) {
			return nil, refuse(Invalid, "two %s addresses are asked for; a Service has at most one of a family", FamilyOf(addr))
		}
		families = append(families, FamilyOf(addr))
		if !slices.Contains(r.Families, FamilyOf(addr)) {
			return nil, refuse(Invalid, "%s is asked for, but the Service has no %s in its ipFamilies", addr, FamilyOf(addr))
		}
		o, taken := a.owners[addr]
		if taken && o.uid == r.UID {
			continue
		}
		if taken {
			return nil, inUse(addr, o)
		}
		if err := a.allowed(addr, r.Pool); err != nil {
			return nil, err
		}
	}
	for _, family := range r.Families {
		if r.RequireAll && !slices.Contains(families, family) {
			return nil, refuse(Invalid, "the Service requires dual stack, but the addresses asked for have no %s", family)
		}
	}
	return inOrder(slices.Clone(r.Addrs), r.Families), nil
}

func (a *Allocator) allowed(addr netip.Addr, pool string) error {
	p, ok := a.config.PoolOf(addr)
	switch {
	case !ok:
		return refuse(NoPool, "%s is in no pool", addr)
	case pool != "" && p.Name != pool:
		return refuse(Invalid, "%s is asked for from pool %q, but is in pool %q", addr, pool, p.Name)
	case !p.Gives(addr):
		return refuse(NoPool, "%s is in pool %q, which avoids addresses that end in .0 or .255 (avoid-buggy-ips)", addr, p.Name)
	}
	return nil
}

// chooseFree finds a free address of each family: all from one pool if one has
// them, else each from the first pool that has one. Only when that is not enough
// are addresses taken that still rest. On error it returns what it found all the
// same.
func (a *Allocator) chooseFree(r Request, families []Family) ([]netip.Addr, error) {
	if len(families) == 0 {
		return nil, nil
	}
	pools, err := a.poolsFor(r.Pool)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var all []netip.Addr
	var refused error
	for _, resting := range []bool{false, true} {
		for _, pool := range pools {
			if found := a.freeIn(pool, families, now, resting); len(found) == len(families) {
				return found, nil
			}
		}
		all, refused = nil, nil
		for _, family := range families {
			var found []netip.Addr
			for _, pool := range pools {
				if found = a.freeIn(pool, []Family{family}, now, resting); len(found) > 0 {
					break
				}
			}
			if len(found) == 0 && refused == nil {
				refused = a.whyNone(pools, family, r.Pool)
			}
			all = append(all, found...)
		}
		if refused == nil {
			break
		}
	}
	return all, refused
}

func (a *Allocator) poolsFor(asked string) ([]*config.Pool, error) {
	if asked != "" {
		pool, ok := a.config.Pool(asked)
		if !ok {
			return nil, refuse(NoPool, "there is no pool %q", asked)
		}
		return []*config.Pool{pool}, nil
	}
	var pools []*config.Pool
	if a.config != nil {
		for i := range a.config.Pools {
			if a.config.Pools[i].AutoAssign {
				pools = append(pools, &a.config.Pools[i])
			}
		}
	}
	if len(pools) == 0 {
		return nil, refuse(NoPool, "no pool serves Services that do not ask for one")
	}
	return pools, nil
}

func (a *Allocator) freeIn(pool *config.Pool, families []Family, now time.Time, resting bool) []netip.Addr {
	var found []netip.Addr
	for _, family := range families {
		if s := a.index[spaceKey{pool.Name, family}]; s != nil {
			if addr, ok := s.first(now, resting); ok {
				found = append(found, addr)
			}
		}
	}
	return found
}

func (a *Allocator) whyNone(pools []*config.Pool, family Family, asked string) *Error {
	var full []string
	for _, pool := range pools {
		if s := a.index[spaceKey{pool.Name, family}]; s != nil {
			full = append(full, fmt.Sprintf("pool %q is exhausted (%d of %d in use)", pool.Name, len(s.used), s.usable))
		}
	}
	switch {
	case len(full) > 0:
		return refuse(Exhausted, "%s", strings.Join(full, ", "))
	case asked != "":
		return refuse(NoPool, "pool %q has no %s addresses", asked, family)
	}
	return refuse(NoPool, "no pool has %s addresses", family)
}
