package bfd

import (
	"net/netip"
	"testing"
	"time"
)

// pair is two sessions with a wire between them, and a clock.
type pair struct {
	a, b  *session
	now   time.Time
	cut   bool
	loss  func() bool
	sentA int
}

func newPair(receive, transmit time.Duration) *pair {
	s := Session{Peer: netip.MustParseAddr("192.0.2.1"), Receive: receive, Transmit: transmit, Multiplier: 3}
	return &pair{a: newSession(s, 1), b: newSession(s, 2), now: time.Unix(1000, 0), loss: func() bool { return false }}
}

// run lets time pass in steps of a millisecond.
func (p *pair) run(d time.Duration) {
	for end := p.now.Add(d); p.now.Before(end); p.now = p.now.Add(time.Millisecond) {
		p.a.expire(p.now)
		p.b.expire(p.now)
		p.step(p.a, p.b)
		p.step(p.b, p.a)
	}
}

func (p *pair) step(from, to *session) {
	out := from.send(p.now, 0.5)
	if out == nil {
		return
	}
	if from == p.a {
		p.sentA++
	}
	p.carry(from, to, *out)
}

func (p *pair) carry(from, to *session, out packet) {
	if p.cut || p.loss() {
		return
	}
	in, err := parse(out.marshal())
	if err != nil {
		panic(err)
	}
	if to.receive(in, p.now) {
		answer := to.packet()
		answer.final = true
		p.carry(to, from, answer)
	}
}

func (p *pair) want(t *testing.T, a, b State) {
	t.Helper()
	if p.a.state != a || p.b.state != b {
		t.Fatalf("states are %v and %v, want %v and %v (%s; %s)", p.a.state, p.b.state, a, b, p.a.why, p.b.why)
	}
}

func TestSessionComesUpAndSendsAtItsInterval(t *testing.T) {
	p := newPair(100*time.Millisecond, 100*time.Millisecond)
	p.run(1500 * time.Millisecond)
	p.want(t, Up, Up)
	if p.a.polling || p.b.polling {
		t.Error("the change of interval was not confirmed")
	}
	before := p.sentA
	p.run(10 * time.Second)
	if sent := p.sentA - before; sent < 100 || sent > 134 { // 75 to 100 ms apart
		t.Errorf("%d packets in 10 s at 100 ms", sent)
	}
}

func TestSessionExpiresAfterThreeIntervals(t *testing.T) {
	p := newPair(100*time.Millisecond, 100*time.Millisecond)
	p.run(2 * time.Second)
	p.cut = true
	p.run(200 * time.Millisecond)
	p.want(t, Up, Up)
	p.run(110 * time.Millisecond)
	p.want(t, Down, Down)
	if p.a.diag != detectionExpired || p.a.why != "no packet from the peer for 300ms" {
		t.Errorf("diagnostic %d, %q", p.a.diag, p.a.why)
	}
	p.cut = false
	p.run(2 * time.Second)
	p.want(t, Up, Up)
}

func TestIntervalIsThatOfTheSlowerPeer(t *testing.T) {
	p := newPair(100*time.Millisecond, 100*time.Millisecond)
	p.b.Receive, p.b.Transmit = 400*time.Millisecond, 500*time.Millisecond
	p.run(3 * time.Second)
	p.want(t, Up, Up)
	before := p.sentA
	p.run(10 * time.Second)
	if sent := p.sentA - before; sent < 25 || sent > 34 { // 300 to 400 ms apart
		t.Errorf("%d packets in 10 s to a peer that bears one in 400 ms", sent)
	}
	if p.a.detection() != 1500*time.Millisecond {
		t.Errorf("a peer that sends every 500 ms is given up after %v", p.a.detection())
	}
}

// FRR's bfdd accepts one packet a second until the session is up. Then it expects packets
// at the configured interval at once.
func TestIntervalShrinksWhenThePeerAllowsIt(t *testing.T) {
	p := newPair(100*time.Millisecond, 100*time.Millisecond)
	p.b.Receive = time.Second
	p.run(3 * time.Second)
	p.want(t, Up, Up)
	p.b.Receive, p.b.polling, p.b.now = 100*time.Millisecond, true, true
	before := p.sentA
	p.run(250 * time.Millisecond)
	p.want(t, Up, Up)
	if sent := p.sentA - before; sent < 2 {
		t.Errorf("%d packets in the first 250 ms to a peer that bears one in 100 ms", sent)
	}
}

func TestSessionSendsOnceASecondUntilItIsUp(t *testing.T) {
	p := newPair(50*time.Millisecond, 50*time.Millisecond)
	p.cut = true
	p.run(10 * time.Second)
	if p.sentA < 10 || p.sentA > 14 {
		t.Errorf("%d packets in 10 s to a peer that does not answer", p.sentA)
	}
}

func TestSessionDisabledByThePeerHasNotFailed(t *testing.T) {
	p := newPair(100*time.Millisecond, 100*time.Millisecond)
	p.run(2 * time.Second)
	p.b.state = AdminDown
	p.carry(p.b, p.a, p.b.packet())
	if p.a.state != Down || p.a.peerState != AdminDown || p.a.why != "the peer has disabled BFD" {
		t.Errorf("state %v, peer %v, %q", p.a.state, p.a.peerState, p.a.why)
	}
}

func TestSessionComesUpAgainAfterAPeerRestart(t *testing.T) {
	p := newPair(100*time.Millisecond, 100*time.Millisecond)
	p.run(2 * time.Second)
	p.b = newSession(p.b.Session, 77)
	p.carry(p.b, p.a, p.b.packet())
	p.want(t, Down, Down)
	p.run(2 * time.Second)
	p.want(t, Up, Up)
}

func TestPassiveSessionWaitsForThePeer(t *testing.T) {
	p := newPair(100*time.Millisecond, 100*time.Millisecond)
	p.a.Passive = true
	p.cut = true
	p.run(5 * time.Second)
	if p.sentA > 0 {
		t.Errorf("%d packets before the peer has sent any", p.sentA)
	}
	p.cut = false
	p.run(3 * time.Second)
	p.want(t, Up, Up)
}

func TestSessionSendsNothingToAPeerThatWantsNothing(t *testing.T) {
	p := newPair(100*time.Millisecond, 100*time.Millisecond)
	p.run(2 * time.Second)
	p.cut = true
	quiet := p.b.packet()
	quiet.requiredRx = 0
	p.a.receive(quiet, p.now)
	before := p.sentA
	p.run(250 * time.Millisecond)
	if p.sentA != before {
		t.Errorf("%d packets", p.sentA-before)
	}
}

func TestSessionIgnoresPacketsOfAnotherSession(t *testing.T) {
	p := newPair(100*time.Millisecond, 100*time.Millisecond)
	p.run(2 * time.Second)
	spoofed := p.b.packet()
	spoofed.your, spoofed.state = 99, Down
	p.a.receive(spoofed, p.now)
	p.want(t, Up, Up)
}

// A machine that was frozen has not received what its peer sent.
func TestSessionSurvivesAFreeze(t *testing.T) {
	p := newPair(100*time.Millisecond, 100*time.Millisecond)
	p.run(2 * time.Second)
	p.now = p.now.Add(2 * time.Second)
	p.run(50 * time.Millisecond)
	p.want(t, Up, Up)
}

func TestSessionSurvivesTheLossOfATenthOfAllPackets(t *testing.T) {
	p := newPair(100*time.Millisecond, 100*time.Millisecond)
	n := 0
	p.loss = func() bool { n++; return n%10 == 0 }
	p.run(2 * time.Second)
	for range 60 {
		p.run(time.Second)
		p.want(t, Up, Up)
	}
}

func TestSessionAdmitsOnlyPacketsFromTheLink(t *testing.T) {
	near, bound, far := Session{}, Session{Link: 7}, Session{Multihop: true, MinimumTTL: 250}
	for _, c := range []struct {
		session   Session
		ttl, link int
		want      bool
	}{
		{near, 255, 3, true}, {near, 254, 3, false}, {near, 0, 0, false},
		{bound, 255, 7, true}, {bound, 255, 3, false}, {bound, 254, 7, false},
		{far, 255, 3, true}, {far, 250, 3, true}, {far, 249, 3, false},
	} {
		if got := c.session.admits(arrival{c.ttl, c.link}); got != c.want {
			t.Errorf("%+v admits TTL %d on link %d: %v", c.session, c.ttl, c.link, got)
		}
	}
}
