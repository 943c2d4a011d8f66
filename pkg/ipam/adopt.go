package ipam

import (
	"fmt"
	"net/netip"
	"slices"
)

// Adoption is what Adopt has done with one address of a status.
type Adoption struct {
	Addr netip.Addr
	// Refused says why the Service does not have the address; nil if it has it.
	Refused *Error
	// Warning is about an address that the Service has, but that it would not get now.
	// It is empty if there is none.
	Warning string
}

// Adopt records that the Service holds the addresses of r.Claimed already. It decides like
// Allocate, with two exceptions. It never looks at quotas and requests. Services of several
// namespaces keep an address that they share already, because MetalLB allows this.
//
// It does not adopt an address that no pool gives to the Service, unless it is a published
// orphan of this Service. With trust it adopts such addresses, too: an older version, which
// published nothing, gave them.
func (a *Allocator) Adopt(r Request, trust bool) []Adoption {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.claimOf(r)
	defer a.forgetEmpty(c)
	var result []Adoption
	for _, addr := range r.Claimed {
		if slices.Contains(c.addrs, addr) {
			continue
		}
		adoption := Adoption{Addr: addr, Refused: a.checkAdoption(addr, r, trust)}
		if adoption.Refused == nil {
			if other := a.users[addr].inOtherNamespace(r.Namespace); other != nil && !a.acrossNamespaces(addr) {
				adoption.Warning = fmt.Sprintf("%s is shared with %s in another namespace, and its pool does not set share-across-namespaces", addr, other)
			}
			a.take(c, addr)
			if o, ok := a.published[addr]; ok && slices.Contains(o.UIDs, r.UID) {
				home := c.from.of(addr).home
				if home == nil {
					home = o.Pool
				}
				c.from.set(origin{addr, o.Pool.Name, home})
			}
		}
		result = append(result, adoption)
	}
	return result
}

func (a *Allocator) checkAdoption(addr netip.Addr, r Request, trust bool) *Error {
	if err := a.checkReserved(addr); err != nil {
		return err
	}
	if o, ok := a.published[addr]; !trust && !(ok && slices.Contains(o.UIDs, r.UID)) {
		r := r
		r.Pool = "" // Allocate compares it
		if err := a.checkPool(addr, r); err != nil {
			return err
		}
	}
	return a.users[addr].checkSharing(addr, r)
}
