package ipam

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/quote"
)

// PoolRefusal says why a pool gives a Service no address.
type PoolRefusal struct{ Pool, Why string }

// WhyNot says of each pool why it gives no address for a request that was refused, in the order
// in which the pools are tried. It changes nothing.
func (a *Allocator) WhyNot(r Request) []PoolRefusal {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.config == nil {
		return nil
	}
	c := a.claims[r.UID]
	if c == nil {
		c = &claim{uid: r.UID, namespace: r.Namespace, name: r.Name}
	}
	refusals := make([]PoolRefusal, 0, len(a.order))
	for _, pool := range a.order {
		refusals = append(refusals, PoolRefusal{pool.Name, a.whyNot(pool, r, c)})
	}
	return refusals
}

func (a *Allocator) whyNot(pool *config.Pool, r Request, c *claim) string {
	if len(r.Addrs) > 0 {
		return a.whyNotAsked(pool, r, c)
	}
	switch {
	case r.Pool != "" && r.Pool != pool.Name:
		return "the Service asks for pool " + quote.Short(r.Pool)
	case isForOthers(pool, r):
		return "it is for other namespaces (namespaces, namespace-selectors)"
	case !pool.Serves(r.Namespace, r.NamespaceLabels, r.Labels):
		return "its service-selectors do not select the Service"
	case r.Pool == "" && !pool.AutoAssign:
		return "it serves only Services that ask for it (auto-assign: false)"
	}
	return a.whyNotFree(pool, r, c)
}

// isForOthers reports whether the pool is for other namespaces than that of the request.
func isForOthers(pool *config.Pool, r Request) bool {
	open := *pool
	open.ServiceSelectors = nil
	return !open.Serves(r.Namespace, r.NamespaceLabels, r.Labels)
}

// whyNotFree says why a pool that serves the Service has no address for it.
func (a *Allocator) whyNotFree(pool *config.Pool, r Request, c *claim) string {
	var why []string
	free := false
	for _, family := range r.Families {
		if slices.ContainsFunc(c.addrs, func(held netip.Addr) bool { return FamilyOf(held) == family }) {
			continue
		}
		switch s := a.index[spaceKey{pool.Name, family}]; {
		case s == nil:
			why = append(why, fmt.Sprintf("it has no %s addresses", family))
		case s.full():
			why = append(why, fmt.Sprintf("it is exhausted (%d of %d %s addresses in use)", len(s.used), s.usable(), family))
		default:
			free = true
		}
	}
	if free && a.room(pool, r, c, c.addrs) < 1 {
		why = append(why, fmt.Sprintf("namespace %s has as many of its addresses as it may have, %d (max-per-namespace)", r.Namespace, pool.MaxPerNamespace))
	}
	if len(why) == 0 {
		return "it could give an address, but not all that the Service asks for"
	}
	return strings.Join(why, ", ")
}

// whyNotAsked says why a pool does not give the addresses that the Service asks for.
func (a *Allocator) whyNotAsked(pool *config.Pool, r Request, c *claim) string {
	var why []string
	for _, addr := range r.Addrs {
		if of, ok := a.config.PoolOf(addr); !ok || of.Name != pool.Name {
			continue
		}
		if slices.Contains(c.addrs, addr) {
			continue
		}
		if err := a.checkAsked(addr, r, c, nil); err != nil {
			why = append(why, err.Error())
		} else {
			why = append(why, fmt.Sprintf("it could give %s, but not all that the Service asks for", addr))
		}
	}
	if len(why) == 0 {
		return "it does not have the address that the Service asks for"
	}
	return strings.Join(why, ", ")
}
