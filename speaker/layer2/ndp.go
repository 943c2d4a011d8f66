package layer2

import (
	"bytes"
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/ndp"
)

// Offsets in an Ethernet frame with IPv6 and a neighbor solicitation or
// advertisement (RFC 4861 4.3, 4.4).
const (
	ipStart    = 14
	ipLength   = ipStart + 4
	ipNext     = ipStart + 6
	ipHopLimit = ipStart + 7
	ipSource   = ipStart + 8
	ipTarget   = ipStart + 24
	icmpStart  = ipStart + 40
	icmpFlags  = icmpStart + 4
	ndTarget   = icmpStart + 8
	ndOptions  = ndTarget + 16
	naEnd      = ndOptions + 8
)

const (
	icmpv6              = 58
	hopLimit            = 255
	typeNS       byte   = 135
	typeNA       byte   = 136
	optionSource byte   = 1
	optionTarget byte   = 2
	solicited    byte   = 1 << 6
	override     byte   = 1 << 5
	maxAnswer           = naEnd // the longer of the two answers
	naLength     uint16 = naEnd - icmpStart
)

var (
	allNodes    = netip.MustParseAddr("ff02::1")
	allNodesMAC = [6]byte{0x33, 0x33, 0, 0, 0, 1}
)

// answerNS answers a valid solicitation (RFC 4861 section 7.1.1) for an address of the
// table. It also answers a solicitation without a source link-layer option: hosts send
// it to check that a neighbor is still there. And it answers a host that is about to use
// the address itself (source ::, RFC 4862 section 5.4.3). If another host advertises
// such an address, that is a claim. answerNS does not allocate.
func answerNS(t *table, mac [6]byte, frame []byte, out *[maxAnswer]byte) (answer []byte, addr netip.Addr, v verdict) {
	message, ok := validND(frame)
	if !ok {
		return nil, netip.Addr{}, verdictMalformed
	}
	if bytes.Equal(frame[6:12], mac[:]) && (message[0] == typeNS || claimant(frame) == mac) {
		return nil, netip.Addr{}, verdictOwn
	}
	target := netip.AddrFrom16([16]byte(frame[ndTarget:ndOptions]))
	answered, ok := t.ipv6[[16]byte(frame[ndTarget:ndOptions])]
	switch {
	case !ok:
		return nil, netip.Addr{}, verdictNotOurs
	case message[0] == typeNA:
		return nil, target, verdictClaim
	case !answered:
		return nil, netip.Addr{}, verdictNotAnnounced
	}
	source := netip.AddrFrom16([16]byte(frame[ipSource:ipTarget]))
	lladdr, hasLLAddr := linkLayerOption(message, optionSource)
	if source.IsUnspecified() {
		if hasLLAddr {
			return nil, netip.Addr{}, verdictMalformed
		}
		return advertisement(out, mac, target, allNodesMAC, allNodes, override), target, verdictAnswered
	}
	if !hasLLAddr {
		lladdr = [6]byte(frame[6:12])
	}
	return advertisement(out, mac, target, lladdr, source, solicited|override), target, verdictAnswered
}

// claimant returns the link-layer address that hosts learn from a frame that claims an
// address: the sender hardware address of ARP, or the target link-layer address of a valid
// neighbor advertisement. An advertisement may leave it out; then it is the source address.
func claimant(frame []byte) [6]byte {
	if frame[12] == 0x08 {
		return [6]byte(frame[arpSHA:arpSPA])
	}
	if mac, ok := linkLayerOption(frame[icmpStart:icmpStart+int(binary.BigEndian.Uint16(frame[ipLength:]))], optionTarget); ok {
		return mac
	}
	return [6]byte(frame[6:12])
}

// unsolicitedNA tells all hosts on the link that mac has addr (RFC 4861 section 7.2.6).
// Without the override flag Linux does not change an entry that it has.
func unsolicitedNA(mac [6]byte, addr netip.Addr) []byte {
	return advertisement(new([maxAnswer]byte), mac, addr, allNodesMAC, allNodes, override)
}

// probeNS asks whether a host has addr, without claiming it (duplicate address
// detection, RFC 4862 section 5.4.2).
func probeNS(mac [6]byte, addr netip.Addr) []byte {
	group, err := ndp.SolicitedNodeMulticast(addr)
	if err != nil {
		panic("layer2: solicitation of " + addr.String() + ": " + err.Error()) // not an IPv6 address
	}
	source, to, target := netip.IPv6Unspecified().As16(), group.As16(), addr.As16()
	frame := make([]byte, ndOptions)
	copy(frame, []byte{0x33, 0x33, to[12], to[13], to[14], to[15]})
	copy(frame[6:], mac[:])
	frame[12], frame[13] = 0x86, 0xdd
	frame[ipStart] = 6 << 4
	binary.BigEndian.PutUint16(frame[ipLength:], ndOptions-icmpStart)
	frame[ipNext], frame[ipHopLimit] = icmpv6, hopLimit
	copy(frame[ipSource:], source[:])
	copy(frame[ipTarget:], to[:])
	frame[icmpStart] = typeNS
	copy(frame[ndTarget:], target[:])
	binary.BigEndian.PutUint16(frame[icmpStart+2:], checksum(frame[ipSource:icmpStart], frame[icmpStart:]))
	return frame
}

// validND returns the ICMPv6 message of a frame. It reports whether the frame is a
// valid neighbor solicitation or advertisement from this link.
func validND(frame []byte) ([]byte, bool) {
	if len(frame) < ndOptions || frame[12] != 0x86 || frame[13] != 0xdd ||
		frame[ipNext] != icmpv6 || frame[ipHopLimit] != hopLimit {
		return nil, false
	}
	end := icmpStart + int(binary.BigEndian.Uint16(frame[ipLength:]))
	if end < ndOptions || end > len(frame) {
		return nil, false
	}
	message := frame[icmpStart:end]
	if (message[0] != typeNS && message[0] != typeNA) || message[1] != 0 {
		return nil, false
	}
	return message, checksum(frame[ipSource:icmpStart], message) == 0
}

// linkLayerOption returns the source or target link-layer address of a message.
func linkLayerOption(message []byte, option byte) (mac [6]byte, ok bool) {
	for options := message[ndOptions-icmpStart:]; len(options) >= 8; {
		length := int(options[1]) * 8
		if length == 0 || length > len(options) {
			return mac, false
		}
		if options[0] == option && length == 8 {
			return [6]byte(options[2:8]), true
		}
		options = options[length:]
	}
	return mac, false
}

// advertisement writes a neighbor advertisement into out: target is at mac. Its source
// is target, because this node may have no other address of that scope.
func advertisement(out *[maxAnswer]byte, mac [6]byte, target netip.Addr, toMAC [6]byte, to netip.Addr, flags byte) []byte {
	clear(out[:])
	copy(out[0:], toMAC[:])
	copy(out[6:], mac[:])
	out[12], out[13] = 0x86, 0xdd
	out[ipStart] = 6 << 4
	binary.BigEndian.PutUint16(out[ipLength:], naLength)
	out[ipNext], out[ipHopLimit] = icmpv6, hopLimit
	target16, to16 := target.As16(), to.As16()
	copy(out[ipSource:], target16[:])
	copy(out[ipTarget:], to16[:])
	out[icmpStart] = typeNA
	out[icmpFlags] = flags
	copy(out[ndTarget:], target16[:])
	out[ndOptions], out[ndOptions+1] = optionTarget, 1
	copy(out[ndOptions+2:], mac[:])
	binary.BigEndian.PutUint16(out[icmpStart+2:], checksum(out[ipSource:icmpStart], out[icmpStart:naEnd]))
	return out[:naEnd]
}

// checksum returns the checksum of ICMPv6 (RFC 4443 section 2.3) over the two addresses
// and the message. It is 0 for a message that contains its right checksum.
func checksum(addresses, message []byte) uint16 {
	sum := uint64(len(message)) + icmpv6
	for _, b := range [2][]byte{addresses, message} {
		for ; len(b) >= 4; b = b[4:] {
			sum += uint64(binary.BigEndian.Uint32(b))
		}
		for i, v := range b {
			sum += uint64(v) << (8 * (1 - i%2))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
