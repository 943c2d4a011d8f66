package bfd

import (
	"fmt"
	"time"
)

// slow is the shortest interval of a session that is not up (RFC 5880, section 6.8.3).
const slow = time.Second

// session is the state machine of one session. Its inputs are packets and the time,
// its outputs are packets. It opens no socket and starts no timer.
type session struct {
	Session
	my uint32

	state State
	diag  diagnostic
	why   string // why the session is not up

	// What the last packet said about the peer.
	your         uint32
	peerState    State
	peerMinTx    time.Duration
	peerMinRx    time.Duration
	peerMultiple uint8

	polling  bool      // until the peer has confirmed our intervals
	deadline time.Time // when the detection time expires; zero while the peer sends nothing
	sent     time.Time // when the last packet was due
	share    float64   // the share of the interval after which the next packet is due
	now      bool      // the state has changed: send at once
}

func newSession(s Session, discriminator uint32) *session {
	return &session{Session: s, my: discriminator, state: Down, peerState: Down, peerMinRx: time.Microsecond, why: "no packet from the peer yet"}
}

// desired returns our interval. The configured one is used only while the session is
// up.
func (s *session) desired() time.Duration {
	if s.state == Up {
		return s.Transmit
	}
	return max(slow, s.Transmit)
}

// detection returns the detection time (RFC 5880, section 6.8.4).
func (s *session) detection() time.Duration {
	return time.Duration(s.peerMultiple) * max(s.Receive, s.peerMinTx)
}

// receive handles a packet. It reports whether to answer at once with the final bit
// (RFC 5880, section 6.8.6).
func (s *session) receive(p packet, now time.Time) (answer bool) {
	if p.your != 0 && p.your != s.my {
		return false // for an earlier session
	}
	s.your, s.peerState = p.my, p.state
	s.peerMinTx, s.peerMinRx, s.peerMultiple = p.desiredMinTx, p.requiredRx, p.multiplier
	if p.final {
		s.polling = false
	}
	s.deadline = now.Add(s.detection())
	switch {
	case p.state == AdminDown:
		if s.state != Down {
			s.become(Down, neighborDown, "the peer has disabled BFD")
		}
	case s.state == Down && p.state == Down:
		s.become(Init, s.diag, "the peer does not hear this node yet")
	case s.state == Down && p.state == Init, s.state == Init && p.state >= Init:
		s.become(Up, noDiagnostic, "")
	case s.state == Up && p.state == Down:
		s.become(Down, neighborDown, fmt.Sprintf("the peer says that the session is down (diagnostic %d)", p.diag))
	}
	return p.poll
}

func (s *session) become(state State, diag diagnostic, why string) {
	s.state, s.diag, s.why = state, diag, why
	s.now, s.polling = true, state == Up
}

// expire ends the session if the detection time has expired. If the deadline is checked
// much too late, this machine has stood still. Then the peer gets one more interval.
func (s *session) expire(now time.Time) {
	if s.deadline.IsZero() || now.Before(s.deadline) {
		return
	}
	late, interval := now.Sub(s.deadline), max(s.Receive, s.peerMinTx)
	if s.state >= Init && late > interval/2 {
		s.deadline = now.Add(interval)
		return
	}
	detection := s.detection()
	s.deadline, s.your = time.Time{}, 0
	if s.state >= Init {
		s.become(Down, detectionExpired, fmt.Sprintf("no packet from the peer for %v", detection))
	}
}

// send returns the packet that is due, or nil. jitter is a random number from 0 to 1. It
// shortens the interval (RFC 5880, section 6.8.7).
func (s *session) send(now time.Time, jitter float64) *packet {
	if !s.now && now.Before(s.next()) {
		return nil
	}
	least, most := 0.75, 1.0
	if s.Multiplier == 1 {
		most = 0.9
	}
	quiet := s.Passive && s.your == 0 || !s.now && s.peerMinRx == 0 // 0: the peer wants none
	s.sent, s.share, s.now = now, least+jitter*(most-least), false
	if quiet {
		return nil
	}
	p := s.packet()
	p.poll = s.polling
	return &p
}

// next returns when the next packet is due. When the peer allows a shorter interval, the
// packet is due sooner, because the peer also expects it sooner.
func (s *session) next() time.Time {
	interval := max(s.desired(), s.peerMinRx)
	return s.sent.Add(time.Duration(float64(interval) * s.share))
}

// packet returns a packet that describes the session.
func (s *session) packet() packet {
	return packet{diag: s.diag, state: s.state, multiplier: s.Multiplier, my: s.my, your: s.your, desiredMinTx: s.desired(), requiredRx: s.Receive}
}

// wake returns when the session has something to do if no packet comes before.
func (s *session) wake() time.Time {
	next := s.next()
	if !s.deadline.IsZero() && s.deadline.Before(next) {
		return s.deadline
	}
	return next
}
