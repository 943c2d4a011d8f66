package capture

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// matches reports whether a frame is about the address, or is BGP or BFD with a peer.
func matches(frame []byte, addr netip.Addr, peers []netip.AddrPort) bool {
	if len(frame) < payload {
		return false
	}
	switch binary.BigEndian.Uint16(frame[etherType:]) {
	case unix.ETH_P_ARP:
		return len(frame) >= arpEnd && (at4(frame, arpSPA) == addr || at4(frame, arpTPA) == addr)
	case unix.ETH_P_IP:
		if len(frame) < payload+20 {
			return false
		}
		start := payload + int(frame[payload]&0xf)*4
		return isSession(frame, frame[ip4Protocol], start, at4(frame, ip4Source), at4(frame, ip4Dest), peers)
	case unix.ETH_P_IPV6:
		if len(frame) < ip6End {
			return false
		}
		if next := frame[ip6Next]; next == protocolICMPv6 {
			return len(frame) >= ndTarget+16 && (frame[ip6End] == typeNS || frame[ip6End] == typeNA) && at6(frame, ndTarget) == addr
		}
		return isSession(frame, frame[ip6Next], ip6End, at6(frame, ip6Source), at6(frame, ip6Dest), peers)
	}
	return false
}

// isSession reports whether a packet is BGP or BFD with a peer. start is where the header of TCP
// or UDP begins.
func isSession(frame []byte, protocol byte, start int, source, dest netip.Addr, peers []netip.AddrPort) bool {
	if len(frame) < start+4 {
		return false
	}
	from := netip.AddrPortFrom(source, binary.BigEndian.Uint16(frame[start:]))
	to := netip.AddrPortFrom(dest, binary.BigEndian.Uint16(frame[start+2:]))
	return slices.ContainsFunc(peers, func(peer netip.AddrPort) bool {
		if protocol == protocolTCP {
			return from == peer || to == peer
		}
		return protocol == protocolUDP && (source == peer.Addr() || dest == peer.Addr()) && (isBFD(from.Port()) || isBFD(to.Port()))
	})
}

func isBFD(port uint16) bool { return port == portBFD || port == portMultihopBFD }

func at4(frame []byte, offset int) netip.Addr {
	return netip.AddrFrom4([4]byte(frame[offset : offset+4]))
}

func at6(frame []byte, offset int) netip.Addr {
	return netip.AddrFrom16([16]byte(frame[offset : offset+16]))
}

// The options of TCP (RFC 9293 section 3.1, RFC 2385, RFC 5925).
const (
	optionEnd  = 0
	optionNone = 1
	optionMD5  = 19
	optionAO   = 29
)

// hideDigests overwrites the digests of TCP MD5 and TCP-AO with zeros: with a digest, a password can
// be guessed. It changes frame, which must match.
func hideDigests(frame []byte) {
	start := ip6End
	if binary.BigEndian.Uint16(frame[etherType:]) == unix.ETH_P_IP {
		if frame[ip4Protocol] != protocolTCP {
			return
		}
		start = payload + int(frame[payload]&0xf)*4
	} else if binary.BigEndian.Uint16(frame[etherType:]) != unix.ETH_P_IPV6 || frame[ip6Next] != protocolTCP {
		return
	}
	if len(frame) < start+20 {
		return
	}
	end := min(len(frame), start+int(frame[start+12]>>4)*4)
	for i := start + 20; i < end; {
		if frame[i] == optionEnd {
			return
		}
		if frame[i] == optionNone {
			i++
			continue
		}
		if i+1 >= end || frame[i+1] < 2 {
			return
		}
		next := min(end, i+int(frame[i+1]))
		if frame[i] == optionMD5 || frame[i] == optionAO {
			clear(frame[i+2 : next])
		}
		i = next
	}
}
