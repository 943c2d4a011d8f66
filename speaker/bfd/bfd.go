// Package bfd detects within a fraction of a second that the path to a router is
// broken. It implements Bidirectional Forwarding Detection in asynchronous mode (RFC
// 5880), for peers on a link (RFC 5881) and further away (RFC 5883). It implements
// neither authentication nor echo mode nor demand mode.
package bfd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Session describes a session. There can be one for each Peer.
type Session struct {
	Peer netip.Addr
	// Local is the address to send from; with the zero Addr the kernel chooses it.
	Local netip.Addr
	// Multihop is set if the peer may be more than one hop away. Packets with a TTL
	// below MinimumTTL are discarded then. Without Multihop all packets with another TTL
	// than 255 are discarded.
	Multihop   bool
	MinimumTTL uint8
	// Receive and Transmit are the shortest intervals at which this node receives and
	// sends.
	Receive, Transmit time.Duration
	// Multiplier is the number of our intervals after which the peer detects our failure.
	Multiplier uint8
	// Link is the index of the interface on which a peer's packets must arrive, so that
	// no process on the node can forge them; 0 means any. It is not used with Multihop.
	Link int
	// Passive sessions send nothing until the peer sends.
	Passive bool
}

// Status is the status of a session.
type Status struct {
	Peer  netip.Addr
	State State
	// Since is when the session entered this state.
	Since time.Time
	// Why says in words why the session is not up; empty if it is up.
	Why string
	// Failures counts how often the session was up and its detection time expired.
	Failures uint64
}

// Options of an Engine.
type Options struct {
	Log *slog.Logger
	// Failed is called when a session was up and its detection time has expired. A peer
	// that disables BFD has not failed (RFC 5882, section 4.2). A peer that says that its
	// session is down has not failed either: if it has detected a failure, it ends BGP
	// itself, and if it begins a new session, as FRR does when BGP comes up, nothing has
	// happened. Failed must not block for long, and must not call the Engine, which may
	// be waiting for this session to end.
	Failed func(peer netip.Addr, why string)
	// Changed is called after a session has changed its state. It must not block and
	// must not call the Engine.
	Changed func()
}

// Engine runs sessions.
type Engine struct {
	options   Options
	discarded atomic.Uint64
	work      sync.WaitGroup // runners and listeners

	mu        sync.Mutex // guards the fields below
	runners   map[netip.Addr]*runner
	listeners map[listenerKey]*listener
	ended     bool // Run has ended
}

// New returns an engine without sessions.
func New(o Options) *Engine {
	return &Engine{options: o, runners: map[netip.Addr]*runner{}, listeners: map[listenerKey]*listener{}}
}

// Run waits until ctx ends. Then it tells every peer that BFD is disabled on purpose,
// and returns nil when all sessions have ended.
func (e *Engine) Run(ctx context.Context) error {
	<-ctx.Done()
	e.mu.Lock()
	e.ended = true
	for _, r := range e.runners {
		r.cancel()
	}
	for _, l := range e.listeners {
		l.close()
	}
	e.mu.Unlock()
	e.work.Wait()
	return nil
}

// Set replaces the sessions. It does not touch a session that stays the same. The
// error says which sessions could not begin; the next Set tries them again.
func (e *Engine) Set(sessions []Session) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return nil
	}
	wanted := make(map[netip.Addr]Session, len(sessions))
	for _, s := range sessions {
		wanted[s.Peer] = s
	}
	var ended []*runner
	for peer, r := range e.runners {
		if s, ok := wanted[peer]; !ok || s != r.session.Session {
			r.cancel()
			ended = append(ended, r)
			delete(e.runners, peer)
		}
	}
	for _, r := range ended {
		<-r.done
	}
	var errs []error
	for _, s := range wanted {
		if e.runners[s.Peer] != nil {
			continue
		}
		if err := e.listen(listenerKey{s.Peer.Is4(), s.Multihop}); err != nil {
			errs = append(errs, fmt.Errorf("BFD with %s: %w", s.Peer, err))
			continue
		}
		r := newRunner(newSession(s, e.discriminator()), &e.options)
		e.runners[s.Peer] = r
		e.work.Go(r.run)
	}
	return errors.Join(errs...)
}

// discriminator returns a number that no session uses (RFC 5880, section 6.3).
func (e *Engine) discriminator() uint32 {
	for {
		d := rand.Uint32()
		taken := d == 0
		for _, r := range e.runners {
			taken = taken || r.session.my == d
		}
		if !taken {
			return d
		}
	}
}

// Status returns the status of the session with a peer, if there is one.
func (e *Engine) Status(peer netip.Addr) (Status, bool) {
	r := e.runner(peer)
	if r == nil {
		return Status{}, false
	}
	return *r.status.Load(), true
}

// Discarded counts the packets that no session accepts: from unknown senders,
// malformed, or from too far away. The kernel drops packets of peers on a link whose
// TTL is not 255; they are not counted.
func (e *Engine) Discarded() uint64 { return e.discarded.Load() }

func (e *Engine) runner(peer netip.Addr) *runner {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.runners[peer]
}
