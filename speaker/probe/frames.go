package probe

import (
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
	"golang.org/x/sys/unix"
)

const (
	protocolICMPv6 = 58
	ethernetHeader = 14
	ipv6Header     = 40
)

// Everyone is the MAC of a Target whose own is not known: the question goes to all hosts on the link.
var Everyone = [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// answer is what a kernel says to a MAC: that it has an address. It may send from another MAC than
// the one that was asked: a bond can have several.
type answer struct {
	addr netip.Addr
	to   [6]byte
}

// question returns the probe for a target, from this link's own MAC.
func question(mac [6]byte, t Target) []byte {
	if t.Remote.Is4() {
		return arpRequest(mac, t)
	}
	return solicitation(mac, t)
}

func arpRequest(mac [6]byte, t Target) []byte {
	p, err := arp.NewPacket(arp.OperationRequest, mac[:], t.Local, make(net.HardwareAddr, 6), t.Remote)
	if err != nil {
		return nil // the addresses are of two families: the kernel refuses the empty frame
	}
	body, err := p.MarshalBinary()
	if err != nil {
		return nil
	}
	return append(header(mac, t.MAC, unix.ETH_P_ARP), body...)
}

func solicitation(mac [6]byte, t Target) []byte {
	to, toMAC := t.Remote, t.MAC
	if t.MAC == Everyone { // the solicited-node group (RFC 4861, section 7.2.2), whose MAC is of RFC 2464, section 7
		group := netip.MustParseAddr("ff02::1:ff00:0").As16()
		host := t.Remote.As16()
		copy(group[13:], host[13:])
		to, toMAC = netip.AddrFrom16(group), [6]byte{0x33, 0x33, 0xff, host[13], host[14], host[15]}
	}
	message, err := ndp.MarshalMessageChecksum(&ndp.NeighborSolicitation{
		TargetAddress: t.Remote,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: mac[:]}},
	}, t.Local, to)
	if err != nil {
		return nil
	}
	ip := make([]byte, ipv6Header)
	ip[0], ip[4], ip[5], ip[6], ip[7] = 6<<4, byte(len(message)>>8), byte(len(message)), protocolICMPv6, 255
	copy(ip[8:24], t.Local.AsSlice())
	copy(ip[24:40], to.AsSlice())
	return append(append(header(mac, toMAC, unix.ETH_P_IPV6), ip...), message...)
}

func header(from, to [6]byte, kind uint16) []byte {
	return append(append(append(make([]byte, 0, 128), to[:]...), from[:]...), byte(kind>>8), byte(kind))
}

// parseARP reads an ARP reply.
func parseARP(frame []byte) (answer, bool) {
	var p arp.Packet
	if len(frame) < ethernetHeader || p.UnmarshalBinary(frame[ethernetHeader:]) != nil || p.Operation != arp.OperationReply ||
		len(p.TargetHardwareAddr) != 6 {
		return answer{}, false
	}
	return answer{p.SenderIP, [6]byte(p.TargetHardwareAddr)}, true
}

// parseNA reads a neighbor advertisement. The kernel has checked nothing yet.
func parseNA(frame []byte) (answer, bool) {
	if len(frame) < ethernetHeader+ipv6Header {
		return answer{}, false
	}
	message, err := ndp.ParseMessage(frame[ethernetHeader+ipv6Header:])
	if err != nil {
		return answer{}, false
	}
	na, ok := message.(*ndp.NeighborAdvertisement)
	if !ok || !na.Solicited {
		return answer{}, false
	}
	return answer{na.TargetAddress, [6]byte(frame[0:6])}, true
}
