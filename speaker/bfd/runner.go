package bfd

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// runner feeds a session with packets and the time.
type runner struct {
	session *session
	options *Options
	in      chan packet
	done    chan struct{} // closed when run has returned
	stop    chan struct{}
	status  atomic.Pointer[Status]

	conn     net.Conn // nil until the peer can be reached
	failures uint64
}

func newRunner(s *session, o *Options) *runner {
	r := &runner{session: s, options: o, in: make(chan packet, 16), done: make(chan struct{}), stop: make(chan struct{})}
	r.publish()
	return r
}

// cancel lets run return.
func (r *runner) cancel() { close(r.stop) }

func (r *runner) run() {
	defer close(r.done)
	defer r.sayGoodbye()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case p := <-r.in:
			r.receive(p)
		case <-timer.C:
		case <-r.stop:
			return
		}
		r.drain() // before the deadline is checked
		r.observe(func() { r.session.expire(time.Now()) })
		if p := r.session.send(time.Now(), rand.Float64()); p != nil {
			r.write(*p)
		}
		timer.Reset(time.Until(r.session.wake()))
	}
}

func (r *runner) drain() {
	for {
		select {
		case p := <-r.in:
			r.receive(p)
		default:
			return
		}
	}
}

func (r *runner) receive(p packet) {
	r.observe(func() {
		if r.session.receive(p, time.Now()) {
			answer := r.session.packet()
			answer.final = true
			r.write(answer)
		}
	})
}

// observe calls f and reports a change of the session's state.
func (r *runner) observe(f func()) {
	s := r.session
	before := s.state
	f()
	if s.state == before {
		return
	}
	// If the peer says that the session is down, it is no failure of the path: the peer
	// ends BGP itself, or it has begun a new session.
	failed := before == Up && s.diag == detectionExpired
	if failed {
		r.failures++
	}
	r.publish()
	r.options.Log.Info("BFD session changed its state", "peer", s.Peer, "state", s.state, "before", before, "reason", s.why)
	if failed {
		r.options.Failed(s.Peer, s.why)
	}
	r.options.Changed()
}

func (r *runner) publish() {
	s := r.session
	r.status.Store(&Status{Peer: s.Peer, State: s.state, Since: time.Now(), Why: s.why, Failures: r.failures})
}

// write sends a packet. A packet that cannot be sent is lost, like one that is lost on
// the wire: the peer detects it.
func (r *runner) write(p packet) {
	if r.conn == nil {
		conn, err := dial(r.session.Session)
		if err != nil {
			r.options.Log.Debug("sending a BFD packet failed", "peer", r.session.Peer, "error", err)
			return
		}
		r.conn = conn
	}
	_, err := r.conn.Write(p.marshal())
	if err == nil || errors.Is(err, syscall.ECONNREFUSED) { // refused: the peer does not listen yet
		return
	}
	r.options.Log.Debug("sending a BFD packet failed", "peer", r.session.Peer, "error", err)
	_ = r.conn.Close() // the next socket may have a better address or route
	r.conn = nil
}

// sayGoodbye tells the peer that this node ends the session on purpose, so that the peer
// detects no failure. It sends more than one packet, because a packet can be lost.
func (r *runner) sayGoodbye() {
	if r.session.your != 0 {
		r.session.state, r.session.diag = AdminDown, administrative
		for range goodbyes {
			r.write(r.session.packet())
			time.Sleep(betweenGoodbyes)
		}
	}
	if r.conn != nil {
		_ = r.conn.Close() // the packets are sent
	}
}

const (
	goodbyes        = 3
	betweenGoodbyes = 10 * time.Millisecond
)
