package ipam

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/quote"
)

// Reason is the reason of a refusal, in one word.
type Reason string

// The reasons of refusal.
const (
	Exhausted Reason = "Exhausted" // every pool that serves the Service is full
	Quota     Reason = "Quota"     // the namespace has as many addresses as its pool allows
	NoPool    Reason = "NoPool"    // no pool serves the request
	InUse     Reason = "InUse"     // another Service holds the requested address
	Invalid   Reason = "Invalid"   // the request contradicts itself
	Reserved  Reason = "Reserved"  // a node or a gateway has the address
	Forbidden Reason = "Forbidden" // the pool's key requests does not allow the namespace to ask for the address
	Cooldown  Reason = "Cooldown"  // another namespace released the requested address a moment ago
)

// Error is a refusal. Its text is for the owner of the Service.
type Error struct {
	Reason Reason
	Msg    string
	// RetryAfter is the time after which the request may succeed although nothing else
	// changes; 0 if there is none.
	RetryAfter time.Duration
}

// Error returns the text.
func (e *Error) Error() string { return e.Msg }

func refuse(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Msg: fmt.Sprintf(format, args...)}
}

func overQuota(pool *config.Pool, r Request) *Error {
	return refuse(Quota, "pool %q allows each namespace at most %d (max-per-namespace), and %s has used them all", pool.Name, pool.MaxPerNamespace, r.Namespace)
}

// maxPoolsNamed limits the length of a refusal.
const maxPoolsNamed = 10

// refuseFamily returns the reason why none of the pools has an address of the family for r.
func (a *Allocator) refuseFamily(pools []*config.Pool, r Request, c *claim, keep []netip.Addr, family Family) *Error {
	var why []string
	reason := Exhausted
	more := 0
	for _, pool := range pools {
		s := a.index[spaceKey{pool.Name, family}]
		if len(why) == maxPoolsNamed {
			more++
			continue
		}
		switch {
		case s == nil:
		case s.full():
			why = append(why, fmt.Sprintf("pool %q is exhausted (%d of %d in use)", pool.Name, len(s.used), s.usable()))
		case a.room(pool, r, c, keep) < 1:
			reason = Quota
			why = append(why, overQuota(pool, r).Msg)
		}
	}
	if more > 0 {
		why = append(why, fmt.Sprintf("and so on for up to %d more pools", more))
	}
	switch {
	case len(why) > 0:
		return refuse(reason, "%s", strings.Join(why, ", "))
	case r.Pool != "":
		return refuse(NoPool, "pool %s has no %s addresses", quote.Short(r.Pool), family)
	}
	return refuse(NoPool, "no pool has %s addresses", family)
}
