package members

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"

	"github.com/hashicorp/memberlist"
)

// Profile is what a member says about itself.
type Profile struct {
	// Fenced members announce nothing: they have no usable link, or hear no other member.
	Fenced bool
	// Suppressed members died too often in the last minutes. Other members are preferred.
	Suppressed bool
	// Returned members could not announce for a while, and have come back a short time ago.
	Returned bool
	// Starting members are fenced only because they wait for the other speakers to start.
	Starting bool
	// Leaving members are about to end.
	Leaving bool
	// Advertises is set if the member has an established BGP session.
	Advertises bool
	// Spreads is set if the member can hand flows on to other nodes, and its kernel has the rules.
	Spreads bool
	// HandsOn is set if its kernel hands segments of unknown connections on. The rules may be those of the speaker before.
	HandsOn bool
	// Links are those on which the member can announce.
	Links []Link
	// Version is higher than that of any profile of the member before; 0 if it does not say.
	Version uint64
}

// Link is a network interface of a member.
type Link struct {
	Name string
	MAC  [6]byte
	// IPv4 and IPv6 are its addresses with the lengths of their prefixes; the zero
	// value for none.
	IPv4, IPv6 netip.Prefix
	// Networks are the networks to which the link is connected.
	Networks []netip.Prefix
	// Ports are other MAC addresses from which the link sends.
	Ports [][6]byte
}

// equal reports whether two links are the same.
func (l Link) equal(m Link) bool {
	return l.Name == m.Name && l.MAC == m.MAC && l.IPv4 == m.IPv4 && l.IPv6 == m.IPv6 && slices.Equal(l.Networks, m.Networks) && slices.Equal(l.Ports, m.Ports)
}

// ownNetworks returns the networks of the link's addresses, the smaller one first. These are
// its networks if nothing else is said.
func (l Link) ownNetworks() (networks []netip.Prefix) {
	for _, p := range []netip.Prefix{l.IPv6, l.IPv4} {
		if p.IsValid() && !p.IsSingleIP() {
			networks = append(networks, p.Masked())
		}
	}
	return networks
}

// Equal reports whether two profiles say the same, whatever their versions are.
func (p Profile) Equal(q Profile) bool {
	return p.Fenced == q.Fenced && p.Suppressed == q.Suppressed && p.Leaving == q.Leaving && p.Advertises == q.Advertises && p.Returned == q.Returned && p.Starting == q.Starting && p.Spreads == q.Spreads && p.HandsOn == q.HandsOn && slices.EqualFunc(p.Links, q.Links, Link.equal)
}

const (
	profileVersion = 1
	fencedBit      = 1 << 0
	suppressedBit  = 1 << 1
	leavingBit     = 1 << 2
	advertisesBit  = 1 << 3
	returnedBit    = 1 << 4
	startingBit    = 1 << 5
	spreadsBit     = 1 << 6 // older versions ignore it
	handsOnBit     = 1 << 7 // the same. It is the last one: a later version needs a record for more.
	// Each record after the links begins with one of these.
	networksRecord = 1
	portsRecord    = 2
	versionRecord  = 3
	versionLength  = 3 + 8
)

// encode writes a profile in at most limit bytes, with its version at the end.
func encode(p Profile, limit int) []byte {
	b := append(encodeLinks(p, limit-versionLength), versionRecord, 0, 1)
	return binary.BigEndian.AppendUint64(b, p.Version)
}

// encodeLinks writes all but the version. It leaves out links that do not
// fit, and then records. The form is: version, flags, number of links; for each link its
// name, its MAC address, and its IPv4 and IPv6 address with the length of the prefix. Each
// part of variable length follows its own length.
//
// Then there are records: kind, place of a link in the list, number of elements, elements.
// Version 0.1.0 does not read them. A link without a record of its networks has ownNetworks.
func encodeLinks(p Profile, limit int) []byte {
	b := []byte{profileVersion, 0, 0}
	if p.Fenced {
		b[1] |= fencedBit
	}
	if p.Suppressed {
		b[1] |= suppressedBit
	}
	if p.Leaving {
		b[1] |= leavingBit
	}
	if p.Advertises {
		b[1] |= advertisesBit
	}
	if p.Returned {
		b[1] |= returnedBit
	}
	if p.Starting {
		b[1] |= startingBit
	}
	if p.HandsOn {
		b[1] |= handsOnBit
	}
	if p.Spreads {
		b[1] |= spreadsBit
	}
	for _, l := range p.Links {
		length := len(b)
		b = append(b, byte(len(l.Name)))
		b = append(append(b, l.Name...), l.MAC[:]...)
		for _, prefix := range []netip.Prefix{l.IPv4, l.IPv6} {
			addr := prefix.Addr().AsSlice()
			b = append(append(b, byte(len(addr))), addr...)
			if len(addr) > 0 {
				b = append(b, byte(prefix.Bits()))
			}
		}
		if len(b) > limit {
			return b[:length]
		}
		b[2]++
	}
	for i, l := range p.Links {
		length := len(b)
		if !slices.Equal(l.Networks, l.ownNetworks()) {
			b = append(b, networksRecord, byte(i), byte(len(l.Networks)))
			for _, n := range l.Networks {
				addr := n.Addr().AsSlice()
				b = append(append(append(b, byte(len(addr))), addr...), byte(n.Bits()))
			}
		}
		if len(l.Ports) > 0 {
			b = append(b, portsRecord, byte(i), byte(len(l.Ports)))
			for _, mac := range l.Ports {
				b = append(b, mac[:]...)
			}
		}
		if len(b) > limit {
			return b[:length]
		}
	}
	return b
}

// Told returns what the other members read of a profile: a profile has a limit, and what does
// not fit is left out. A speaker must decide about itself by the same facts as the others.
func Told(p Profile) Profile {
	told, err := decode(encode(p, memberlist.MetaMaxSize))
	if err != nil {
		return p // the others cannot read it either; SetProfile logs it
	}
	return told
}

// Decode reads what Members.SetProfile has returned on another node.
func Decode(b []byte) (Profile, error) { return decode(b) }

var errProfile = errors.New("the profile of the member cannot be read")

// decode reads a profile. A speaker of another version may have written it.
func decode(b []byte) (Profile, error) {
	if len(b) < 3 || b[0] != profileVersion {
		return Profile{}, errProfile
	}
	r := reader{b[3:], true}
	p := Profile{Fenced: b[1]&fencedBit != 0, Suppressed: b[1]&suppressedBit != 0, Leaving: b[1]&leavingBit != 0, Advertises: b[1]&advertisesBit != 0, Returned: b[1]&returnedBit != 0, Starting: b[1]&startingBit != 0, Spreads: b[1]&spreadsBit != 0, HandsOn: b[1]&handsOnBit != 0}
	for range b[2] {
		l := Link{Name: string(r.take(int(r.byte())))}
		copy(l.MAC[:], r.take(6))
		l.IPv4, l.IPv6 = r.prefix(), r.prefix()
		if !r.ok || l.IPv4.IsValid() && !l.IPv4.Addr().Is4() || l.IPv6.IsValid() && !l.IPv6.Addr().Is6() {
			return Profile{}, errProfile
		}
		l.Networks = l.ownNetworks()
		p.Links = append(p.Links, l)
	}
	p.Version = r.records(p.Links)
	if !r.ok {
		return Profile{}, errProfile
	}
	return p, nil
}

// records reads the records after the links, up to one of a kind that it does not know. It
// returns the version of the profile.
func (r *reader) records(links []Link) (version uint64) {
	for r.ok && len(r.rest) > 0 {
		kind, at, count := r.byte(), int(r.byte()), int(r.byte())
		if kind == versionRecord {
			if b := r.take(8); r.ok {
				version = binary.BigEndian.Uint64(b)
			}
			continue
		}
		if kind != networksRecord && kind != portsRecord {
			return version
		}
		if at >= len(links) {
			r.ok = false
			return version
		}
		if kind == networksRecord {
			links[at].Networks = nil
		} else {
			links[at].Ports = nil
		}
		for range count {
			if kind == networksRecord {
				network := r.prefix()
				links[at].Networks = append(links[at].Networks, network)
				r.ok = r.ok && network.IsValid()
				continue
			}
			var mac [6]byte
			copy(mac[:], r.take(6))
			links[at].Ports = append(links[at].Ports, mac)
		}
	}
	return version
}

// reader reads bytes. It is not ok any more after it has read past the end.
type reader struct {
	rest []byte
	ok   bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.rest, r.ok = nil, false
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) byte() byte {
	if b := r.take(1); r.ok {
		return b[0]
	}
	return 0
}

func (r *reader) prefix() netip.Prefix {
	length := int(r.byte())
	if length == 0 {
		return netip.Prefix{}
	}
	addr, ok := netip.AddrFromSlice(r.take(length))
	prefix := netip.PrefixFrom(addr, int(r.byte()))
	r.ok = r.ok && ok && prefix.IsValid()
	return prefix
}
