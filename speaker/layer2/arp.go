package layer2

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/mdlayher/arp"
)

// Offsets in an Ethernet frame with ARP for IPv4 (RFC 826).
const (
	arpStart = 14
	arpOp    = arpStart + 6
	arpSHA   = arpStart + 8
	arpSPA   = arpStart + 14
	arpTHA   = arpStart + 18
	arpTPA   = arpStart + 24
	arpEnd   = arpStart + 28
)

// arpHeader is Ethertype, hardware type, protocol type and address lengths.
var arpHeader = []byte{0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4}

// answerARP answers a request for an address of the table. The request may be unicast,
// or a probe (sender address 0.0.0.0, RFC 5227). If another host announces or answers
// for such an address, that is a claim. answerARP does not allocate.
func answerARP(t *table, mac [6]byte, frame []byte, out *[maxAnswer]byte) (answer []byte, addr netip.Addr, v verdict) {
	if len(frame) < arpEnd || !bytes.Equal(frame[12:arpOp], arpHeader) {
		return nil, netip.Addr{}, verdictMalformed
	}
	if bytes.Equal(frame[arpSHA:arpSPA], mac[:]) {
		return nil, netip.Addr{}, verdictOwn
	}
	if sender := [4]byte(frame[arpSPA:arpTHA]); has(t.ipv4, sender) {
		return nil, netip.AddrFrom4(sender), verdictClaim
	}
	if binary.BigEndian.Uint16(frame[arpOp:]) != uint16(arp.OperationRequest) {
		return nil, netip.Addr{}, verdictNoRequest
	}
	target := [4]byte(frame[arpTPA:arpEnd])
	if answered, ok := t.ipv4[target]; !ok {
		return nil, netip.Addr{}, verdictNotOurs
	} else if !answered {
		return nil, netip.Addr{}, verdictNotAnnounced
	}
	copy(out[0:], frame[arpSHA:arpSPA])
	copy(out[6:], mac[:])
	copy(out[12:], arpHeader)
	binary.BigEndian.PutUint16(out[arpOp:], uint16(arp.OperationReply))
	copy(out[arpSHA:], mac[:])
	copy(out[arpSPA:], frame[arpTPA:arpEnd])
	copy(out[arpTHA:], frame[arpSHA:arpSPA])
	copy(out[arpTPA:], frame[arpSPA:arpTHA])
	return out[:arpEnd], netip.AddrFrom4(target), verdictAnswered
}

func has[A comparable](t map[A]bool, addr A) bool {
	_, ok := t[addr]
	return ok
}

// gratuitousARP returns two frames that say "mac has addr"; every network stack obeys
// one of them. The first is a request (RFC 5227 section 2.3). The second is a reply
// whose target hardware address is the sender's own (RFC 5944 section 4.6): Linux
// treats any other reply as an ordinary one and ignores it for a second.
func gratuitousARP(mac [6]byte, addr netip.Addr) [][]byte {
	return [][]byte{
		arpFrame(arp.OperationRequest, mac, addr, make(net.HardwareAddr, 6), addr),
		arpFrame(arp.OperationReply, mac, addr, mac[:], addr),
	}
}

// probeARP asks whether a host has addr, without claiming it (RFC 5227 section 2.1.1).
func probeARP(mac [6]byte, addr netip.Addr) []byte {
	return arpFrame(arp.OperationRequest, mac, netip.IPv4Unspecified(), make(net.HardwareAddr, 6), addr)
}

func arpFrame(op arp.Operation, mac [6]byte, sender netip.Addr, target net.HardwareAddr, addr netip.Addr) []byte {
	p, err := arp.NewPacket(op, mac[:], sender, target, addr)
	if err != nil {
		panic("layer2: ARP packet for " + addr.String() + ": " + err.Error()) // not an IPv4 address
	}
	body, err := p.MarshalBinary()
	if err != nil {
		panic("layer2: ARP packet for " + addr.String() + ": " + err.Error()) // never fails
	}
	frame := append(make([]byte, 0, arpEnd), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	frame = append(frame, mac[:]...)
	frame = append(frame, arpHeader[:2]...)
	return append(frame, body...)
}
