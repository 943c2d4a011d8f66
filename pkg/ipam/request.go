package ipam

import (
	"fmt"
	"net/netip"
	"slices"
)

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
	// Namespace and Name of the Service.
	Namespace, Name string
	// NamespaceLabels and Labels decide which pools serve the Service.
	NamespaceLabels, Labels map[string]string
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
	// Claimed are addresses that the Service says it has. The allocator gives it
	// those, if it would give them to it at all, before others.
	Claimed []netip.Addr
	Sharing Sharing
}

// Sharing says with whom a Service shares an address: Services with the same
// Key, the same Backend and no common port.
type Sharing struct {
	// Key is empty for a Service that shares with nobody.
	Key   string
	Ports []Port
	// Backend is what the nodes that can take the Service's traffic depend on:
	// empty if all can, and the same for two Services only if the same nodes can.
	Backend string
}

// Port is one that a Service listens on.
type Port struct {
	Protocol string // "TCP", "UDP" or "SCTP"
	Number   uint16
}

// String returns the form 53/UDP.
func (p Port) String() string { return fmt.Sprintf("%d/%s", p.Number, p.Protocol) }

// claim is what a Service holds.
type claim struct {
	uid, namespace, name string
	pool                 string // the Pool of the last Request that was granted
	addrs                []netip.Addr
	sharing              Sharing
}

func (c *claim) String() string { return c.namespace + "/" + c.name }

// users are the Services that hold an address: one, or several that share it.
type users []*claim

// without returns the users but the one of that UID.
func (u users) without(uid string) users {
	return slices.DeleteFunc(slices.Clone(u), func(c *claim) bool { return c.uid == uid })
}

// inNamespace reports whether one of the users is in the namespace.
func (u users) inNamespace(namespace string) bool {
	return slices.ContainsFunc(u, func(c *claim) bool { return c.namespace == namespace })
}

// clash says why r cannot have addr together with those who have it, or nil.
func (u users) clash(addr netip.Addr, r Request) *Error {
	for _, c := range u {
		var why string
		switch {
		case c.uid == r.UID:
			continue
		case r.Sharing.Key == "" || c.sharing.Key == "":
		case r.Sharing.Key != c.sharing.Key:
			why = ", whose share key is another one"
		case r.Sharing.Backend != c.sharing.Backend:
			why = ", and with externalTrafficPolicy: Local only Services of one namespace and with the same selector can share it"
		default:
			i := slices.IndexFunc(r.Sharing.Ports, func(p Port) bool { return slices.Contains(c.sharing.Ports, p) })
			if i < 0 {
				continue
			}
			why = fmt.Sprintf(", which has port %s too", r.Sharing.Ports[i])
		}
		return refuse(InUse, "%s is used by %s%s", addr, c, why)
	}
	return nil
}

// stranger says that one of the users is in another namespace than r, or nil.
func (u users) stranger(addr netip.Addr, r Request) *Error {
	for _, c := range u {
		if c.namespace != r.Namespace {
			return refuse(InUse, "%s is used by %s in another namespace, and its pool does not say share-across-namespaces", addr, c)
		}
	}
	return nil
}
