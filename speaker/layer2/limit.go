package layer2

import (
	"encoding/binary"
	"net/netip"
	"time"
)

const (
	// answersPerSecond is how often one host gets an answer about one address. A host
	// that asks more often must not delay the answers to other hosts.
	answersPerSecond = 256
	limitSlots       = 1 << 12 // of 16 bytes
)

// limiter counts answers. It reads the clock only after many answers. It is for one
// goroutine.
type limiter struct {
	slots [limitSlots]struct {
		since time.Duration // when n was last 0
		n     int
	}
}

// allow reports whether this node may answer the host. clock returns the time since a
// fixed moment. Two hosts that share a slot share its answers; so there are many slots.
func (l *limiter) allow(clock func() time.Duration, host [6]byte, addr netip.Addr) bool {
	as16 := addr.As16()
	h := uint64(binary.BigEndian.Uint32(host[2:]))<<32 | uint64(binary.BigEndian.Uint16(host[:]))
	h = (h ^ binary.BigEndian.Uint64(as16[:8])) * 0x9e3779b97f4a7c15
	h = (h ^ h>>29 ^ binary.BigEndian.Uint64(as16[8:])) * 0xbf58476d1ce4e5b9
	slot := &l.slots[h>>32%limitSlots]
	if slot.n >= answersPerSecond {
		now := clock()
		if now-slot.since < time.Second {
			return false
		}
		slot.since, slot.n = now, 0
	}
	slot.n++
	return true
}
