// Package election decides which node announces an address, without a message:
// every speaker that sees the same candidates comes to the same answer.
package election

import "net/netip"

// Owner returns the candidate with the highest weight for vip, by rendezvous
// hashing (Thaler and Ravishankar, 1998): a candidate that goes moves only its
// own addresses, and one that comes takes only those it wins. The order of the
// candidates does not matter. Without candidates Owner returns "".
func Owner(vip netip.Addr, candidates []string) string {
	owner, highest := "", uint64(0)
	for _, c := range candidates {
		w := weight(vip, c)
		if owner == "" || w > highest || w == highest && c < owner {
			owner, highest = c, w
		}
	}
	return owner
}

// Outranks reports whether a would be the owner of vip if a and b were the only
// candidates.
func Outranks(vip netip.Addr, a, b string) bool { return Owner(vip, []string{a, b}) == a }

// Cost is lower for the owner of vip than for all other candidates, but for one
// chance in four billion for each of them. It is never 0.
func Cost(vip netip.Addr, candidate string) uint32 {
	return max(1, ^uint32(weight(vip, candidate)>>32))
}

// weight is FNV-1a over the address and the name, with the finalizer of
// MurmurHash3 because FNV alone mixes the last bytes too little. It must never
// change: speakers of two versions would disagree during an upgrade.
func weight(vip netip.Addr, candidate string) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	h := uint64(offset)
	addr := vip.As16()
	for _, b := range addr {
		h = (h ^ uint64(b)) * prime
	}
	for i := range len(candidate) {
		h = (h ^ uint64(candidate[i])) * prime
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return h
}
