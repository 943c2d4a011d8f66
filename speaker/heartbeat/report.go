package heartbeat

import (
	"reflect"
	"slices"
)

// publish makes the engine's decisions visible.
func (h *Heartbeat) publish(e *engine) {
	lease := int64(0)
	if until := e.lease(); !until.IsZero() {
		lease = int64(until.Sub(h.start))
	}
	if old := h.lease.Load(); old != noExpiry {
		h.lease.CompareAndSwap(old, lease)
	}
	before, view := h.view.Load(), e.view
	if reflect.DeepEqual(*before, view) {
		return
	}
	h.view.Store(&view)
	h.report(*before, view)
	if was := *before; was.NeedWitness != view.NeedWitness {
		was.NeedWitness = view.NeedWitness
		if reflect.DeepEqual(was, view) {
			return // no plan depends on that
		}
	}
	h.options.Changed()
}

// report logs what has changed.
func (h *Heartbeat) report(before, now View) {
	for name, addrs := range now.Dead {
		if len(before.Dead[name]) == 0 {
			h.metrics.deaths.Inc()
			h.log.Warn("member is dead, its VIPs move", "node", name, "at", addrs, "kernel", slices.Contains(now.KernelDead, name))
		}
	}
	for name := range before.Dead {
		if len(now.Dead[name]) == 0 {
			h.log.Info("member is not dead any more, or is no member any more", "node", name)
		}
	}
	if now.Deaths != before.Deaths {
		h.metrics.ownDeaths.Inc()
		h.log.Warn("other speakers have taken this one for dead", "times", now.Deaths)
	}
	if now.Suppressed && !before.Suppressed {
		h.log.Warn("this speaker is suppressed for flapping, other nodes are preferred", "for at most", deathMemory)
	}
	switch {
	case now.Fenced != "" && now.Fenced != before.Fenced:
		h.log.Warn("this speaker is fenced and announces nothing", "reason", now.Fenced)
	case now.Fenced == "" && before.Fenced != "":
		h.log.Info("this speaker is not fenced any more")
	}
	for link := range now.FencedLinks {
		if !before.FencedLinks[link] && now.Fenced == "" {
			h.log.Warn("this link is fenced and not used", "link", link)
		}
	}
}
