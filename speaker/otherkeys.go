package speaker

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

const (
	// maxOtherKeys is how many hosts are remembered. Who sends many source addresses cannot use
	// more memory.
	maxOtherKeys = 64
	// otherKeyFor is how long a host is remembered after its last packet.
	otherKeyFor = 10 * time.Minute
)

// otherKeys remembers which hosts have sent packets with another key, and when each did so last. A
// counter alone does not say whether that goes on, nor which member is meant.
type otherKeys struct {
	mu   sync.Mutex
	last map[otherKey]time.Time
}

// otherKey is a host that has sent something to a part of this speaker.
type otherKey struct {
	to   string // "members" or "heartbeat"
	from netip.Addr
}

func newOtherKeys() *otherKeys { return &otherKeys{last: map[otherKey]time.Time{}} }

// of returns a function that remembers a packet to a part. It may be called from any goroutine.
func (k *otherKeys) of(part string) func(from netip.Addr) {
	return func(from netip.Addr) { k.add(otherKey{part, from.Unmap().WithZone("")}, time.Now()) }
}

func (k *otherKeys) add(key otherKey, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.last[key]; !ok && len(k.last) >= maxOtherKeys {
		oldest := key
		for other, at := range k.last {
			if oldest == key || at.Before(k.last[oldest]) {
				oldest = other
			}
		}
		delete(k.last, oldest)
	}
	k.last[key] = now
}

// document returns the hosts that are remembered, the last one first.
func (k *otherKeys) document(now time.Time) (all []debugapi.OtherKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, at := range k.last {
		if now.Sub(at) > otherKeyFor {
			delete(k.last, key)
			continue
		}
		all = append(all, debugapi.OtherKey{To: key.to, From: key.from, Last: at.UTC()})
	}
	slices.SortFunc(all, func(a, b debugapi.OtherKey) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.To, b.To), a.From.Compare(b.From))
	})
	return all
}
