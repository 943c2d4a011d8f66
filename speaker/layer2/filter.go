package layer2

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The filters run in the kernel, so that other frames do not wake the process. The
// kernel marks a frame as being for another host in two cases: the frame is only seen
// because the link is promiscuous, or it belongs to a VLAN that has no link on this
// node. A VLAN or macvlan with a link gets its frames on that link. The socket of the parent
// link sees them, too (net/core/dev.c, orig_dev), but with the index of the child.

// maxSpans bounds the length of a filter. If there are more spans of addresses, the
// closest ones are merged. The process then drops the frames for the addresses in
// between.
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

// unless drops the frame if the last loaded value is none of the values.
func unless(values ...uint32) []bpf.Instruction {
	var program []bpf.Instruction
	for i, v := range values {
		program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: uint8(len(values) - i)})
	}
	return append(program, bpf.RetConstant{Val: 0})
}

// passIf lets the frame pass if the last loaded value is in one of the spans.
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

// onlyFor drops frames for other hosts, and for other links than the one with the index.
func onlyFor(index int) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtType},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.PACKET_OTHERHOST, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
		bpf.LoadExtension{Num: bpf.ExtInterfaceIndex},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(index), SkipTrue: 1},
		bpf.RetConstant{Val: 0},
	}
}

// arpFilter lets an ARP frame for Ethernet and IPv4 pass if it asks for one of the
// addresses, or if its sender claims one.
func arpFilter(index int, addrs []netip.Addr) []bpf.Instruction {
	s := spans(addrs)
	return slices.Concat(onlyFor(index),
		[]bpf.Instruction{bpf.LoadAbsolute{Off: arpStart, Size: 4}}, unless(1<<16|unix.ETH_P_IP),
		[]bpf.Instruction{bpf.LoadAbsolute{Off: arpStart + 4, Size: 2}}, unless(6<<8|4),
		[]bpf.Instruction{bpf.LoadAbsolute{Off: arpTPA, Size: 4}}, passIf(s),
		[]bpf.Instruction{bpf.LoadAbsolute{Off: arpSPA, Size: 4}}, passIf(s),
		[]bpf.Instruction{bpf.RetConstant{Val: 0}})
}

// ndpFilter lets solicitations and advertisements of the addresses pass, unless a
// router has forwarded them.
func ndpFilter(index int, addrs []netip.Addr) []bpf.Instruction {
	return slices.Concat(onlyFor(index),
		[]bpf.Instruction{bpf.LoadAbsolute{Off: ipNext, Size: 2}}, unless(icmpv6<<8|hopLimit),
		[]bpf.Instruction{bpf.LoadAbsolute{Off: icmpStart, Size: 1}}, unless(uint32(typeNS), uint32(typeNA)),
		[]bpf.Instruction{bpf.LoadAbsolute{Off: ndTarget + 12, Size: 4}}, passIf(spans(addrs)),
		[]bpf.Instruction{bpf.RetConstant{Val: 0}})
}
