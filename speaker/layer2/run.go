package layer2

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"
)

// burst is when an address is announced after a takeover, counted from the
// takeover. The first announcement is sent at once. The next two repair a loss. Linux
// hosts do not change an ARP entry within a second, so there is one after that. The
// last two are for switches that were busy (RFC 5227 section 2.3 asks for two
// announcements, two seconds apart).
var burst = []time.Duration{0, 50 * time.Millisecond, 200 * time.Millisecond, 1100 * time.Millisecond, 2200 * time.Millisecond, 5 * time.Second}

const (
	// DefaultRefresh is how often an address that does not move is announced. Switches
	// forget a MAC address later than that (most of them after 300 s).
	DefaultRefresh = 60 * time.Second
	// roundSize and roundInterval bound the rate of announcements: 1,000 addresses are announced
	// within 32 ms. Routers police the packets that their CPU has to handle, and each address is
	// announced again later.
	roundSize     = 64
	roundInterval = 2 * time.Millisecond
	// fencedRetry is how long an announcement is delayed while this node is fenced.
	fencedRetry = 20 * time.Millisecond
	// idle is how long the announcer sleeps if nothing is due.
	idle = time.Hour
	// never is the pause between two announcements without a refresh.
	never = 100 * 365 * 24 * time.Hour
)

// announceDue announces what is due, ends hand-overs and handles claims, until ctx
// ends.
func (a *Announcer) announceDue(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.changed.C():
		case <-timer.C:
		case c := <-a.claims:
			if !a.handleClaims(c) {
				continue
			}
		}
		timer.Reset(a.due())
	}
}

// dueEntry is an address on a link on which something is due.
type dueEntry struct {
	addr netip.Addr
	*entry
}

// due does what is due now. It returns after which time the next thing is due.
func (a *Announcer) due() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	soonest, changed := now.Add(idle), false
	var ready []dueEntry
	for addr, all := range a.entries {
		for _, e := range all {
			if now.Before(e.next) {
				soonest = earlier(soonest, e.next)
				continue
			}
			ready = append(ready, dueEntry{addr, e})
		}
	}
	if len(ready) > roundSize { // the addresses that are due for the longest time come first
		slices.SortFunc(ready, func(x, y dueEntry) int { return x.next.Compare(y.next) })
		ready, soonest = ready[:roundSize], now.Add(roundInterval)
	}
	for _, d := range ready {
		changed = a.advance(d.addr, d.entry, now) || changed
		soonest = earlier(soonest, d.next)
	}
	if changed {
		a.publish()
	}
	return soonest.Sub(now)
}

// advance does what is due for an address on one link. It reports whether the set of addresses
// that are answered has changed.
func (a *Announcer) advance(addr netip.Addr, e *entry, now time.Time) (changed bool) {
	switch e.phase {
	case probing:
		if e.sent == probes {
			a.start(addr, e)
			return true
		}
		a.write(addr, e, func(mac [6]byte) [][]byte { return [][]byte{probe(mac, addr)} })
		e.sent, e.next = e.sent+1, now.Add(probePause)
	case conflicting:
		e.phase, e.sent, e.next = probing, 0, now
	case lingering:
		a.log.Info("hand-over ended without hearing the new owner", "vip", addr, "link", e.link)
		a.remove(addr, e)
		e.next = now.Add(idle)
		return true
	case announcing:
		if !a.options.MayAnswer() {
			e.sent, e.next = 0, now.Add(fencedRetry)
			return false
		}
		a.announce(addr, e)
		e.next = now.Add(a.pause(e.sent, rand.Float64()))
		e.sent++
	}
	return false
}

// pause is the time between announcement n, counted from 0, and the next one. chance
// is a random number in [0,1) that spreads the refreshes of many addresses.
func (a *Announcer) pause(n int, chance float64) time.Duration {
	if n+1 < len(burst) {
		return burst[n+1] - burst[n]
	}
	if a.options.Refresh <= 0 {
		return never
	}
	return time.Duration(float64(a.options.Refresh) * (0.8 + 0.4*chance))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// announce sends the announcements of addr on the link of the entry.
func (a *Announcer) announce(addr netip.Addr, e *entry) {
	a.write(addr, e, func(mac [6]byte) [][]byte { return announcements(mac, addr) })
}

// write sends frames about addr on the link of the entry.
func (a *Announcer) write(addr netip.Addr, e *entry, frames func(mac [6]byte) [][]byte) {
	for _, p := range a.ports {
		if e.link != p.link.Name {
			continue
		}
		for _, frame := range frames(p.link.MAC) {
			if err := p.socket(addr).write(frame); err != nil {
				a.metrics.errors.WithLabelValues(p.link.Name, "send").Inc()
				a.log.Warn("sending an announcement or probe failed", "vip", addr, "link", p.link.Name, "error", err)
				continue
			}
			a.metrics.announcements.WithLabelValues(p.link.Name, family(addr)).Inc()
		}
	}
}

// announcements returns the frames that tell all hosts on a link that mac has addr.
func announcements(mac [6]byte, addr netip.Addr) [][]byte {
	if addr.Is4() {
		return gratuitousARP(mac, addr)
	}
	return [][]byte{unsolicitedNA(mac, addr)}
}

func probe(mac [6]byte, addr netip.Addr) []byte {
	if addr.Is4() {
		return probeARP(mac, addr)
	}
	return probeNS(mac, addr)
}

func family(addr netip.Addr) string {
	if addr.Is4() {
		return "ipv4"
	}
	return "ipv6"
}
