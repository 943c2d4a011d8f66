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
	// UID distinguishes the Service from an earlier Service of the same name.
	UID string
	// Namespace and Name of the Service.
	Namespace, Name string
	// NamespaceLabels and Labels decide which pools serve the Service.
	NamespaceLabels, Labels map[string]string
	// Families wanted, in the order in which addresses are returned.
	Families []Family
	// RequireAll refuses the request when one of the families has no free address.
	RequireAll bool
	// Addrs, if not empty, are the addresses that the Service asks for: at most one of
	// each family. The Service gets no other address.
	Addrs []netip.Addr
	// Pool, if not empty, is the pool to take addresses from. It need not be an AutoAssign
	// pool. The Service keeps an address that this pool has, or had when the Service got
	// it: the operator may have edited the pools. It does not keep other addresses.
	Pool string
	// Claimed are the addresses that the Service has according to its status. The
	// allocator prefers them to other addresses, if the Service may have them.
	Claimed []netip.Addr
	Sharing Sharing
}

// Sharing describes the Services with which a Service can share an address: those with
// the same Key and the same Backend, and without a common port.
type Sharing struct {
	// Key is empty for a Service that does not share its addresses.
	Key   string
	Ports []Port
	// Backend is empty if all nodes can receive the Service's traffic. Two Services have
	// the same Backend only if the same nodes can receive their traffic.
	Backend string
}

func (s Sharing) equal(t Sharing) bool {
	return s.Key == t.Key && s.Backend == t.Backend && slices.Equal(s.Ports, t.Ports)
}

// Port is a port that a Service listens on.
type Port struct {
	Protocol string // "TCP", "UDP" or "SCTP"
	Number   uint16
}

// String returns the form 53/UDP.
func (p Port) String() string { return fmt.Sprintf("%d/%s", p.Number, p.Protocol) }

// checkSharing returns the reason why r cannot have addr together with its users, or nil.
func (u users) checkSharing(addr netip.Addr, r Request) *Error {
	for _, c := range u {
		var why string
		switch {
		case c.uid == r.UID:
			continue
		case r.Sharing.Key == "" || c.sharing.Key == "":
		case r.Sharing.Key != c.sharing.Key:
			why = ", which has another share key"
		case r.Sharing.Backend != c.sharing.Backend:
			why = "; with externalTrafficPolicy: Local only Services of one namespace and with the same selector can share an address"
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

// checkNamespace refuses addr if one of its users is in another namespace than r.
func (u users) checkNamespace(addr netip.Addr, r Request) *Error {
	if c := u.inOtherNamespace(r.Namespace); c != nil {
		return refuse(InUse, "%s is used by %s in another namespace, and its pool does not set share-across-namespaces", addr, c)
	}
	return nil
}
