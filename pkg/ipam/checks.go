package ipam

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/quote"
)

// checkAsked returns the reason why the Service cannot have addr, which it asks for, in
// addition to the addresses in keep; nil if it can.
func (a *Allocator) checkAsked(addr netip.Addr, r Request, c *claim, keep []netip.Addr) error {
	if err := a.checkAddr(addr, r, c, keep); err != nil {
		return err
	}
	pool, _ := a.config.PoolOf(addr) // checkAddr has found it
	if !pool.Requestable(r.Namespace, r.NamespaceLabels) {
		return refuse(Forbidden, "%s is in pool %q, and no Service of namespace %s can ask for an address of this pool (requests: %s)", addr, pool.Name, r.Namespace, pool.Requests)
	}
	if d, ok := a.cooldownOf(addr); ok && d.namespace != r.Namespace {
		left := max(time.Until(d.until), time.Millisecond)
		return &Error{Reason: Cooldown, RetryAfter: left, Msg: fmt.Sprintf(
			"%s was released by another namespace a moment ago, and is not free for others before %s (reuse-delay)", addr, d.until.UTC().Format(time.RFC3339))}
	}
	return nil
}

// cooldownOf returns the cooldown of an address that no Service has. In a rearrangement, an
// address that was released for another Service has no cooldown.
func (a *Allocator) cooldownOf(addr netip.Addr) (cooldown, bool) {
	s := a.spaceOf(addr)
	if s == nil || len(a.users[addr]) > 0 || a.handedOver[addr] {
		return cooldown{}, false
	}
	d, ok := s.cooldowns[addr]
	return d, ok && time.Now().Before(d.until)
}

// checkAddr returns the reason why the Service cannot have addr in addition to the
// addresses in keep, or nil. The address may be free or shared.
func (a *Allocator) checkAddr(addr netip.Addr, r Request, c *claim, keep []netip.Addr) error {
	if err := a.checkReserved(addr); err != nil {
		return err
	}
	users := a.users[addr]
	if err := users.checkSharing(addr, r); err != nil {
		return err
	}
	if !a.acrossNamespaces(addr) {
		if err := users.checkNamespace(addr, r); err != nil {
			return err
		}
	}
	if err := a.checkPool(addr, r); err != nil {
		return err
	}
	pool, _ := a.config.PoolOf(addr) // checkPool has found it
	if !users.inNamespace(r.Namespace) && a.room(pool, r, c, keep) < 1 {
		return overQuota(pool, r)
	}
	return nil
}

// checkPool returns the reason why no pool would give addr to the Service, or nil.
func (a *Allocator) checkPool(addr netip.Addr, r Request) *Error {
	p, ok := a.config.PoolOf(addr)
	switch {
	case !ok:
		return refuse(NoPool, "%s is in no pool", addr)
	case r.Pool != "" && p.Name != r.Pool:
		return refuse(Invalid, "%s is in pool %q, and the Service asks for pool %s", addr, p.Name, quote.Short(r.Pool))
	case !p.Serves(r.Namespace, r.NamespaceLabels, r.Labels):
		return refuse(NoPool, "%s is in pool %q, which is for other namespaces or Services", addr, p.Name)
	case !p.Gives(addr):
		return refuse(NoPool, "%s is in pool %q, which avoids addresses that end in .0 or .255 (avoid-buggy-ips)", addr, p.Name)
	}
	return nil
}

// checkReserved returns the reason why no Service may have addr, or nil.
func (a *Allocator) checkReserved(addr netip.Addr) *Error {
	if why, ok := a.reserved[addr]; ok {
		return refuse(Reserved, "%s is %s", addr, why)
	}
	return nil
}
