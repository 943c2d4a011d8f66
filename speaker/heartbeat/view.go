package heartbeat

import (
	"net/netip"
	"time"
)

// View is what a speaker concludes from the heartbeats.
type View struct {
	// Ready is false until all neighbours were heard, or had enough time for it.
	Ready bool
	// Dead has the addresses at which a member does not answer, by its name.
	Dead map[string][]netip.Addr
	// KernelDead are the names, sorted, of the members whose kernel does not answer on any link.
	// A member whose process alone has ended is not among them.
	KernelDead []string
	// Suppressed has the names of the members that failed too often in the last
	// minutes. This node can be among them.
	Suppressed map[string]bool
	// WasGone is set if another speaker has told this one, shortly after its start, that it
	// was dead before without a goodbye.
	WasGone bool
	// FencedLinks has the names of this node's links on which no member hears it.
	FencedLinks map[string]bool
	// Fenced says why this speaker must not announce; "" if it may.
	Fenced string
	// Returned are the names of lost members that are heard again.
	Returned []string
	// NeedWitness is set if only a witness can tell whether the network of this node works.
	NeedWitness bool
	// Freezes counts how often this speaker was frozen.
	Freezes int
}

// updateView brings the view up to date.
func (e *engine) updateView(now time.Time) {
	e.observe(now)
	e.view = e.currentView(now)
}

// observe draws the conclusions that the engine remembers: on which links this speaker
// is fenced, which members are dead, and how often they died.
func (e *engine) observe(now time.Time) {
	e.ready = e.ready || e.isReady(now)
	r := e.reception(now)
	e.updateAlone(now, r)
	e.fencing = e.fence(now, r)
	for _, m := range e.order {
		for _, path := range m.paths {
			path.prove(now, e.fencing.reason != "")
		}
	}
	suspected := e.suspected(now)
	for _, m := range e.order {
		var dead []netip.Addr
		if !m.lost && (suspected[m.id] || m.looksWrong(now)) {
			dead = e.deadAddrs(now, m)
		}
		e.countLoss(now, m, len(dead) > 0 && (!e.alone || m.proven()))
		m.dead = dead
		// A member that is dead on one of its links only has not gone.
		m.gone = m.gone || len(dead) > 0 && len(dead) == len(m.paths)
	}
}

// currentView makes the View from what observe has concluded. It changes nothing.
func (e *engine) currentView(now time.Time) View {
	v := View{
		Ready: e.ready, Dead: map[string][]netip.Addr{}, Suppressed: map[string]bool{},
		FencedLinks: e.fencing.links, Fenced: e.fencing.reason, NeedWitness: e.fencing.needWitness, Freezes: e.freezes, WasGone: e.wasGone,
	}
	if now.Before(e.suppressedUntil) {
		v.Suppressed[e.name] = true
	}
	for _, m := range e.order {
		if len(m.dead) > 0 {
			v.Dead[m.name] = m.dead
		}
		if len(m.losses) >= maxLosses {
			v.Suppressed[m.name] = true
		}
		for _, path := range m.paths {
			if m.lost && path.mutual(now) && path.flags&flagFenced == 0 {
				v.Returned = append(v.Returned, m.name)
				break
			}
		}
	}
	return v
}

// isReady reports whether all neighbours were heard, or readyBy has passed: a firewall
// may block them.
func (e *engine) isReady(now time.Time) bool {
	if e.readyBy.IsZero() {
		return false // the members are not known yet
	}
	if !now.Before(e.readyBy) {
		return true
	}
	for _, m := range e.order {
		for _, path := range m.paths {
			if path.watched && !path.bidirectional {
				return false
			}
		}
	}
	return true
}
