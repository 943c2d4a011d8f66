package spread

import (
	"slices"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// set describes a set. Its elements are in a ruleset.
type set struct {
	family  byte
	name    string
	key     dataType
	data    *dataType // nil: the set is no map of data
	goTo    bool      // the set is a map to chains
	counts  bool
	expires bool
}

// dataType is how nft shows the elements, and their length in bytes.
type dataType struct{ magic, length uint32 }

func typeOf(t nftables.SetDatatype) dataType { return dataType{t.GetNFTMagic(), t.Bytes} }

var (
	addr4, addr6 = typeOf(nftables.TypeIPAddr), typeOf(nftables.TypeIP6Addr)
	etherAddr    = typeOf(nftables.TypeEtherAddr)
	mark         = typeOf(nftables.TypeMark)
	protocols    = typeOf(nftables.TypeInetProto)
	ethertype    = typeOf(nftables.TypeEtherType)
	nfproto      = typeOf(nftables.TypeNFProto)
	icmpType4    = typeOf(nftables.TypeICMPType)
	icmpType6    = typeOf(nftables.TypeICMP6Type)
)

// addrType is the type of the addresses.
func (v ipVersion) addrType() dataType {
	if v.family == ip6 {
		return addr6
	}
	return addr4
}

// sets returns the sets that the rules use.
func (r *ruleset) sets() (all []set) {
	all = []set{
		{family: netdev, name: alive, key: ethertype, expires: true},
		{family: netdev, name: members, key: etherAddr},
		{family: netdev, name: withPorts, key: protocols},
		{family: netdev, name: spreadProtocols, key: protocols},
		{family: netdev, name: icmpErrors + ipv4.version, key: icmpType4},
		{family: netdev, name: icmpErrors + ipv6.version, key: icmpType6},
	}
	for _, v := range []ipVersion{ipv4, ipv6} {
		all = append(all, set{family: v.family, name: alive, key: nfproto, expires: true})
	}
	for _, l := range r.links {
		for _, v := range l.versions() {
			all = append(all,
				set{family: netdev, name: v.vipsOn(l.name), key: v.addrType(), goTo: true, counts: true},
				set{family: v.family, name: v.vipsOn(l.name), key: v.addrType(), goTo: true})
		}
	}
	for _, f := range r.flows {
		all = append(all, f.sets()...)
	}
	return all
}

// sets returns the maps from the slots to the nodes.
func (f flows) sets() []set {
	v := f.version()
	addr := v.addrType()
	return []set{
		{family: netdev, name: f.slotsSet(), key: mark, data: &addr, counts: true},
		{family: v.family, name: f.nextSet(), key: mark, data: &addr, counts: true},
	}
}

// counting returns the sets that count.
func (r *ruleset) counting() []set {
	return slices.DeleteFunc(r.sets(), func(s set) bool { return !s.counts })
}

// constants are the elements that never change.
func constants() elements {
	all := elements{}
	add := func(name string, keys ...byte) {
		for _, k := range keys {
			all[setName{netdev, name}] = append(all[setName{netdev, name}], element{key: string([]byte{k})})
		}
	}
	add(withPorts, unix.IPPROTO_TCP, unix.IPPROTO_SCTP)
	add(spreadProtocols, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP)
	add(icmpErrors+ipv4.version, 3, 11, 12)  // RFC 792: destination unreachable, time exceeded, parameter problem
	add(icmpErrors+ipv6.version, 1, 2, 3, 4) // RFC 4443, section 3: with packet too big
	return all
}

// aliveElements are the elements whose lifetime begins again at a refresh.
func aliveElements() elements {
	return elements{
		{netdev, alive}: {{key: "\x08\x00"}, {key: "\x86\xdd"}},
		{ip4, alive}:    {{key: string([]byte{ip4})}},
		{ip6, alive}:    {{key: string([]byte{ip6})}},
	}
}
