package spread

import "time"

// holdYoung returns what is wanted without the carriers of VIPs that are young. What is
// wanted when this speaker starts is not young: the kernel may have had the rules for long, and
// other nodes carry connections. Neither is an address that no node has announced before.
func (s *Spreader) holdYoung(w Wanted, installed *ruleset, now time.Time) Wanted {
	young := map[place]time.Time{}
	vips := make([]VIP, len(w.VIPs))
	for i, v := range w.VIPs {
		vips[i] = v
		at := place{v.Link, v.Addr}
		since, isYoung := s.young[at]
		if !isYoung && (v.New || installed == nil || installed.numbers[at] > 0) {
			continue
		}
		if !isYoung {
			since = now
		}
		if now.Sub(since) < youth {
			young[at] = since
			vips[i].Table = &Table{Next: v.Table.Next, Last: v.Table.Last, Ring: v.Table.Ring}
		}
	}
	s.young = young
	w.VIPs = vips
	return w
}
