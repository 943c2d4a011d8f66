package layer2

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The filters run in the kernel, so that the process is not woken by frames that
// are nobody's question. The kernel marks as for another host what it sees only
// because the link is promiscuous, and what belongs to a VLAN that has no link
// here; a VLAN that has one gets its frames on its own link.

// maxSpans bounds the length of a filter. With more spans of addresses than that
// the closest become one, and what lies between them is sorted out later.
const maxSpans = 32

// span is a range of addresses by their last 32 bits.
type span struct{ from, to uint32 }

// spans returns the ranges that hold the addresses of one family, and little else.
func spans(addrs []netip.Addr) []span {
	last := make([]uint32, len(addrs))
	for i, addr := range addrs {
		as16 := addr.As16()
		last[i] = binary.BigEndian.Uint32(as16[12:])
	}
	slices.Sort(last)
	var all []span
	for _, v := range last {
		if n := len(all); n > 0 && v-all[n-1].to <= 1 {
			all[n-1].to = v
			continue
		}
		all = append(all, span{v, v})
	}
	if len(all) <= maxSpans {
		return all
	}
	// Keep the widest gaps.
	gaps := make([]uint32, len(all)-1)
	for i := range gaps {
		gaps[i] = all[i+1].from - all[i].to
	}
	sorted := slices.Sorted(slices.Values(gaps))
	least := sorted[len(sorted)-(maxSpans-1)]
	merged := all[:1]
	for i, gap := range gaps {
		if gap >= least && len(merged) < maxSpans {
			merged = append(merged, all[i+1])
			continue
		}
		merged[len(merged)-1].to = all[i+1].to
	}
	return merged
}

// unless drops the frame unless what was loaded last is one of the values.
func unless(values ...uint32) []bpf.Instruction {
	var program []bpf.Instruction
	for i, v := range values {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: uint8(len(values) - i)})
	}
	return append(program, bpf.RetConstant{Val: 0})
}

// passIf lets the frame pass if what was loaded last is in one of the spans.
func passIf(spans []span) []bpf.Instruction {
	var program []bpf.Instruction
	for _, s := range spans {
		program = append(program,
			bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: s.from, SkipFalse: 2},
			bpf.JumpIf{Cond: bpf.JumpGreaterThan, Val: s.to, SkipTrue: 1},
			bpf.RetConstant{Val: 1 << 16})
	}
	return program
}

// notForOthers drops what is for another host.
var notForOthers = []bpf.Instruction{
	bpf.LoadExtension{Num: bpf.ExtType},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.PACKET_OTHERHOST, SkipTrue: 1},
	bpf.RetConstant{Val: 0},
}

// arpFilter lets ARP for Ethernet and IPv4 pass that asks for one of the
// addresses, or comes from one.
func arpFilter(addrs []netip.Addr) []bpf.Instruction {
	s := spans(addrs)
	return slices.Concat(notForOthers,
		[]bpf.Instruction{bpf.LoadAbsolute{Off: arpStart, Size: 4}}, unless(1<<16|unix.ETH_P_IP),
		[]bpf.Instruction{bpf.LoadAbsolute{Off: arpStart + 4, Size: 2}}, unless(6<<8|4),
		[]bpf.Instruction{bpf.LoadAbsolute{Off: arpTPA, Size: 4}}, passIf(s),
		[]bpf.Instruction{bpf.LoadAbsolute{Off: arpSPA, Size: 4}}, passIf(s),
		[]bpf.Instruction{bpf.RetConstant{Val: 0}})
}

// ndpFilter lets solicitations and advertisements of one of the addresses pass
// that no router has forwarded.
func ndpFilter(addrs []netip.Addr) []bpf.Instruction {
	return slices.Concat(notForOthers,
		[]bpf.Instruction{bpf.LoadAbsolute{Off: ipNext, Size: 2}}, unless(icmpv6<<8|hopLimit),
		[]bpf.Instruction{bpf.LoadAbsolute{Off: icmpStart, Size: 1}}, unless(uint32(typeNS), uint32(typeNA)),
		[]bpf.Instruction{bpf.LoadAbsolute{Off: ndTarget + 12, Size: 4}}, passIf(spans(addrs)),
		[]bpf.Instruction{bpf.RetConstant{Val: 0}})
}
