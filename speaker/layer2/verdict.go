package layer2

import (
	"maps"
	"net/netip"
)

// table holds the addresses of one link, as they stand in frames; true are those
// that are answered for, the others are only listened to.
type table struct {
	ipv4 map[[4]byte]bool
	ipv6 map[[16]byte]bool
}

func newTable(addrs map[netip.Addr]bool) *table {
	t := &table{map[[4]byte]bool{}, map[[16]byte]bool{}}
	for addr, answered := range addrs {
		if addr.Is4() {
			t.ipv4[addr.As4()] = answered
		} else {
			t.ipv6[addr.As16()] = answered
		}
	}
	return t
}

func (t *table) equal(other *table) bool {
	return maps.Equal(t.ipv4, other.ipv4) && maps.Equal(t.ipv6, other.ipv6)
}

// addrs returns the addresses of each family.
func (t *table) addrs() (ipv4, ipv6 []netip.Addr) {
	for a := range t.ipv4 {
		ipv4 = append(ipv4, netip.AddrFrom4(a))
	}
	for a := range t.ipv6 {
		ipv6 = append(ipv6, netip.AddrFrom16(a))
	}
	return ipv4, ipv6
}

// verdict is what a frame comes to.
type verdict uint8

const (
	answers    verdict = iota // it is a question, and is answered
	claims                    // its sender says that it has an address of ours
	malformed                 // it is not what the filter took it for
	ourOwn                    // we have sent it
	noQuestion                // it asks for nothing
	notOurs                   // it asks for an address that is not ours on this link
	notYet                    // it asks for one that is not announced yet, or given way with
	limited                   // its sender asks too often
	cutOff                    // this node may not answer at the moment
	verdicts
)

// String is the reason in the metric of frames that are not answered.
func (v verdict) String() string {
	return [verdicts]string{"answered", "claim", "malformed", "own", "no-question", "not-ours", "not-announced", "limited", "cut-off"}[v]
}
