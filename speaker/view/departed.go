package view

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync"
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

// leftAfter is how long a speaker is gone until another one writes that for the speakers that start later. A
// restart takes less time, and should cause no write.
const leftAfter = time.Minute

// departed remembers what the members were before they left or died, and for which VIPs the kernels of all members
// have rules. It begins with seed.
type departed struct {
	self string
	last map[string]lastSeen // nil before seed
	// again is when the first of them changes by itself; the zero Time if none will.
	again time.Time
	// shared is the newest of the hasRules: many members leave while the same VIPs are spread.
	shared map[netip.Addr]bool
}

// lastSeen is a member as it was when it was in the member list last.
type lastSeen struct {
	member members.Member
	at     time.Time
	// isBehind is set while no speaker of the node writes rules for VIPs that become spread: it has left, has just
	// started, or is fenced. hasRules are the VIPs that should have been spread when that began; nil if that is unknown.
	isBehind bool
	hasRules map[netip.Addr]bool
}

func (s *lastSeen) setBehind(isBehind bool, spread func() map[netip.Addr]bool) {
	switch {
	case !isBehind:
		s.hasRules = nil
	case !s.isBehind:
		s.hasRules = spread()
	}
	s.isBehind = isBehind
}

// departures are what departed knows of the members.
type departures struct {
	// gone are the members, sorted by name, that have left or died, and whose kernels may live.
	gone []members.Member
	// hasRules are the VIPs for which a kernel has rules, for the members for which it may be fewer than all.
	hasRules map[string]map[netip.Addr]bool
	// left says since when speakers are gone, for longer than leftAfter. Only the first of the present speakers in
	// alphabetical order knows, so that one of them writes it.
	left map[string]time.Time
}

// update returns what is known of the members. A kernel does not live, and is forgotten for good, if the heartbeats
// say so, or if its Node is not Ready or is gone. others are the present members, readyNodes the names of the Nodes
// that are Ready. spread returns the VIPs that should be spread now; nil if that is unknown.
func (d *departed) update(now time.Time, others []members.Member, beats heartbeat.View, readyNodes []string, spread func() map[netip.Addr]bool) departures {
	found := departures{hasRules: map[string]map[netip.Addr]bool{}, left: map[string]time.Time{}}
	present := map[string]bool{}
	isFirst := true
	spreadNow := sync.OnceValue(func() map[netip.Addr]bool {
		if vips := spread(); vips == nil || d.shared == nil || !maps.Equal(vips, d.shared) {
			d.shared = vips
		}
		return d.shared
	})
	for _, o := range others {
		if !isPresent(o, beats) {
			continue
		}
		present[o.Name] = true
		isFirst = isFirst && d.self < o.Name
		seen := d.last[o.Name]
		seen.member, seen.at = o, now
		seen.setBehind(!o.Profile.Spreads || o.Profile.Fenced, spreadNow)
		d.last[o.Name] = seen
	}
	d.again = time.Time{}
	for name, seen := range d.last {
		if !present[name] {
			if now.Sub(seen.at) >= departedMemory || slices.Contains(beats.KernelDead, name) || !slices.Contains(readyNodes, name) {
				delete(d.last, name)
				continue
			}
			d.wakeAt(now, seen.at.Add(leftAfter))
			d.wakeAt(now, seen.at.Add(departedMemory))
			seen.setBehind(true, spreadNow)
			d.last[name] = seen
			found.gone = append(found.gone, seen.member)
			if isFirst && now.Sub(seen.at) >= leftAfter {
				found.left[name] = seen.at
			}
		}
		if seen.hasRules != nil {
			found.hasRules[name] = seen.hasRules
		}
	}
	slices.SortFunc(found.gone, func(a, b members.Member) int { return cmp.Compare(a.Name, b.Name) })
	return found
}

// wakeAt makes again not later than a time, unless that is over.
func (d *departed) wakeAt(now, at time.Time) {
	if at.After(now) && (d.again.IsZero() || at.Before(d.again)) {
		d.again = at
	}
}

// isPresent reports whether a member is not lost and says which links it has. A speaker that has
// just started does not know its links yet.
func isPresent(o members.Member, beats heartbeat.View) bool {
	return !isLost(o, beats) && len(o.Profile.Links) > 0
}
