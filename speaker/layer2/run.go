package layer2

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

// burst is when an address is announced after it was taken over, counted from
// the takeover: at once; soon again for what was lost; after the second for
// which Linux hosts do not let an ARP entry change; and twice more for switches
// that were busy (RFC 5227 2.3 asks for two, two seconds apart).
var burst = []time.Duration{0, 50 * time.Millisecond, 200 * time.Millisecond, 1100 * time.Millisecond, 2200 * time.Millisecond, 5 * time.Second}

// refresh is how often an address is announced after that, in the mean: more
// often than switches forget a MAC address (300 s by habit).
const refresh = 60 * time.Second

// warnAgain is how long one and the same conflict is not logged again.
const warnAgain = time.Minute

// run announces what is due, ends what lingers and hears claims, until Close.
func (a *Announcer) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-a.stop:
			return
		case <-a.wake:
		case <-timer.C:
		case c := <-a.claims:
			if !a.heard(c) {
				continue
			}
		}
		timer.Reset(a.due())
	}
}

// due does what is due now and returns how long nothing is.
func (a *Announcer) due() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	soonest := now.Add(time.Hour)
	ended := false
	for addr, e := range a.entries {
		switch {
		case e.role == Standby && !now.Before(e.until):
			a.log.Info("hand-over ended, the new owner was not heard", "vip", addr)
			delete(a.entries, addr)
			ended = true
			continue
		case e.role == Standby:
			soonest = earlier(soonest, e.until)
			continue
		case !now.Before(e.next):
			a.announce(addr)
			e.next = now.Add(pause(e.burst, rand.Float64()))
			e.burst++
		}
		soonest = earlier(soonest, e.next)
	}
	if ended {
		a.publish()
	}
	return soonest.Sub(now)
}

// pause is the time between announcement n, counted from 0, and the next one.
// chance is in [0,1) and spreads the refreshes of many addresses.
func pause(n int, chance float64) time.Duration {
	if n+1 < len(burst) {
		return burst[n+1] - burst[n]
	}
	return time.Duration(float64(refresh) * (0.8 + 0.4*chance))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// announce sends the announcements of addr on every link.
func (a *Announcer) announce(addr netip.Addr) {
	for _, p := range a.ports {
		for _, frame := range announcements(p.link.MAC, addr) {
			if err := p.socket(addr).write(frame); err != nil {
				a.metrics.errors.WithLabelValues(p.link.Name, "send").Inc()
				a.log.Warn("announcement not sent", "vip", addr, "link", p.link.Name, "error", err)
				continue
			}
			a.metrics.announcements.WithLabelValues(p.link.Name, family(addr)).Inc()
		}
	}
}

// announcements returns the frames that tell everybody on a link that mac has addr.
func announcements(mac [6]byte, addr netip.Addr) [][]byte {
	if addr.Is4() {
		return gratuitousARP(mac, addr)
	}
	return [][]byte{unsolicitedNA(mac, addr)}
}

// heard handles a foreign claim: the end of a hand-over, or a conflict. It
// reports whether anything has changed.
func (a *Announcer) heard(c claim) (changed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.ports {
		if p.link.MAC == c.mac {
			return false // this node, on another link of the same segment
		}
	}
	e := a.entries[c.addr]
	if e == nil {
		return false
	}
	if e.role == Standby {
		a.log.Info("handed over", "vip", c.addr, "to", net.HardwareAddr(c.mac[:]).String(), "link", c.link)
		delete(a.entries, c.addr)
		a.publish()
		return true
	}
	a.metrics.foreignClaims.WithLabelValues(c.link).Inc()
	if now := a.now(); now.Sub(e.warned) > warnAgain {
		e.warned = now
		a.log.Warn("another host claims an address of ours; while an address moves this is normal, otherwise look for that host", "vip", c.addr, "mac", net.HardwareAddr(c.mac[:]).String(), "link", c.link)
	}
	return false
}

func family(addr netip.Addr) string {
	if addr.Is4() {
		return "ipv4"
	}
	return "ipv6"
}
