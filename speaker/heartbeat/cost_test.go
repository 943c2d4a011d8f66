package heartbeat

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// among1000 is an engine with 999 other members. Its neighbours answer.
type among1000 struct {
	e       *engine
	now     time.Time
	members []Member
	seq     uint64
}

func newAmong1000() *among1000 {
	a := &among1000{now: time.Unix(1_000_000_000, 0)}
	a.e = newEngine("node0", defaultTiming, a.now)
	for i := 1; i < 1000; i++ {
		a.members = append(a.members, Member{Name: fmt.Sprint("node", i), Paths: []Path{{
			Link: "eth0", Local: netip.MustParseAddr("10.1.0.1"), Remote: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), MAC: [6]byte{2, byte(i >> 8), byte(i)},
		}}})
	}
	a.e.set(a.now, a.members)
	return a
}

// say gives the engine a message of a member.
func (a *among1000) say(name string, suspicions ...suspicion) {
	p := a.e.members[name].paths[0]
	a.seq++
	a.e.receive(a.now, message{name: name, from: p.Remote, to: p.Local, epoch: 1, echo: a.e.epoch, seq: a.seq, flags: flagHearing | flagKernel, suspicions: suspicions})
}

// second lets a second pass in which all neighbours answer that are not silent.
func (a *among1000) second(silent map[string]bool) {
	for end := a.now.Add(time.Second); a.now.Before(end); {
		for _, path := range a.e.probes {
			for _, name := range a.e.ring.around("node0") {
				if m := a.e.members[name]; !silent[name] && m.paths[0].Path == path {
					a.e.answered(a.now, path)
				}
			}
		}
		for _, name := range a.e.ring.around("node0") {
			if p := a.e.members[name].paths[0]; !silent[name] && a.now.Sub(p.heardAt) >= defaultTiming.SlowInterval {
				a.say(name)
			}
		}
		a.e.probes, a.e.out = a.e.probes[:0], a.e.out[:0]
		a.now = a.e.step(a.now)
	}
}

// BenchmarkSecondAmong1000 is what a second costs if nothing happens.
func BenchmarkSecondAmong1000(b *testing.B) {
	a := newAmong1000()
	a.second(nil)
	for b.Loop() {
		a.second(nil)
	}
	if len(a.e.view.Dead) > 0 || a.e.view.Fenced != "" {
		b.Fatalf("%+v", a.e.view)
	}
}

// BenchmarkPartitionOf1000 is what the second costs in which half of the members are cut off, and
// all members of this half say so.
func BenchmarkPartitionOf1000(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		a := newAmong1000()
		a.second(nil)
		far := map[string]bool{}
		for _, m := range a.members[500:] {
			far[m.Name] = true
		}
		b.StartTimer()
		for i, m := range a.members[:500] {
			// Each tells three times whom it misses: three of those who are cut off.
			var missed []suspicion
			for j := range 3 {
				other := a.members[500+(i+j)%499]
				missed = append(missed, suspicion{nodeID(other.Name), other.Paths[0].Remote, kindKernel})
				a.say(m.Name, missed...)
				a.e.step(a.now)
				a.e.out = a.e.out[:0]
			}
			a.now = a.now.Add(200 * time.Microsecond)
		}
		a.second(far)
		if n := len(a.e.view.Dead); n < 499 {
			b.Fatalf("%d members are dead, want all of the other half", n)
		}
	}
}
