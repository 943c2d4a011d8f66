package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// This file judges what the watchers see, by the model. It is pure: answers and faults in,
// violations out.

// violation is something that must not happen.
type violation struct {
	what     string
	from, to time.Time
	late     time.Duration // how late the watcher was in this time
	allowed  time.Duration // the limit that was exceeded
}

// doubtful reports whether the watcher was so late that it may have seen what did not happen.
func (v violation) doubtful() bool { return v.late > v.allowed/3 }

// lateness measures how late a watcher is that should look every so often.
type lateness struct {
	every time.Duration
	last  time.Time
	now   time.Duration // at the last look
	most  time.Duration
}

func (l *lateness) see(at time.Time) {
	l.now = 0
	if !l.last.IsZero() {
		l.now = max(0, at.Sub(l.last)-l.every)
	}
	l.last, l.most = at, max(l.most, l.now)
}

// run is a time in which something was seen again and again.
type run struct {
	open     bool
	from, to time.Time
	late     time.Duration
	reported bool
	who      []string
}

// spells finds the spells without an answer on one side of one address.
type spells struct {
	vip     vip
	side    side
	late    lateness
	open    run
	lengths []time.Duration // of the spells that have ended
	counted []time.Duration // the part of each that counts, if there is one
}

// overdue is when a spell is reported that has not ended.
const overdue = 5 * time.Second

// see takes one attempt and whether it was answered. Attempts come in the order of their
// times. owner is the node that answered last.
func (s *spells) see(at time.Time, answered bool, owner string, m model) []violation {
	s.late.see(at)
	if !s.open.open {
		if !answered {
			s.open = run{open: true, from: at, to: at, late: s.late.now}
		}
		return nil
	}
	s.open.to, s.open.late = at, max(s.open.late, s.late.now)
	if answered {
		return s.end(owner, m)
	}
	if at.Sub(s.open.from) > overdue && !s.open.reported {
		s.open.reported = true
		return s.judge(owner, m)
	}
	return nil
}

// end ends a spell, if there is one.
func (s *spells) end(owner string, m model) (found []violation) {
	if !s.open.open {
		return nil
	}
	if !s.open.reported {
		found = s.judge(owner, m)
	}
	s.lengths = append(s.lengths, s.open.to.Sub(s.open.from))
	if counted := m.counted(s.vip, s.side, owner, s.open.from, s.open.to); counted > 0 {
		s.counted = append(s.counted, counted)
	}
	s.open = run{}
	return found
}

func (s *spells) judge(owner string, m model) []violation {
	counted := m.counted(s.vip, s.side, owner, s.open.from, s.open.to)
	if counted <= limit {
		return nil
	}
	what := fmt.Sprintf("no %s for %s was answered for %d ms, of which %d ms count", s.side, s.vip.addr, s.open.to.Sub(s.open.from).Milliseconds(), counted.Milliseconds())
	if owner != "" {
		what += "; " + owner + " had answered last"
	}
	return []violation{{what: what, from: s.open.from, to: s.open.to, late: s.open.late, allowed: limit}}
}

// inTime is how late an answer to an ARP request may be. A later answer counts as none.
const inTime = 200 * time.Millisecond

// answers judges the answers to the ARP requests for one address.
type answers struct {
	vip     vip
	silence spells
	names   map[string]string // nodes, by MAC address
	owner   string            // the node that answered last
	double  run
	doubles []time.Duration      // how long two nodes answered, each time
	wrong   map[string]time.Time // when a host answered last that must not, by node
}

func newAnswers(v vip, every time.Duration, names map[string]string) *answers {
	return &answers{vip: v, names: names, wrong: map[string]time.Time{},
		silence: spells{vip: v, side: asking, late: lateness{every: every}}}
}

// see takes one request with all of its answers. Requests come in the order of their times.
func (a *answers) see(q cluster.Question, m model) (found []violation) {
	var who []string
	answered := false
	for i, mac := range q.MACs {
		name := a.names[mac]
		if name == "" {
			name = "a host with the MAC address " + mac
		}
		who = append(who, name)
		answered = answered || q.Times[i].Sub(q.At) <= inTime
	}
	found = a.silence.see(q.At, answered, a.owner, m)
	if len(who) == 1 {
		a.owner = who[0]
	}
	for i, name := range who {
		found = append(found, a.wrongAnswer(name, q.Times[i], m)...)
	}
	return append(found, a.seeDouble(q, who, m)...)
}

// wrongAnswer reports an answer of a host that must not answer, once for each time.
func (a *answers) wrongAnswer(name string, at time.Time, m model) []violation {
	if m.may(a.vip, name, at) {
		return nil
	}
	before := a.wrong[name]
	a.wrong[name] = at
	if at.Sub(before) < time.Second {
		return nil
	}
	return []violation{{what: fmt.Sprintf("%s answered for %s, but must not", name, a.vip.addr), from: at, to: at, allowed: limit}}
}

// gap is how long there can be one answer only, within a time in which two nodes answer.
const gap = 100 * time.Millisecond

func (a *answers) seeDouble(q cluster.Question, who []string, m model) (found []violation) {
	at, late := q.At, a.silence.late.now
	for _, t := range q.Times {
		if t.After(at) {
			at = t // the two nodes both answered at the time of the last answer
		}
	}
	if a.double.open && q.At.Sub(a.double.to) > gap+late {
		found = a.endDouble()
	}
	if !reachable(who, at, m) {
		return found
	}
	if !a.double.open {
		a.double = run{open: true, from: at, to: at}
	}
	a.double.late = max(a.double.late, late)
	if at.After(a.double.to) {
		a.double.to = at
	}
	for _, name := range who {
		if !slices.Contains(a.double.who, name) {
			a.double.who = append(a.double.who, name)
		}
	}
	if at.Sub(a.double.from) > overdue && !a.double.reported {
		a.double.reported = true
		found = append(found, a.judgeDouble()...)
	}
	return found
}

// reachable reports whether two of these nodes reached each other at that time.
func reachable(who []string, at time.Time, m model) bool {
	for i, one := range who {
		for _, other := range who[:i] {
			if m.reach(one, other, at) {
				return true
			}
		}
	}
	return false
}

func (a *answers) judgeDouble() []violation {
	length := a.double.to.Sub(a.double.from) + a.silence.late.every
	if length <= limit {
		return nil
	}
	slices.Sort(a.double.who)
	what := fmt.Sprintf("%s all answered for %s for %d ms, although they reached each other", strings.Join(a.double.who, " and "), a.vip.addr, length.Milliseconds())
	return []violation{{what: what, from: a.double.from, to: a.double.to, late: a.double.late, allowed: limit}}
}

func (a *answers) endDouble() (found []violation) {
	if !a.double.open {
		return nil
	}
	if !a.double.reported {
		found = a.judgeDouble()
	}
	a.doubles = append(a.doubles, a.double.to.Sub(a.double.from)+a.silence.late.every)
	a.double = run{}
	return found
}

// end ends what has not ended when the watching ends.
func (a *answers) end(m model) []violation {
	return append(a.silence.end(a.owner, m), a.endDouble()...)
}
