// Package bfd tells within a fraction of a second that the path to a router is
// broken: Bidirectional Forwarding Detection in asynchronous mode (RFC 5880), for
// peers on a link (RFC 5881) and further away (RFC 5883). Authentication, echo
// and demand mode are not spoken.
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

// Session is a session that is wanted. Two of the same Peer are not possible.
type Session struct {
	Peer netip.Addr
	// Local is the address to send from; the zero Addr leaves it to the kernel.
	Local netip.Addr
	// Multihop is set when the peer may be more than one hop away; packets with a
	// TTL of less than MinimumTTL are discarded then, else all that are not 255.
	Multihop   bool
	MinimumTTL uint8
	// Receive and Transmit are the shortest intervals that we bear and offer.
	Receive, Transmit time.Duration
	// Multiplier is after how many of our intervals the peer gives us up.
	Multiplier uint8
	// Link is the index of the interface that a peer's packets must come in on, so that
	// nothing on the node can speak in its name; 0 is any. Not for Multihop.
	Link int
	// Passive sessions send nothing until the peer does.
	Passive bool
}

// Status is how a session is.
type Status struct {
	Peer  netip.Addr
	State State
	// Since is when it came into this state.
	Since time.Time
	// Why it is not up, in words; empty if it is.
	Why string
	// Failures is how often it was up and the peer fell silent.
	Failures uint64
}

// Options of an Engine.
type Options struct {
	Log *slog.Logger
	// Failed is called when a session was up and the peer has fallen silent. A peer
	// that switches BFD off has not failed (RFC 5882, section 4.2), nor has one that
	// says that its session is down: if it has given us up, it ends BGP as well, and
	// if it begins a new session, as FRR does when BGP comes up, nothing has happened.
	// Failed must not block for long, nor call the Engine, which may be waiting for
	// this session to end.
	Failed func(peer netip.Addr, why string)
	// Changed is called after a session has changed its state. It must not block,
	// nor call the Engine.
	Changed func()
}

// Engine keeps sessions up.
type Engine struct {
	options Options
	ctx     context.Context // of everything that the engine has started
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	mu        sync.Mutex // for what follows
	runners   map[netip.Addr]*runner
	listeners map[listenerKey]*listener
	discarded atomic.Uint64
}

// New returns an engine without sessions.
func New(o Options) *Engine {
	e := &Engine{options: o, runners: map[netip.Addr]*runner{}, listeners: map[listenerKey]*listener{}}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

// Set makes the sessions those that are wanted. A session that is wanted as
// before is not touched. An error says which could not be begun; Set tries again
// when it is called again.
func (e *Engine) Set(sessions []Session) error {
	e.mu.Lock()
	defer e.mu.Unlock()
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
	if e.ctx.Err() != nil {
		return nil // closed meanwhile
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
		e.wg.Go(func() { r.run(e.ctx) })
	}
	return errors.Join(errs...)
}

// discriminator returns a number that no session has (RFC 5880, section 6.3).
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

// Status returns how the session with a peer is, if there is one.
func (e *Engine) Status(peer netip.Addr) (Status, bool) {
	r := e.runner(peer)
	if r == nil {
		return Status{}, false
	}
	return *r.status.Load(), true
}

// Discarded returns how many packets have come that no session may take: of
// unknown senders, of another form, or from too far away. Packets whose TTL is
// not 255 from peers on a link are dropped by the kernel, and not counted.
func (e *Engine) Discarded() uint64 { return e.discarded.Load() }

func (e *Engine) runner(peer netip.Addr) *runner {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.runners[peer]
}

// Close tells every peer that BFD is switched off on purpose, and ends.
func (e *Engine) Close() {
	e.cancel()
	e.mu.Lock()
	for _, l := range e.listeners {
		l.close()
	}
	e.mu.Unlock()
	e.wg.Wait()
}
