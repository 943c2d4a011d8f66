package heartbeat

import (
	"net/netip"
	"slices"
	"time"
)

// View is what a speaker concludes from the heartbeats.
type View struct {
	// Ready is false until all neighbours were heard, or had enough time for it.
	Ready bool
	// Dead has the addresses at which a member does not answer, by its name.
	Dead map[string][]netip.Addr
	// KernelDead are the names, sorted, of the members whose kernel does not answer on any link, by
	// the word of enough speakers. A member stays among them for kernelMemory after the member list
	// has lost it. A member whose process alone has ended is not among them.
	KernelDead []string
	// Profiles are what the members say of themselves, by their names. A member that was never
	// heard is not among them.
	Profiles map[string]Profile
	// Known is the newest version of this speaker's own profile that at least half of its neighbours
	// have. Neighbours that are dead or were never heard do not count. If none counts, it is the
	// version that was told last.
	Known uint64
	// Suppressed is set if this speaker was taken for dead too often in the last minutes.
	Suppressed bool
	// Deaths counts how often other speakers have taken this one for dead. It may not answer until
	// Resume was called with this number.
	Deaths int
	// LinkDeaths counts how often they have done so on one of its links, while it was well on another.
	LinkDeaths int
	// FencedLinks has the names of this node's links on which no member is reached, or one takes this
	// speaker for dead.
	FencedLinks map[string]bool
	// Fenced says why this speaker must not announce; "" if it may.
	Fenced string
	// Returned are the names of lost members that are heard again.
	Returned []string
	// NeedWitness is set if only a witness can tell whether the network of this node works.
	NeedWitness bool
	// Freezes counts how often this speaker did not run for so long that other nodes may have
	// taken its place.
	Freezes int
}

// updateView makes the View anew if something has changed.
func (e *engine) updateView(now time.Time) {
	suppressed, known := e.self.isSuppressed(now), e.known()
	if !e.changed && suppressed == e.view.Suppressed && e.ready == e.view.Ready && known == e.view.Known {
		return
	}
	e.changed = false
	v := View{
		Ready: e.ready, Dead: map[string][]netip.Addr{}, Profiles: map[string]Profile{}, Known: known, Suppressed: suppressed, Deaths: e.self.deaths, LinkDeaths: e.self.linkDeaths,
		FencedLinks: e.fencing.links, Fenced: e.fencing.reason, NeedWitness: e.fencing.needWitness, Freezes: e.self.freezes,
	}
	for _, m := range e.order {
		if len(m.dead) > 0 {
			v.Dead[m.name] = m.dead
		}
		if m.profile.Version > 0 {
			v.Profiles[m.name] = m.profile
		}
		if m.back && len(m.dead) < len(m.paths) {
			v.Returned = append(v.Returned, m.name)
		}
		if !m.kernelDeadAt.IsZero() {
			v.KernelDead = append(v.KernelDead, m.name)
		}
	}
	slices.Sort(v.KernelDead)
	e.view = v
	e.views++
}

// known returns View.Known.
func (e *engine) known() uint64 {
	versions := make([]uint64, 0, 2*watchers)
	for _, m := range e.near {
		if m.isMet() {
			versions = append(versions, m.knows)
		}
	}
	if len(versions) == 0 {
		return e.profile.Version
	}
	slices.Sort(versions)
	return versions[len(versions)/2]
}

// kernelMemory is how long a kernel counts as dead that no speaker watches any more.
const kernelMemory = time.Minute

// isKernelDead reports whether the member's kernel is dead on all links.
func (m *member) isKernelDead() bool {
	return len(m.paths) > 0 && !slices.ContainsFunc(m.paths, func(p *path) bool { return !p.dead || !p.kernelDead })
}
