package ipam

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// Reason is why a request was refused, in one word.
type Reason string

// The reasons of refusal.
const (
	Exhausted Reason = "Exhausted" // every pool that would do is full
	Quota     Reason = "Quota"     // the namespace has all it can have
	NoPool    Reason = "NoPool"    // no pool would do
	InUse     Reason = "InUse"     // another Service holds the address asked for
	Invalid   Reason = "Invalid"   // the request contradicts itself
)

// Error is a refusal, with a text for the person who made the request.
type Error struct {
	Reason Reason
	Msg    string
}

// Error returns the text.
func (e *Error) Error() string { return e.Msg }

func refuse(r Reason, format string, args ...any) *Error {
	return &Error{Reason: r, Msg: fmt.Sprintf(format, args...)}
}

func overQuota(pool *config.Pool, r Request) *Error {
	return refuse(Quota, "pool %q gives each namespace %d at most (max-per-namespace), and %s has as many", pool.Name, pool.MaxPerNamespace, r.Namespace)
}

// whyNone says why none of the pools has an address of the family for r.
func (a *Allocator) whyNone(pools []*config.Pool, r Request, c *claim, keep []netip.Addr, family Family) *Error {
	var why []string
	reason := Exhausted
	for _, pool := range pools {
		s := a.index[spaceKey{pool.Name, family}]
		switch {
		case s == nil:
		case s.full():
			why = append(why, fmt.Sprintf("pool %q is exhausted (%d of %d in use)", pool.Name, len(s.used), s.usable))
		case a.room(pool, r, c, keep) < 1:
			reason = Quota
			why = append(why, overQuota(pool, r).Msg)
		}
	}
	switch {
	case len(why) > 0:
		return refuse(reason, "%s", strings.Join(why, ", "))
	case r.Pool != "":
		return refuse(NoPool, "pool %q has no %s addresses", r.Pool, family)
	}
	return refuse(NoPool, "no pool has %s addresses", family)
}
