package spread

import (
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
)

// This file has the rules. For a VIP with IPv4 on the link eth0 they are:
//
//	table netdev baremetal-spread
//	chain ingress-eth0 {
//	    type filter hook ingress device eth0 priority filter + 10; policy accept;
//	    meta protocol != @alive accept               the speaker does not run any more
//	    ether type 8021q accept, 8021ad accept       for a VLAN of the link
//	    meta pkttype != host accept                  a switch floods a frame for another host
//	    ether saddr @members accept                  the frame has made its step
//	    ip daddr vmap @vips4-eth0                    goto flows-1
//	}
//	chain flows-1 {
//	    TCP or SCTP, no fragment:   fwd ip to jhash ip saddr . th sport mod 256 map @slots-1 device eth0
//	    UDP, or a fragment:         fwd ip to jhash ip saddr mod 256 map @slots-1 device eth0
//	    an ICMP error:              the same with the addresses and ports of the packet in it
//	}
//
// A slot that this node carries is not in slots-1, so the rule ends there. If all flows of a client
// go to one node, all rules hash the address alone.
//
//	table ip baremetal-spread
//	chain prerouting {
//	    type filter hook prerouting priority raw + 101; policy accept;
//	    meta nfproto != @alive accept
//	    iifname eth0 tcp flags ! syn ct state new,invalid ip daddr vmap @vips4-eth0
//	}
//	chain flows-1 {
//	    ip ttl > 8 ip ttl set 8 dup to jhash ip saddr . tcp sport mod 256 map @next-1 device eth0 drop
//	    ip ttl > 5              dup to the same
//	    ct state invalid and no FIN or RST: drop
//	    ip ttl > 4 ip ttl set 5 dup to jhash ip saddr . tcp sport mod 256 offset 256 map @next-1 device eth0 drop
//	    ct state invalid drop
//	}
//
// VIPs with the same slots share the rules and the sets of their flows.

// TableName is the name of the three tables.
const TableName = "baremetal-spread"

// The families of the tables.
const (
	netdev = unix.NFPROTO_NETDEV
	ip4    = unix.NFPROTO_IPV4
	ip6    = unix.NFPROTO_IPV6
)

// The names of the sets, beside those of links and flows.
const (
	alive           = "alive"
	members         = "members" // MAC addresses
	withPorts       = "with-ports"
	spreadProtocols = "protocols"
	icmpErrors      = "icmp-errors"
)

// vipsOn is the name of the map from the VIPs on a link to the chains of their flows.
func (v ipVersion) vipsOn(link string) string { return "vips" + v.version + "-" + link }

const (
	// afterCapture is the priority of the ingress chains. Programs that only look use an earlier one.
	afterCapture = 10
	// betweenConntrackAndNAT is the priority of the chains in the hook prerouting: conntrack is at
	// -200, the translation to the addresses of pods at -100.
	betweenConntrackAndNAT = -199
	// minHandedTTL ends the way of a segment: it is handed on only if its TTL is higher. The first node sets
	// the TTL to minHandedTTL and the size of the ring, and each step takes one. So a segment that no node
	// knows ends where it began. If the tables of the nodes differ, it ends after as many steps. A segment
	// with exactly this TTL has come around, and makes one last step to a node that cannot hand on. The rest of
	// the TTL is for the way to a pod.
	minHandedTTL = 5
	// lastSlots is added to a slot for the node of the last step: both kinds of nodes are in the same map.
	lastSlots = election.Slots
	// seed is the same on all nodes, so that a flow has the same slot on all of them.
	seed = 0x6c627370
)

type chain struct {
	family byte
	name   string
	// hook is nil for a chain to which others go. device is for the family netdev.
	hook     *uint32
	device   string
	priority int32
	rules    []rule
}

type rule struct {
	comment string // for people who list the rules
	exprs   []expression
}

// expression is an expr.Any, or a forward.
type expression any

// chains returns the rules. A chain comes before those that go to it.
func (r *ruleset) chains() (all []chain) {
	for _, f := range r.flows {
		all = append(all, f.chains()...)
	}
	ingressHook, preroutingHook := uint32(unix.NF_NETDEV_INGRESS), uint32(unix.NF_INET_PRE_ROUTING)
	prerouting := map[byte]*chain{}
	for _, l := range r.links {
		ingress := chain{family: netdev, name: "ingress-" + l.name, hook: &ingressHook, device: l.name, priority: afterCapture, rules: []rule{
			{"the speaker does not run any more", list(meta(expr.MetaKeyPROTOCOL), notIn(alive), accept())},
			{"for a VLAN of the link", list(payload(expr.PayloadBaseLLHeader, 12, 2, r0), is([]byte{0x81, 0x00}), accept())},
			{"for a VLAN of the link", list(payload(expr.PayloadBaseLLHeader, 12, 2, r0), is([]byte{0x88, 0xa8}), accept())},
			{"for another host", list(meta(expr.MetaKeyPKTTYPE), differs([]byte{unix.PACKET_HOST}), accept())},
			{"from another speaker", list(payload(expr.PayloadBaseLLHeader, 6, 6, r0), in(members), accept())},
		}}
		for _, v := range l.versions() {
			ingress.rules = append(ingress.rules, rule{"", list(meta(expr.MetaKeyPROTOCOL), is(v.protocol), v.goToFlows(l.name))})
			c := prerouting[v.family]
			if c == nil {
				c = &chain{family: v.family, name: "prerouting", hook: &preroutingHook, priority: betweenConntrackAndNAT, rules: []rule{
					{"the speaker does not run any more", list(meta(expr.MetaKeyNFPROTO), notIn(alive), accept())},
				}}
				prerouting[v.family] = c
			}
			c.rules = append(c.rules, rule{"segments of unknown connections", list(
				meta(expr.MetaKeyIIFNAME), is(ifname(l.name)), isUnknownSegment(), v.goToFlows(l.name))})
		}
		all = append(all, ingress)
	}
	for _, family := range []byte{ip4, ip6} {
		if c := prerouting[family]; c != nil {
			all = append(all, *c)
		}
	}
	return all
}

// chains returns the rules for the flows.
func (f flows) chains() []chain {
	return []chain{{family: netdev, name: f.chain(), rules: f.forward(f.version())}, f.handOnChain()}
}

// handOnChain is the one whose rules change with the ring.
func (f flows) handOnChain() chain {
	v := f.version()
	return chain{family: v.family, name: f.chain(), rules: f.handOn(v)}
}

func (l link) versions() (versions []ipVersion) {
	if l.ipv4 {
		versions = append(versions, ipv4)
	}
	if l.ipv6 {
		versions = append(versions, ipv6)
	}
	return versions
}

// goToFlows goes to the chain of the VIP's flows.
func (v ipVersion) goToFlows(link string) []expression {
	return list(payload(expr.PayloadBaseNetworkHeader, v.daddr, v.addrLen, r0),
		&expr.Lookup{SourceRegister: r0, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: v.vipsOn(link)})
}

// forward returns the rules that forward frames to other nodes.
func (f flows) forward(v ipVersion) (rules []rule) {
	for _, p := range v.packets(f.byAddress) {
		rules = append(rules, rule{p.comment, list(
			p.match, f.load(p.key, 0, f.slotsSet(), v), forward{device: v.device, addr: v.node, family: v.family})})
	}
	return rules
}

// handOn returns the rules that hand segments on to the next node, and in the end to a node that cannot hand on. That one
// does not get what may be a segment of a connection of this node, out of its window: a pod there would
// reset the connection. What conntrack calls invalid ends here, because the kernel does not translate it to the
// address of a pod, and could route it to the VIP, so to the announcer. kube-proxy there could take it for a new
// connection.
func (f flows) handOn(v ipVersion) []rule {
	key := v.clientAndPort()
	if f.byAddress {
		key = v.clientAddr()
	}
	step := func(comment string, above byte, offset uint32, setTTL []expression) rule {
		return rule{comment, list(
			payload(expr.PayloadBaseNetworkHeader, v.ttl, 1, r0), &expr.Cmp{Op: expr.CmpOpGt, Register: r0, Data: []byte{above}},
			f.load(key, offset, f.nextSet(), v), setTTL,
			&expr.Dup{RegAddr: v.node, RegDev: v.device, IsRegDevSet: true}, drop(),
		)}
	}
	first := byte(minHandedTTL + f.ring)
	return []rule{
		step("the first step", first, 0, v.writeTTL(first)),
		step("another step", minHandedTTL, 0, nil),
		{"out of the window of a connection", list(isInState(expr.CtStateBitINVALID), tcpFlagsIn(fin|rst), is([]byte{0}), drop())},
		step("the last step", minHandedTTL-1, lastSlots, v.writeTTL(minHandedTTL)),
		{"it belongs to no connection", list(isInState(expr.CtStateBitINVALID), drop())},
	}
}

// load loads the node to which the set sends the slot of the key, and the link. The rule ends if there
// is none.
func (f flows) load(k key, offset uint32, set string, v ipVersion) []expression {
	return list(k.load,
		&expr.Hash{SourceRegister: v.client, DestRegister: v.node, Length: k.length, Modulus: election.Slots, Seed: seed, Offset: offset, Type: expr.HashTypeJenkins},
		&expr.Lookup{SourceRegister: v.node, DestRegister: v.node, IsDestRegSet: true, SetName: set},
		immediate(v.device, native(uint32(f.index))))
}

// isUnknownSegment matches TCP segments that do not open a connection, and belong to none that
// conntrack knows. For a FIN or a RST of such a connection, and if there is an old connection of the same
// addresses and ports, it says invalid and not new (tcp_conntracks in
// net/netfilter/nf_conntrack_proto_tcp.c). It also says invalid for a segment of a connection
// of this node that is out of the window. Such a segment comes around, and is dropped here.
func isUnknownSegment() []expression {
	return list(
		meta(expr.MetaKeyL4PROTO), is([]byte{unix.IPPROTO_TCP}), tcpFlagsIn(syn), is([]byte{0}),
		isInState(expr.CtStateBitNEW|expr.CtStateBitINVALID),
	)
}

// tcpFlagsIn loads those flags of a segment that are in the mask.
func tcpFlagsIn(mask byte) []expression {
	return list(payload(expr.PayloadBaseTransportHeader, tcpFlags, 1, r0), masked([]byte{mask}))
}

// isInState matches if conntrack says one of the states.
func isInState(states uint32) []expression {
	return list(&expr.Ct{Key: expr.CtKeySTATE, Register: r0}, masked(native(states)), differs(make([]byte, 4)))
}

// The place of the flags in the header of TCP, those that end a connection, and the one that opens it (RFC 9293,
// section 3.1).
const (
	tcpFlags = 13
	fin      = 0x01
	syn      = 0x02
	rst      = 0x04
)
