// Package election decides which node announces an address. It needs no messages: all
// speakers that see the same candidates choose the same owner.
package election

import "net/netip"

// Owner returns the candidate with the highest weight for vip, by rendezvous hashing
// (Thaler and Ravishankar, 1998). If a candidate leaves, only its own addresses move. If a
// candidate joins, it takes only the addresses for which it has the highest weight. The
// order of the candidates does not matter. Without candidates Owner returns "".
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

// Cost is lower for the owner of vip than for all other candidates. Another candidate has
// the same Cost with a chance of one in four billion. Cost is never 0.
func Cost(vip netip.Addr, candidate string) uint32 {
	return max(1, ^uint32(weight(vip, candidate)>>32))
}

// weight is FNV-1a over the address and the name, with the finalizer of MurmurHash3,
// because FNV alone mixes the last bytes too little. It must never change: during an
// upgrade, speakers of two versions would choose different owners.
func weight(vip netip.Addr, candidate string) uint64 {
	h := uint64(offset)
	addr := vip.As16()
	for _, b := range addr {
		h = (h ^ uint64(b)) * prime
	}
	for i := range len(candidate) {
		h = (h ^ uint64(candidate[i])) * prime
	}
	return mix(h)
}

// offset and prime are those of FNV-1a with 64 bits.
const offset, prime = 14695981039346656037, 1099511628211

// mix is the finalizer of MurmurHash3.
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	h ^= h >> 33
	return h
}
