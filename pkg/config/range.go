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
// of a CIDR. Only the second form may have spaces around the addresses. It refuses
// addresses that no Service can have.
func parseRange(text string) (Range, error) {
	r, err := parseAnyRange(text)
	if err != nil {
		return Range{}, err
	}
	return r, r.forServices(text)
}

func parseAnyRange(text string) (Range, error) {
	if from, to, ok := strings.Cut(text, "-"); ok {
		return parseFromTo(text, strings.TrimSpace(from), strings.TrimSpace(to))
	}
	_, network, err := net.ParseCIDR(text)
	if err != nil {
		return Range{}, notACIDR(text)
	}
	ones, size := network.Mask.Size()
	if network.IP.To4() != nil && size == 128 {
		ones -= 96 // "::ffff:192.0.2.0/120" is an IPv4 network
	}
	from, _ := netip.AddrFromSlice(network.IP)
	from = from.Unmap()
	return Range{From: from, To: lastOf(netip.PrefixFrom(from, ones))}, nil
}

func notACIDR(text string) error {
	if addr, err := parseAddr(strings.TrimSpace(text)); err == nil {
		return fmt.Errorf("%q is a single address: write %s", text, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return fmt.Errorf("%q is neither a CIDR like 192.0.2.0/24 nor a range like 192.0.2.10-192.0.2.20", text)
}

// reserved are the blocks of which no Service can have an address.
var reserved = []struct {
	block netip.Prefix
	name  string
}{
	{netip.MustParsePrefix("0.0.0.0/32"), "the unspecified address"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback addresses (RFC 1122), which are never sent to another host"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local addresses (RFC 3927), which routers do not forward"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast addresses (RFC 5771)"},
	{netip.MustParsePrefix("255.255.255.255/32"), "the broadcast address (RFC 919)"},
	{netip.MustParsePrefix("::/128"), "the unspecified address"},
	{netip.MustParsePrefix("::1/128"), "the loopback address (RFC 4291)"},
	{netip.MustParsePrefix("fe80::/10"), "link-local addresses (RFC 4291), which routers do not forward"},
	{netip.MustParsePrefix("ff00::/8"), "multicast addresses (RFC 4291)"},
}

// forServices returns an error if no Service can have some of the addresses.
func (r Range) forServices(text string) error {
	if r.Size() >= 1<<32 && r.widestPrefix() == 0 {
		return fmt.Errorf("%q has all addresses that there are: write only the addresses that Services may get, like 192.0.2.0/24 or 2001:db8::/120", text)
	}
	for _, b := range reserved {
		if block := (Range{b.block.Addr(), lastOf(b.block)}); block.overlaps(r) {
			return fmt.Errorf("%q has addresses of %s, %s: write the range without them", text, b.block, b.name)
		}
	}
	return nil
}

func (r Range) overlaps(other Range) bool {
	return r.Contains(other.From) || other.Contains(r.From)
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

// widestPrefix returns the prefix length of the widest CIDR in the range. A range of at
// least 2^n addresses has an aligned block of 2^(n-1), so few lengths are tried.
func (r Range) widestPrefix() int {
	all := r.From.BitLen()
	for length := all - r.log2(); length < all; length++ {
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
	return all
}

// log2 returns the logarithm to the base 2 of the number of addresses, rounded down.
func (r Range) log2() int {
	fromHigh, fromLow := halves(r.From)
	toHigh, toLow := halves(r.To)
	low, borrow := bits.Sub64(toLow, fromLow, 0)
	high, _ := bits.Sub64(toHigh, fromHigh, borrow)
	low, carry := bits.Add64(low, 1, 0)
	high, carry = bits.Add64(high, 0, carry)
	switch {
	case carry != 0:
		return 128
	case high != 0:
		return 64 + bits.Len64(high) - 1
	}
	return bits.Len64(low) - 1
}

// hostBits returns the address and the network of a CIDR whose address is not the first of
// the network, like 192.0.2.7/24. r is what parseRange made of the text.
func hostBits(text string, r Range) (netip.Addr, netip.Prefix, bool) {
	written, _, isCIDR := strings.Cut(text, "/")
	addr, err := parseAddr(written)
	if !isCIDR || err != nil || addr == r.From {
		return netip.Addr{}, netip.Prefix{}, false
	}
	return addr, netip.PrefixFrom(r.From, r.widestPrefix()), true
}
