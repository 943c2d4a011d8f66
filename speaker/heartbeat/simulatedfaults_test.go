package heartbeat

import (
	"strings"
	"time"
)

// play runs the scenario: the start, one to three phases of faults, and the end, at which all
// is healed.
func (s *scenario) play() {
	s.pass(5 * time.Second)
	for range 1 + s.rng.IntN(3) {
		for range 1 + s.rng.IntN(2) {
			s.strike()
			if s.freezes.IntN(8) == 0 {
				s.freezeAll()
			}
			s.pass(time.Duration(s.rng.Int64N(int64(300 * time.Millisecond))))
		}
		s.pass(time.Duration(s.rng.Int64N(int64(8 * time.Second))))
		s.heal()
		s.pass(time.Duration(s.rng.Int64N(int64(6 * time.Second))))
	}
	if s.lists > 0 { // until the lists are right
		s.pass(12 * time.Second)
	}
	s.pass(6*time.Second + maxHealing)
	s.checkEnd()
}

// strike makes a random fault.
func (s *scenario) strike() {
	victim := s.pilots[s.rng.IntN(len(s.pilots))]
	link := s.rng.IntN(s.links)
	if !victim.runs() {
		return
	}
	if len(s.pilots) == 2 { // nobody can tell which of two nodes a fault of their link has hit
		s.pilots[0].died++
		s.pilots[1].died++
	}
	switch s.rng.IntN(10) {
	case 0:
		s.log("%s loses its power", victim.name)
		victim.off = true
		victim.died++
	case 1:
		s.log("%s crashes", victim.name)
		s.crash(victim)
	case 2:
		s.log("%s's process is frozen", victim.name)
		victim.frozen, victim.frozenAt = true, s.now
		victim.died++
	case 3:
		s.log("%s's machine is stopped", victim.name)
		victim.stopped = true
		victim.died++
	case 4, 5:
		way := s.rng.IntN(3)
		s.log("%s is cut off on eth%d, %s", victim.name, link, []string{"ingress", "egress", "both ways"}[way])
		victim.died++
		s.faults = append(s.faults, fault{"", func(from, to *node, on int) bool {
			return on == link && (way != 1 && to == victim.node || way != 0 && from == victim.node)
		}})
	case 6:
		side := map[*node]bool{}
		var names []string
		for _, n := range s.nodes {
			if s.rng.IntN(2) == 0 {
				side[n] = true
				names = append(names, n.name)
			}
		}
		s.log("eth%d is parted: %s on one side", link, strings.Join(names, ", "))
		for _, p := range s.pilots {
			p.died++
		}
		s.faults = append(s.faults, fault{"", func(from, to *node, on int) bool { return on == link && side[from] != side[to] }})
	case 7:
		pairs := map[[2]*node]bool{}
		var names []string
		for range 1 + s.rng.IntN(len(s.nodes)) {
			a, b := s.pilots[s.rng.IntN(len(s.nodes))], s.pilots[s.rng.IntN(len(s.nodes))]
			if a != b && !pairs[[2]*node{a.node, b.node}] {
				pairs[[2]*node{a.node, b.node}] = true
				names = append(names, a.name+" to "+b.name)
				a.died++
				b.died++
			}
		}
		s.log("eth%d drops frames from %s", link, strings.Join(names, ", "))
		s.faults = append(s.faults, fault{"", func(from, to *node, on int) bool { return on == link && pairs[[2]*node{from, to}] }})
	case 9:
		way := s.rng.IntN(3)
		s.log("a firewall drops the heartbeats of %s on eth%d, %s", victim.name, link, []string{"ingress", "egress", "both ways"}[way])
		victim.died++
		s.firewalls = append(s.firewalls, fault{"", func(from, to *node, on int) bool {
			return on == link && (way != 1 && to == victim.node || way != 0 && from == victim.node)
		}})
	case 8:
		s.loss = s.rng.Float64() * 0.4
		s.log("%.0f%% of all frames are lost", s.loss*100)
	}
}

// seemFrozen reports whether a firewall drops the heartbeats of two nodes in both directions while there is a
// witness. If no third node is left, it tells each of them to take the place of the other one, whose process
// seems to be frozen.
func (s *scenario) seemFrozen(a, b *node, link int) bool {
	return s.witness != nil && s.firewall(a, b, link) && s.firewall(b, a, link)
}

// freezeAll freezes all processes together for a while. It is no fault of any of them.
func (s *scenario) freezeAll() {
	length := 100*time.Millisecond + time.Duration(s.freezes.Int64N(int64(4900*time.Millisecond)))
	s.log("all processes are frozen for %v", length)
	var frozen []*pilot
	for _, p := range s.pilots {
		if p.runs() {
			p.frozen, p.frozenAt = true, s.now
			frozen = append(frozen, p)
		}
	}
	s.pass(length)
	for _, i := range s.freezes.Perm(len(frozen)) {
		s.pass(time.Duration(s.freezes.Int64N(int64(2 * time.Millisecond))))
		s.thaw(frozen[i].node)
		s.after(frozen[i].node)
	}
	for _, p := range s.pilots {
		if p.frozen {
			p.frozenAt = s.now // the others notice it from now on
		}
	}
	s.log("they go on")
	// A speaker that becomes deaf before it has learned the others' new epochs cannot say that it is fenced.
	s.pass(300 * time.Millisecond)
}

// crash ends a process. Its kernel closes the connections of the others, which they have on all
// links.
func (s *scenario) crash(victim *pilot) {
	victim.died++
	s.restart(victim)
	victim.frozen, victim.inbox, victim.answers = true, nil, nil
	for _, p := range s.pilots {
		for link := range s.links {
			if p != victim && p.runs() && s.bothReach(p.node, victim.node, link) {
				p.engine.crashed(s.now, victim.name) // the first end closes the others
				s.after(p.node)
				break
			}
		}
	}
}

func (s *scenario) restart(p *pilot) {
	s.start(p.node)
	if s.rng.IntN(4) == 0 { // its clock went back
		p.engine = newEngine(p.name, s.timing, s.now.Add(-1000*time.Hour))
		p.engine.planned, p.engine.due, p.engine.ticked = s.now, s.now, s.now
	}
	p.seen, p.resumed, p.standBack, p.told, p.announced, p.says, p.version, p.owns = 0, 0, time.Time{}, time.Time{}, false, 0, 0, make([]bool, s.links)
	p.lostMembers, p.listWants = map[*node]bool{}, map[*node]bool{}
	s.tellList(p)
}

// heal ends all faults.
func (s *scenario) heal() {
	s.log("all is healed")
	s.faults, s.firewalls, s.loss = nil, nil, 0
	for _, p := range s.pilots {
		switch {
		case p.off:
			p.off = false
			s.restart(p)
		case p.frozen:
			s.thaw(p.node)
			p.started = s.now
			s.after(p.node)
		case p.stopped:
			p.stopped, p.next, p.started = false, s.now, s.now
			s.after(p.node)
		}
	}
}

// checkEnd checks that all agree.
func (s *scenario) checkEnd() {
	for _, p := range s.pilots {
		v := p.engine.view
		if len(v.Dead) > 0 || v.Fenced != "" || len(v.FencedLinks) > 0 || !p.engine.lease().After(s.now) {
			s.fail("at the end %s believes %v dead, fenced %q %v", p.name, v.Dead, v.Fenced, v.FencedLinks)
		}
		if v.Suppressed && p.died < 2 {
			s.fail("%s is suppressed, but it was hit by %d faults", p.name, p.died)
		}
	}
	for link := range s.links {
		owners := 0
		for _, p := range s.pilots {
			if s.mayAnswer(p, link) {
				owners++
			}
		}
		if owners != 1 {
			s.fail("at the end eth%d has %d owners", link, owners)
		}
	}
}
