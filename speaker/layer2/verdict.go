package layer2

import (
	"maps"
	"net/netip"
)

// table holds the addresses of one link, in the form that they have in frames. This
// node answers for those that are true. For the others it only listens.
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

// verdict says what this node does with a frame.
type verdict uint8

const (
	verdictAnswered     verdict = iota // it is a request, and this node answers it
	verdictClaim                       // its sender says that it has one of the addresses
	verdictMalformed                   // it is not valid
	verdictOwn                         // this node has sent it
	verdictNoRequest                   // it is not a request
	verdictNotOurs                     // it asks for an address that is not in the table
	verdictNotAnnounced                // it asks for an address that this node does not answer for now
	verdictRateLimited                 // its sender asks too often
	verdictFenced                      // this node may not answer now
	verdicts
)

// String is the label in the metric of frames that are not answered.
func (v verdict) String() string {
	return [verdicts]string{"answered", "claim", "malformed", "own", "not-a-request", "not-ours", "not-announced", "rate-limited", "fenced"}[v]
}
