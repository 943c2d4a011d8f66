package bfd

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// runner gives a session its packets and the time.
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

func (r *runner) run(ctx context.Context) {
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
		case <-ctx.Done():
			return
		}
		r.drain() // before anybody counts as silent
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

// observe tells others when f has changed the state of the session.
func (r *runner) observe(f func()) {
	s := r.session
	before := s.state
	f()
	if s.state == before {
		return
	}
	// What the peer says itself, it can act upon itself: it hears us, or has begun anew.
	failed := before == Up && s.diag == detectionExpired
	if failed {
		r.failures++
	}
	r.publish()
	r.options.Log.Info("BFD", "peer", s.Peer, "state", s.state, "before", before, "why", s.why)
	if failed {
		r.options.Failed(s.Peer, s.why)
	}
	r.options.Changed()
}

func (r *runner) publish() {
	s := r.session
	r.status.Store(&Status{Peer: s.Peer, State: s.state, Since: time.Now(), Why: s.why, Failures: r.failures})
}

// write sends a packet. What cannot be sent is lost, as on the wire: the peer
// misses it, and the session tells.
func (r *runner) write(p packet) {
	if r.conn == nil {
		conn, err := dial(r.session.Session)
		if err != nil {
			r.options.Log.Debug("BFD: sending", "peer", r.session.Peer, "error", err)
			return
		}
		r.conn = conn
	}
	_, err := r.conn.Write(p.marshal())
	if err == nil || errors.Is(err, syscall.ECONNREFUSED) { // the peer does not listen yet
		return
	}
	r.options.Log.Debug("BFD: sending", "peer", r.session.Peer, "error", err)
	_ = r.conn.Close() // the next socket may have a better address or route
	r.conn = nil
}

// sayGoodbye tells the peer that it is no failure that nothing more comes, more
// than once, since a packet can be lost.
func (r *runner) sayGoodbye() {
	if r.session.your != 0 {
		r.session.state, r.session.diag = AdminDown, administrative
		for range goodbyes {
			r.write(r.session.packet())
			time.Sleep(betweenGoodbyes)
		}
	}
	if r.conn != nil {
		_ = r.conn.Close() // nothing is lost by it
	}
}

const (
	goodbyes        = 3
	betweenGoodbyes = 10 * time.Millisecond
)
