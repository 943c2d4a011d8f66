package layer2

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The filters run in the kernel, so that the process is not woken by frames
// that are nobody's question. The kernel marks as for another host what it sees
// only because the link is promiscuous, and what belongs to a VLAN that has no
// link here; a VLAN that has one gets its frames on its own link. Each test skips to the last instruction, which drops, when it fails.

// arpFilter lets ARP for Ethernet and IPv4 pass.
var arpFilter = []bpf.Instruction{
	bpf.LoadExtension{Num: bpf.ExtType},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OTHERHOST, SkipTrue: 5},
	bpf.LoadAbsolute{Off: arpStart, Size: 4},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 1<<16 | unix.ETH_P_IP, SkipTrue: 3},
	bpf.LoadAbsolute{Off: arpStart + 4, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 6<<8 | 4, SkipTrue: 1},
	bpf.RetConstant{Val: 1 << 16},
	bpf.RetConstant{Val: 0},
}

// ndpFilter lets solicitations and advertisements pass that no router has forwarded.
var ndpFilter = []bpf.Instruction{
	bpf.LoadExtension{Num: bpf.ExtType},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PACKET_OTHERHOST, SkipTrue: 6},
	bpf.LoadAbsolute{Off: ipNext, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: icmpv6<<8 | hopLimit, SkipTrue: 4},
	bpf.LoadAbsolute{Off: icmpStart, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(typeNS), SkipTrue: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(typeNA), SkipTrue: 1},
	bpf.RetConstant{Val: 1 << 16},
	bpf.RetConstant{Val: 0},
}
