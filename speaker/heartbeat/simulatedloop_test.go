package heartbeat

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// pilot is what surrounds the engine of a node.
type pilot struct {
	*node
	passed      time.Time
	seen        int
	resumed     int
	standBack   time.Time // until then others are preferred
	told        time.Time // when it said last that others need not be preferred any more; zero if they know
	announced   bool      // it was fit to announce at some time
	says        byte
	version     uint64
	owns        []bool // by link
	died        int    // faults that hit this node
	frozenAt    time.Time
	believes    map[string][]netip.Addr
	asked       time.Time // when the witness has answered last
	listLag     map[*node]time.Time
	listWants   map[*node]bool
	lostMembers map[*node]bool
}

const (
	saysFenced = 1 << iota
	saysSuppressed
)

// steer does what the loop of a speaker does: it acts at once, and then waits for 50 ms.
func (s *scenario) steer(p *pilot) {
	v := p.engine.view
	changed := p.engine.views != p.seen || !p.standBack.IsZero() && !s.now.Before(p.standBack) || !p.told.IsZero()
	if !changed || s.now.Sub(p.passed) < 50*time.Millisecond {
		return
	}
	p.passed, p.seen = s.now, p.engine.views
	if v.Deaths != p.resumed {
		s.log("%s learns that it was dead", p.name)
	}
	for name, addrs := range v.Dead {
		if !slices.Equal(addrs, p.believes[name]) {
			s.log("%s believes %s dead at %v", p.name, name, addrs)
		}
	}
	for name := range p.believes {
		if len(v.Dead[name]) == 0 {
			s.log("%s believes %s alive", p.name, name)
		}
	}
	p.believes = v.Dead
	if v.Deaths != p.resumed && s.others(p, v) {
		p.standBack = s.now.Add(5 * time.Second)
	}
	if lasts := s.now.Sub(p.told); lasts >= 5*time.Second || lasts >= 100*time.Millisecond && v.Known >= p.version {
		p.told = time.Time{}
	}
	if !p.standBack.IsZero() && !s.now.Before(p.standBack) {
		p.standBack, p.told = time.Time{}, s.now
	}
	says := byte(0)
	if v.Fenced != "" || !v.Ready {
		says |= saysFenced
	}
	if v.Suppressed || !p.standBack.IsZero() {
		says |= saysSuppressed
	}
	if says&saysFenced == 0 {
		if p.announced && p.says&saysFenced != 0 {
			p.told = s.now // it was fenced
		}
		p.announced = true
	}
	if says&saysSuppressed != 0 {
		p.told = time.Time{}
	}
	if says != p.says || p.version == 0 {
		p.says = says
		p.version = max(p.version+1, uint64(s.now.UnixNano()))
		p.engine.say(Profile{p.version, []byte{says}})
	}
	if v.Deaths != p.resumed {
		p.resumed = v.Deaths
		p.engine.resume(v.Deaths)
	}
	for link := range s.links {
		p.owns[link] = s.elects(p, v, link) == p.node
	}
	s.after(p.node)
}

// testify asks the witness for a node that needs one.
func (s *scenario) testify(p *pilot) {
	if s.witness == nil || !p.engine.view.NeedWitness || s.now.Sub(p.asked) < witnessInterval || s.drops(p.node, s.witness, Path{Local: p.addrs[0]}) || s.drops(s.witness, p.node, Path{Local: p.addrs[0]}) {
		return
	}
	p.asked = s.now
	p.engine.witness(s.now, s.now.Add(testimonyLife))
	s.after(p.node)
}

// others reports whether another speaker is well.
func (s *scenario) others(p *pilot, v View) bool {
	return slices.ContainsFunc(s.nodes, func(o *node) bool {
		return o != p.node && len(v.Dead[o.name]) == 0 && says(v, o)&(saysFenced|saysSuppressed) == 0 && !p.lostMembers[o]
	})
}

func says(v View, n *node) byte {
	if b := v.Profiles[n.name].Bytes; len(b) > 0 {
		return b[0]
	}
	return saysFenced
}

// elects returns whom a node takes for the owner of a link's address.
func (s *scenario) elects(p *pilot, v View, link int) (owner *node) {
	best := ^uint64(0)
	for _, n := range s.nodes {
		rank := nodeID(fmt.Sprint(n.name, "/", link)) >> 1
		if n == p.node {
			if v.Fenced != "" || v.FencedLinks[fmt.Sprint("eth", link)] || !v.Ready {
				continue
			}
			if v.Suppressed || !p.standBack.IsZero() || !p.told.IsZero() {
				rank |= 1 << 63
			}
		} else {
			if p.lostMembers[n] && !slices.Contains(v.Returned, n.name) || slices.Contains(v.Dead[n.name], n.addrs[link]) || says(v, n)&saysFenced != 0 {
				continue
			}
			if says(v, n)&saysSuppressed != 0 {
				rank |= 1 << 63
			}
		}
		if rank < best {
			best, owner = rank, n
		}
	}
	return owner
}

// answers reports whether a node answers for the address of a link.
func (s *scenario) mayAnswer(p *pilot, link int) bool {
	return p.runs() && p.owns[link] && p.engine.lease().After(s.now) && !p.engine.fencing.links[fmt.Sprint("eth", link)]
}

// moves are the times at which the address of a link has moved to another node lately.
type moves struct {
	holder *pilot
	times  []time.Time
	worst  int // the most within movesTime
}

// see notes who answers now. It returns how often the address has moved within movesTime if it moves
// now, and 0 if it does not.
func (m *moves) see(now time.Time, owners []*pilot) int {
	m.times = slices.DeleteFunc(m.times, func(at time.Time) bool { return now.Sub(at) > movesTime })
	if len(owners) == 0 || slices.Contains(owners, m.holder) {
		return 0
	}
	if m.holder != nil {
		m.times = append(m.times, now)
	}
	m.holder = owners[0]
	m.worst = max(m.worst, len(m.times))
	return len(m.times)
}
