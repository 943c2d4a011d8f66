package layer2

import (
	"hash/maphash"
	"net/netip"
	"time"
)

const (
	// answersPerSecond is how often one host gets an answer about one address. A host
	// that asks more often must not delay the answers to other hosts.
	answersPerSecond = 256
	limitSlots       = 1 << 12 // of 16 bytes
)

func newLimiter() *limiter { return &limiter{seed: maphash.MakeSeed()} }

// limiter counts answers. It reads the clock only after many answers. It is for one
// goroutine.
type limiter struct {
	// seed is random: a neighbour cannot find out which host has the same slot as another.
	seed  maphash.Seed
	slots [limitSlots]struct {
		since time.Duration // when n was last 0
		n     int
	}
}

// allow reports whether this node may answer the host. clock returns the time since a
// fixed moment. Two hosts that share a slot share its answers; so there are many slots.
func (l *limiter) allow(clock func() time.Duration, host [6]byte, addr netip.Addr) bool {
	var key [22]byte
	as16 := addr.As16()
	copy(key[:], host[:])
	copy(key[6:], as16[:])
	slot := &l.slots[maphash.Bytes(l.seed, key[:])%limitSlots]
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
