package closedports

import (
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// This file has the rules. They do not depend on what is wanted: only the elements of the
// sets do.
//
//	chain forward {
//	    type filter hook forward priority filter + 10; policy accept;
//	    ip daddr @addresses4 goto refuse
//	    ip daddr @networks4 goto refuse         (and both for IPv6)
//	}
//	chain refuse {
//	    meta nfproto != @alive return
//	    oifname != @links return
//	    ct state != new drop
//	    ip daddr . meta l4proto . th dport @taken4 drop           (and for IPv6)
//	    meta l4proto tcp limit rate 1000/second burst 1000 packets reject with tcp reset
//	    meta l4proto != tcp reject with icmpx port-unreachable
//	    drop
//	}
//	chain ping {
//	    type nat hook prerouting priority dstnat; policy accept;
//	    meta nfproto @alive ip daddr @addresses4 icmp type echo-request redirect       (and for IPv6)
//	}

// afterKubeProxy is the priority of the chain forward. A chain that drops a packet decides
// alone, so what kube-proxy drops (a client outside of loadBalancerSourceRanges, a node
// without an endpoint of a Service with the policy Local) must be dropped before this chain
// can answer it. kube-proxy's chains have the priority of "filter", 0, or an earlier one.
const afterKubeProxy nftables.ChainPriority = 10

// resetsPerSecond limits the TCP resets. The sender of a packet can be forged, and the
// answer then goes to a victim. The kernel limits ICMP errors itself (icmp_msgs_per_sec,
// icmpv6_time), but not TCP resets. More packets in a second are dropped.
const resetsPerSecond = 1000

type chain struct {
	name  string
	hook  *nftables.ChainHook // nil: other chains go to this one
	kind  nftables.ChainType
	order nftables.ChainPriority
	rules []rule
}

type rule struct {
	comment string // for people who list the rules
	exprs   []expr.Any
}

// chains returns the rules of the table. A chain comes before those that go to it.
func chains(answerPing bool) []chain {
	refuse := chain{name: "refuse", rules: []rule{
		{"the speaker does not run any more", exprs(loadFamily(), in(alive, true), verdict(expr.VerdictReturn))},
		{"the packet goes to the container network", exprs(load(expr.MetaKeyOIFNAME), in(linkNames, true), verdict(expr.VerdictReturn))},
		// A packet of a live connection that conntrack calls invalid, for example because
		// it is out of the window, is not translated and arrives here. An answer would end
		// the connection. The same rule drops ICMP errors that belong to no connection, and
		// the neighbor solicitations that layer 2 answers (conntrack does not track them).
		{"not the first packet of a connection", exprs(loadConntrackState(), is(binaryutil.NativeEndian.PutUint32(0)), drop())},
		{"a Service has the port, kube-proxy may not know it yet", exprs(family(unix.NFPROTO_IPV4), loadTaken(false), in(taken4, false), drop())},
		{"a Service has the port, kube-proxy may not know it yet", exprs(family(unix.NFPROTO_IPV6), loadTaken(true), in(taken6, false), drop())},
		{"", exprs(protocol(unix.IPPROTO_TCP), limit(resetsPerSecond), counter(), reject(unix.NFT_REJECT_TCP_RST, 0))},
		{"", exprs(notProtocol(unix.IPPROTO_TCP), counter(), reject(unix.NFT_REJECT_ICMPX_UNREACH, unix.NFT_REJECT_ICMPX_PORT_UNREACH))},
		{"too many", exprs(drop())},
	}}
	forward := chain{name: "forward", hook: nftables.ChainHookForward, kind: nftables.ChainTypeFilter, order: afterKubeProxy}
	for _, to := range []struct {
		ipv6 bool
		set  string
	}{{false, addrs4}, {false, networks4}, {true, addrs6}, {true, networks6}} {
		forward.rules = append(forward.rules, rule{exprs: exprs(familyOf(to.ipv6), loadDestination(to.ipv6), in(to.set, false), goTo(refuse.name))})
	}
	all := []chain{refuse, forward}
	if answerPing {
		// conntrack gives the answer the VIP as its source.
		all = append(all, chain{name: "ping", hook: nftables.ChainHookPrerouting, kind: nftables.ChainTypeNAT, order: *nftables.ChainPriorityNATDest, rules: []rule{
			{"", exprs(family(unix.NFPROTO_IPV4), in(alive, false), loadDestination(false), in(addrs4, false), protocol(unix.IPPROTO_ICMP), icmpType(8), &expr.Redir{})},
			{"", exprs(family(unix.NFPROTO_IPV6), in(alive, false), loadDestination(true), in(addrs6, false), protocol(unix.IPPROTO_ICMPV6), icmpType(128), &expr.Redir{})},
		}})
	}
	return all
}

// sets returns the sets of the table, without their elements.
func sets(t *nftables.Table) []*nftables.Set {
	port := func(addr nftables.SetDatatype) nftables.SetDatatype {
		return nftables.MustConcatSetType(addr, nftables.TypeInetProto, nftables.TypeInetService)
	}
	all := []*nftables.Set{
		{Name: addrs4, KeyType: nftables.TypeIPAddr},
		{Name: addrs6, KeyType: nftables.TypeIP6Addr},
		{Name: networks4, KeyType: nftables.TypeIPAddr, Interval: true},
		{Name: networks6, KeyType: nftables.TypeIP6Addr, Interval: true},
		{Name: taken4, KeyType: port(nftables.TypeIPAddr), Concatenation: true},
		{Name: taken6, KeyType: port(nftables.TypeIP6Addr), Concatenation: true},
		{Name: linkNames, KeyType: nftables.TypeIFName, KeyByteOrder: binaryutil.NativeEndian},
		{Name: alive, KeyType: nftables.TypeNFProto, HasTimeout: true},
	}
	for i, s := range all {
		// The library numbers sets with a counter that is not safe for several goroutines.
		s.Table, s.ID = t, uint32(i+1)
	}
	return all
}

// families are the elements of the set alive.
func families() []nftables.SetElement {
	return []nftables.SetElement{
		{Key: []byte{unix.NFPROTO_IPV4}, Timeout: lifetime},
		{Key: []byte{unix.NFPROTO_IPV6}, Timeout: lifetime},
	}
}

// The functions below make the parts of a rule. Those that load put a value into the
// register that those that compare read.

const (
	register = unix.NFT_REG32_00
	// words4 and words6 are the lengths of an IPv4 and of an IPv6 address, in registers of
	// four bytes.
	words4, words6 = 1, 4
)

// exprs makes a rule from expressions and lists of expressions.
func exprs(parts ...any) (all []expr.Any) {
	for _, p := range parts {
		if list, ok := p.([]expr.Any); ok {
			all = append(all, list...)
		} else {
			all = append(all, p.(expr.Any))
		}
	}
	return all
}

func load(key expr.MetaKey) expr.Any { return &expr.Meta{Key: key, Register: register} }

func loadFamily() expr.Any { return load(expr.MetaKeyNFPROTO) }

func is(value []byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: value}
}

func in(set string, invert bool) expr.Any {
	return &expr.Lookup{SourceRegister: register, SetName: set, Invert: invert}
}

func verdict(kind expr.VerdictKind) expr.Any { return &expr.Verdict{Kind: kind} }

func drop() []expr.Any { return []expr.Any{counter(), verdict(expr.VerdictDrop)} }

func goTo(chain string) expr.Any { return &expr.Verdict{Kind: expr.VerdictGoto, Chain: chain} }

func counter() expr.Any { return &expr.Counter{} }

// family matches the packets of a family. The family stays in the register.
func family(proto byte) []expr.Any { return []expr.Any{loadFamily(), is([]byte{proto})} }

func familyOf(ipv6 bool) []expr.Any {
	if ipv6 {
		return family(unix.NFPROTO_IPV6)
	}
	return family(unix.NFPROTO_IPV4)
}

func protocol(proto byte) []expr.Any {
	return []expr.Any{load(expr.MetaKeyL4PROTO), is([]byte{proto})}
}

func notProtocol(proto byte) []expr.Any {
	return []expr.Any{load(expr.MetaKeyL4PROTO), &expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: []byte{proto}}}
}

// loadDestination loads the destination address.
func loadDestination(ipv6 bool) expr.Any {
	if ipv6 {
		return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: 24, Len: 16}
	}
	return &expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}
}

// loadTaken loads the destination address, the protocol and the destination port, one after
// the other. The first four bytes of TCP, UDP and SCTP are the source and the destination
// port.
func loadTaken(ipv6 bool) []expr.Any {
	after := uint32(register + words4)
	if ipv6 {
		after = register + words6
	}
	return []expr.Any{
		loadDestination(ipv6),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: after},
		&expr.Payload{DestRegister: after + 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
	}
}

// loadConntrackState loads a number that is 0 if the packet does not begin a connection.
func loadConntrackState() []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: register},
		&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitNEW), Xor: make([]byte, 4)},
	}
}

// icmpType matches a type of ICMP or ICMPv6.
func icmpType(number byte) []expr.Any {
	return []expr.Any{&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1}, is([]byte{number})}
}

func limit(perSecond uint32) expr.Any {
	return &expr.Limit{Type: expr.LimitTypePkts, Rate: uint64(perSecond), Unit: expr.LimitTimeSecond, Burst: perSecond}
}

func reject(kind uint32, code uint8) expr.Any { return &expr.Reject{Type: kind, Code: code} }
