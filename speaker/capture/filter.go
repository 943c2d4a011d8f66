package capture

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Offsets in an Ethernet frame.
const (
	etherType = 12
	payload   = 14
	arpSPA    = payload + 14
	arpTPA    = payload + 24
	arpEnd    = payload + 28

	ip4Fragment = payload + 6
	ip4Protocol = payload + 9
	ip4Source   = payload + 12
	ip4Dest     = payload + 16

	ip6Next   = payload + 6
	ip6Source = payload + 8
	ip6Dest   = payload + 24
	ip6End    = payload + 40
	ndTarget  = ip6End + 8
)

const (
	protocolTCP    = 6
	protocolUDP    = 17
	protocolICMPv6 = 58
	typeNS, typeNA = 135, 136

	portBFD         = 3784 // RFC 5881
	portMultihopBFD = 4784 // RFC 5883
)

// whole makes the filter pass the whole frame.
const whole = 1 << 18

// kernelFilter lets few frames pass, so that others do not wake the process: ARP, neighbor
// discovery, TCP of BGP, and UDP of BFD. matcher decides which of them are captured.
//
// It drops frames for other hosts, those of other links, and those of VLANs: a VLAN with a link
// on this node is captured on that link. bgp are the ports of the peers.
func kernelFilter(index int, bgp []uint32) []bpf.Instruction {
	pass, drop := bpf.RetConstant{Val: whole}, bpf.RetConstant{Val: 0}
	program := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.PACKET_OTHERHOST, SkipTrue: 1},
		drop,
		bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(index), SkipTrue: 1},
		drop,
		bpf.LoadExtension{Num: bpf.ExtVLANTagPresent},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 1},
		drop,
		bpf.LoadAbsolute{Off: etherType, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_ARP, SkipTrue: 1},
		pass,
	}
	ports := func(protocol uint32, load func(offset uint32) bpf.Instruction, values ...uint32) (part []bpf.Instruction) {
		for _, offset := range []uint32{0, 2} {
			part = append(part, load(offset))
			for _, v := range values {
				part = append(part, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: v, SkipTrue: 1}, pass)
			}
		}
		// The accumulator has the protocol. Other protocols skip this part.
		return append([]bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protocol, SkipTrue: uint8(len(part) + 1)}}, append(part, drop)...)
	}
	load4 := func(offset uint32) bpf.Instruction { return bpf.LoadIndirect{Off: payload + offset, Size: 2} }
	load6 := func(offset uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: ip6End + offset, Size: 2} }

	ip4 := []bpf.Instruction{
		bpf.LoadAbsolute{Off: ip4Fragment, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: 0x1fff, SkipTrue: 1}, // a later fragment has no ports
		drop,
		bpf.LoadMemShift{Off: payload},
		bpf.LoadAbsolute{Off: ip4Protocol, Size: 1},
	}
	ip4 = append(ip4, ports(protocolTCP, load4, bgp...)...)
	ip4 = append(ip4, ports(protocolUDP, load4, portBFD, portMultihopBFD)...)
	ip4 = append(ip4, drop)

	ip6 := []bpf.Instruction{bpf.LoadAbsolute{Off: ip6Next, Size: 1}}
	ip6 = append(ip6, ports(protocolTCP, load6, bgp...)...)
	ip6 = append(ip6, ports(protocolUDP, load6, portBFD, portMultihopBFD)...)
	ip6 = append(ip6,
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolICMPv6, SkipTrue: 1},
		drop,
		bpf.LoadAbsolute{Off: ip6End, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeNS, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeNA, SkipTrue: 1},
		drop,
		pass)

	program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_IP, SkipTrue: uint8(len(ip4))})
	program = append(program, ip4...)
	program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IPV6, SkipTrue: 1}, drop)
	return append(program, ip6...)
}
