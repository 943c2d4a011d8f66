package spread

import (
	"encoding/binary"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// ipVersion has the layout of a header, and the registers of the rules. The kernel has 16
// registers of four bytes. Client and port are next to each other, because they are hashed together.
type ipVersion struct {
	version  string
	family   byte
	protocol []byte // in the Ethernet header
	addrLen  uint32
	saddr    uint32 // offsets in the header
	daddr    uint32
	ttl      uint32
	next     uint32 // the protocol
	icmp     byte

	node, client, port, device uint32
}

const r0 = unix.NFT_REG32_00

var (
	ipv4 = ipVersion{
		version: "4", family: ip4, protocol: []byte{0x08, 0x00}, addrLen: 4, saddr: 12, daddr: 16, ttl: 8, next: 9, icmp: unix.IPPROTO_ICMP,
		node: r0, client: r0 + 4, port: r0 + 5, device: r0 + 15,
	}
	ipv6 = ipVersion{
		version: "6", family: ip6, protocol: []byte{0x86, 0xdd}, addrLen: 16, saddr: 8, daddr: 24, ttl: 7, next: 6, icmp: unix.IPPROTO_ICMPV6,
		node: r0, client: r0 + 4, port: r0 + 8, device: r0 + 15,
	}
)

// key is what is hashed.
type key struct {
	load   []expression
	length uint32 // bytes
}

func (v ipVersion) clientAddr() key {
	return key{list(payload(expr.PayloadBaseNetworkHeader, v.saddr, v.addrLen, v.client)), v.addrLen}
}

func (v ipVersion) clientAndPort() key {
	return key{list(v.clientAddr().load, payload(expr.PayloadBaseTransportHeader, 0, 2, v.port)), v.addrLen + 4}
}

// innerClient is the client of the packet that an ICMP error repeats. That packet goes to the client.
func (v ipVersion) innerClient() key {
	return key{list(payload(expr.PayloadBaseTransportHeader, innerStart+v.daddr, v.addrLen, v.client)), v.addrLen}
}

func (v ipVersion) innerClientAndPort() key {
	return key{list(v.innerClient().load, payload(expr.PayloadBaseTransportHeader, innerStart+v.daddr+v.addrLen+2, 2, v.port)), v.addrLen + 4}
}

// innerStart is where the packet is that an ICMP error repeats, in the transport header. In a fragment, the
// fragment header follows that of IPv6 (RFC 8200, section 4.5). It begins with the protocol, and is in each
// fragment of a datagram.
const (
	innerStart = 8
	ipv6Header = 40
)

// packets are a kind of packets that are hashed in the same way.
type packets struct {
	comment string
	match   []expression
	key     key
}

// packets returns how packets are hashed. No packet is of two kinds, because a packet in a slot of
// this node goes on to the next rule. Fragments of a datagram do not have ports. A UDP flow can have both fragments and whole datagrams,
// so all of it is hashed by the address.
func (v ipVersion) packets(byAddress bool) []packets {
	protocol := meta(expr.MetaKeyL4PROTO)
	inner := list(v.icmpError(), payload(expr.PayloadBaseTransportHeader, innerStart+v.next, 1, r0))
	innerFragment := list(inner, is([]byte{unix.IPPROTO_FRAGMENT}), payload(expr.PayloadBaseTransportHeader, innerStart+ipv6Header, 1, r0))
	udp := is([]byte{unix.IPPROTO_UDP})
	if byAddress {
		all := []packets{
			{"all flows of a client", list(protocol, in(spreadProtocols)), v.clientAddr()},
			{"ICMP errors", list(inner, in(spreadProtocols)), v.innerClient()},
		}
		if v.family == ip6 {
			all = append(all, packets{"ICMP errors for fragments", list(innerFragment, in(spreadProtocols)), v.innerClient()})
		}
		return all
	}
	all := []packets{
		{"TCP and SCTP", list(protocol, in(withPorts), v.isFragment(false)), v.clientAndPort()},
		{"UDP", list(protocol, udp), v.clientAddr()},
		{"fragments of TCP and SCTP", list(protocol, in(withPorts), v.isFragment(true)), v.clientAddr()},
		{"ICMP errors for TCP and SCTP", list(inner, in(withPorts)), v.innerClientAndPort()},
		{"ICMP errors for UDP", list(inner, udp), v.innerClient()},
	}
	if v.family == ip6 { // the header of IPv4 has the protocol, also in a fragment
		all = append(all, packets{"ICMP errors for fragments of UDP", list(innerFragment, udp), v.innerClient()})
	}
	return all
}

// isFragment matches the parts of a packet that was divided, or packets that were not.
func (v ipVersion) isFragment(want bool) []expression {
	if v.family == ip6 {
		present := byte(0)
		if want {
			present = 1
		}
		return list(&expr.Exthdr{DestRegister: r0, Type: unix.IPPROTO_FRAGMENT, Len: 1, Flags: unix.NFT_EXTHDR_F_PRESENT, Op: expr.ExthdrOpIpv6}, is([]byte{present}))
	}
	compare := is([]byte{0, 0})
	if want {
		compare = differs([]byte{0, 0})
	}
	return list(payload(expr.PayloadBaseNetworkHeader, 6, 2, r0), masked([]byte{0x3f, 0xff}), compare)
}

// icmpError matches ICMP errors. The header of the packet in an error has no options.
func (v ipVersion) icmpError() []expression {
	match := list(
		meta(expr.MetaKeyL4PROTO), is([]byte{v.icmp}),
		payload(expr.PayloadBaseTransportHeader, 0, 1, r0), in(icmpErrors+v.version))
	if v.family == ip6 {
		return match
	}
	return list(match, payload(expr.PayloadBaseTransportHeader, innerStart, 1, r0), is([]byte{0x45}))
}

// writeTTL sets the TTL. The registers of the node and of the device are in use at that time.
func (v ipVersion) writeTTL(ttl byte) []expression {
	if v.family == ip6 {
		return list(immediate(v.client, []byte{ttl}), &expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: v.client, Base: expr.PayloadBaseNetworkHeader, Offset: v.ttl, Len: 1})
	}
	// The checksum needs two bytes at an even offset: the TTL and the protocol, which is TCP.
	return list(immediate(v.client, []byte{ttl, unix.IPPROTO_TCP}), &expr.Payload{
		OperationType: expr.PayloadWrite, SourceRegister: v.client, Base: expr.PayloadBaseNetworkHeader, Offset: v.ttl, Len: 2,
		CsumType: expr.CsumTypeInet, CsumOffset: 10,
	})
}

// The functions below make the parts of a rule. Those that compare read the register r0.

// list makes a list from expressions and lists of expressions.
func list(parts ...any) (all []expression) {
	for _, p := range parts {
		if l, ok := p.([]expression); ok {
			all = append(all, l...)
		} else {
			all = append(all, p)
		}
	}
	return all
}

func meta(key expr.MetaKey) expression { return &expr.Meta{Key: key, Register: r0} }

func payload(base expr.PayloadBase, offset, length, register uint32) expression {
	return &expr.Payload{Base: base, Offset: offset, Len: length, DestRegister: register}
}

func immediate(register uint32, data []byte) expression {
	return &expr.Immediate{Register: register, Data: data}
}

func is(data []byte) expression { return &expr.Cmp{Op: expr.CmpOpEq, Register: r0, Data: data} }

func differs(data []byte) expression {
	return &expr.Cmp{Op: expr.CmpOpNeq, Register: r0, Data: data}
}

func in(set string) expression { return &expr.Lookup{SourceRegister: r0, SetName: set} }

func notIn(set string) expression {
	return &expr.Lookup{SourceRegister: r0, SetName: set, Invert: true}
}

func accept() expression { return &expr.Verdict{Kind: expr.VerdictAccept} }

func drop() expression { return &expr.Verdict{Kind: expr.VerdictDrop} }

func masked(mask []byte) expression {
	return &expr.Bitwise{SourceRegister: r0, DestRegister: r0, Len: uint32(len(mask)), Mask: mask, Xor: make([]byte, len(mask))}
}

// native returns a number as a register holds it.
func native(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// ifname returns the name of an interface as the kernel compares it.
func ifname(name string) []byte {
	var b [unix.IFNAMSIZ]byte
	copy(b[:len(b)-1], name)
	return b[:]
}
