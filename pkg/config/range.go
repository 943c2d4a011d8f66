package config

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"net"
	"net/netip"
	"strings"
)

// Range is all addresses from From to To, both included. Both are of one family.
type Range struct {
	From, To netip.Addr
}

// Contains reports whether addr lies in the range.
func (r Range) Contains(addr netip.Addr) bool {
	return addr.Is4() == r.From.Is4() && r.From.Compare(addr) <= 0 && addr.Compare(r.To) <= 0
}

// String returns the range in the form 192.0.2.10-192.0.2.20.
func (r Range) String() string {
	return r.From.String() + "-" + r.To.String()
}

// Size returns the number of addresses in the range. A range of 2^64 addresses or
// more counts as 2^64-1.
func (r Range) Size() uint64 {
	fromHigh, fromLow := halves(r.From)
	toHigh, toLow := halves(r.To)
	low, borrow := bits.Sub64(toLow, fromLow, 0)
	high, _ := bits.Sub64(toHigh, fromHigh, borrow)
	if high != 0 || low == math.MaxUint64 {
		return math.MaxUint64
	}
	return low + 1
}

// BuggyCount returns how many IPv4 addresses of the range end in .0 or .255.
func (r Range) BuggyCount() uint64 {
	if !r.From.Is4() {
		return 0
	}
	// Of the addresses below n, one in 256 ends in .0 and one in 256 ends in .255.
	below := func(n uint64) uint64 { return (n+255)/256 + n/256 }
	from, to := r.From.As4(), r.To.As4()
	return below(uint64(binary.BigEndian.Uint32(to[:]))+1) - below(uint64(binary.BigEndian.Uint32(from[:])))
}

func halves(addr netip.Addr) (high, low uint64) {
	b := addr.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

// parseRange reads "192.0.2.0/24" or "192.0.2.10-192.0.2.20". It masks the host bits
// of a CIDR. Only the second form may have spaces around the addresses.
func parseRange(text string) (Range, error) {
	if from, to, ok := strings.Cut(text, "-"); ok {
		return parseFromTo(text, strings.TrimSpace(from), strings.TrimSpace(to))
	}
	_, network, err := net.ParseCIDR(text)
	if err != nil {
		return Range{}, fmt.Errorf("%q is neither a CIDR like 192.0.2.0/24 nor a range like 192.0.2.10-192.0.2.20", text)
	}
	ones, size := network.Mask.Size()
	if network.IP.To4() != nil && size == 128 {
		ones -= 96 // "::ffff:192.0.2.0/120" is an IPv4 network
	}
	from, _ := netip.AddrFromSlice(network.IP)
	from = from.Unmap()
	return Range{From: from, To: lastOf(netip.PrefixFrom(from, ones))}, nil
}

func parseFromTo(text, fromText, toText string) (Range, error) {
	from, err := parseAddr(fromText)
	if err != nil {
		return Range{}, fmt.Errorf("range %q: its start %w", text, err)
	}
	to, err := parseAddr(toText)
	if err != nil {
		return Range{}, fmt.Errorf("range %q: its end %w", text, err)
	}
	if from.Is4() != to.Is4() {
		return Range{}, fmt.Errorf("range %q starts in one address family and ends in the other", text)
	}
	if to.Less(from) {
		return Range{}, fmt.Errorf("range %q is reversed: its start %s is higher than its end %s", text, from, to)
	}
	return Range{From: from, To: to}, nil
}

func parseAddr(text string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%q is not an IP address", text)
	}
	if addr.Zone() != "" {
		return netip.Addr{}, errors.New("must not have a zone")
	}
	return addr.Unmap(), nil
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// widestPrefix returns the prefix length of the widest CIDR in the range.
func (r Range) widestPrefix() int {
	bits := r.From.BitLen()
	for length := range bits {
		// The first block of this length that begins in the range.
		block := netip.PrefixFrom(r.From, length).Masked()
		if block.Addr() != r.From {
			next := lastOf(block).Next()
			if !next.IsValid() {
				continue
			}
			block = netip.PrefixFrom(next, length)
		}
		if r.Contains(block.Addr()) && r.Contains(lastOf(block)) {
			return length
		}
	}
	return bits
}
