package view

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
)

// departedMemory is how long a node counts as one that may have connections after its speaker
// has left or died. The kernel goes on without the speaker, and so do its connections. A
// speaker that is restarted or replaced comes back within this time. A node on which no
// speaker runs any more stays for no longer, because each such node can take one of the few
// places in a ring.
const departedMemory = 10 * time.Minute

// departed remembers what the members were before they left or died. It begins with seed.
type departed struct {
	last map[string]lastSeen // nil before seed
	// again is when the first of them is forgotten; the zero Time if none will be.
	again time.Time
}

// lastSeen is a member as it was when it was in the member list last. departed is nil while it is present.
type lastSeen struct {
	member   members.Member
	at       time.Time
	departed *Departed
}

// Departed is a member that has left or died.
type Departed struct {
	members.Member
	// Spread are the VIPs that should be spread when this speaker noticed it. The kernel of the member has no rules for
	// others. It is nil if that is unknown, because the member left before this speaker started.
	Spread map[netip.Addr]bool
}

// update returns the members, sorted by name, that have left or died, and whose kernels may live.
// A kernel does not live, and is forgotten for good, if the heartbeats say so, or if its Node is
// not Ready or is gone. others are the present members, readyNodes the names of the Nodes that are
// Ready. spread returns the VIPs that should be spread now, nil if that is unknown.
func (d *departed) update(now time.Time, others []members.Member, beats heartbeat.View, readyNodes []string, spread func() map[netip.Addr]bool) (gone []Departed) {
	present := map[string]bool{}
	for _, o := range others {
		if isPresent(o, beats) {
			present[o.Name] = true
			d.last[o.Name] = lastSeen{member: o, at: now}
		}
	}
	d.again = time.Time{}
	for name, seen := range d.last {
		if present[name] {
			continue
		}
		until := seen.at.Add(departedMemory)
		if !now.Before(until) || slices.Contains(beats.KernelDead, name) || !slices.Contains(readyNodes, name) {
			delete(d.last, name)
			continue
		}
		if d.again.IsZero() || until.Before(d.again) {
			d.again = until
		}
		if seen.departed == nil {
			seen.departed = &Departed{seen.member, spread()}
			d.last[name] = seen
		}
		gone = append(gone, *seen.departed)
	}
	slices.SortFunc(gone, func(a, b Departed) int { return cmp.Compare(a.Name, b.Name) })
	return gone
}

// isPresent reports whether a member is not lost and says which links it has. A speaker that has
// just started does not know its links yet.
func isPresent(o members.Member, beats heartbeat.View) bool {
	return !isLost(o, beats) && len(o.Profile.Links) > 0
}
