package bgp

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bfd"
)

// Announcer holds sessions with the peers and advertises the routes to them.
type Announcer struct {
	log        *slog.Logger
	changed    func()
	bfd        *bfd.Engine
	pending    signal.Signal  // apply has something to do
	resets     sync.WaitGroup // of sessions, because of BFD
	keepRoutes atomic.Bool    // see KeepRoutes

	mu       sync.Mutex // guards the fields below
	wanted   *wanted
	sessions map[string]*session
	problems map[string]error // by the peer's name
	noBFD    error            // why some peers have no BFD
	failures map[netip.Addr]uint64
}

// wanted is what the last call of Set asked for. It never changes.
type wanted struct {
	peers  []Peer
	routes []Route
}

// New returns an Announcer without peers.
func New(o Options) *Announcer {
	a := &Announcer{log: o.Log, pending: signal.New(), wanted: &wanted{}, sessions: map[string]*session{}, failures: map[netip.Addr]uint64{}}
	a.changed = func() {
		a.pending.Set() // BFD begins and ends with the sessions
		o.Changed()
	}
	a.bfd = bfd.New(bfd.Options{Log: o.Log, Changed: o.Changed, Failed: a.pathFailed})
	o.Metrics.MustRegister(collector{a})
	return a
}

// Run holds the sessions until ctx ends. Then it ends the sessions; see KeepRoutes. It
// returns nil when everything that it started has ended.
func (a *Announcer) Run(ctx context.Context) error {
	bfdContext, endBFD := context.WithCancel(context.WithoutCancel(ctx))
	var watching sync.WaitGroup
	watching.Go(func() { _ = a.bfd.Run(bfdContext) }) // never fails
	a.applyChanges(ctx)
	var closing sync.WaitGroup
	for _, s := range a.sessions {
		closing.Go(func() { s.close(a.keepRoutes.Load()) })
	}
	closing.Wait()
	endBFD()
	watching.Wait() // no path fails after this
	a.resets.Wait()
	return nil
}

// KeepRoutes says what peers with graceful restart should do when Run ends: keep the
// routes for a while, or drop them at once. Peers without it always drop them.
func (a *Announcer) KeepRoutes(keep bool) { a.keepRoutes.Store(keep) }

// Set replaces the peers and the routes. It does not wait for the changes. What fails
// is in the Status, and is tried again. A session whose peer stays the same is not
// touched.
func (a *Announcer) Set(peers []Peer, routes []Route) {
	a.mu.Lock()
	same := slices.Equal(a.wanted.peers, peers) && slices.EqualFunc(a.wanted.routes, routes, Route.equal)
	if !same {
		a.wanted = &wanted{slices.Clone(peers), slices.Clone(routes)}
	}
	a.mu.Unlock()
	if !same {
		a.pending.Set()
	}
}

const (
	// retryInterval is when to try again what has failed.
	retryInterval = 5 * time.Second
	// bfdDelay is how long a BGP session must be up before BFD begins. Some routers
	// replace their BFD session when BGP comes up (FRR does). If the old BFD session was
	// up, they treat its end as a failure.
	bfdDelay = time.Second
)

// applyChanges applies what Set says, until ctx ends.
func (a *Announcer) applyChanges(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-a.pending.C():
		case <-ctx.Done():
			return
		}
		if next := a.apply(); next > 0 {
			timer.Reset(next)
		}
	}
}

// apply makes the changes. It returns after which time to call it again even if
// nothing has changed; 0 means never.
func (a *Announcer) apply() (next time.Duration) {
	a.mu.Lock()
	wanted, sessions := a.wanted, maps.Clone(a.sessions)
	a.mu.Unlock()

	for _, name := range unwanted(sessions, wanted.peers) {
		sessions[name].close(false)
		delete(sessions, name)
	}
	problems := map[string]error{}
	var watch []bfd.Session
	for _, p := range wanted.peers {
		s, err := sessions[p.Name], error(nil)
		if s == nil && p.Unready != "" {
			problems[p.Name] = errors.New(p.Unready)
			continue
		}
		if s == nil {
			if s, err = startSession(p, a.log, a.changed); err != nil {
				problems[p.Name] = err
				continue
			}
			sessions[p.Name] = s
		}
		next = sooner(sooner(next, s.reopen(time.Now())), s.checkOpen(time.Now()))
		later, err := s.advertise(p, wanted)
		if err != nil {
			problems[p.Name] = err
		}
		next = sooner(next, later)
		if st := s.status(); p.BFD.Peer.IsValid() && st.Up {
			if left := bfdDelay - time.Since(st.Since); left > 0 {
				next = sooner(next, left)
			} else if !slices.ContainsFunc(watch, func(b bfd.Session) bool { return b.Peer == p.BFD.Peer }) {
				watch = append(watch, p.BFD)
			}
		}
	}
	noBFD := a.bfd.Set(watch)
	if len(problems) > 0 || noBFD != nil {
		next = sooner(next, retryInterval)
	}
	a.logProblems(problems, noBFD)
	a.mu.Lock()
	a.sessions, a.problems, a.noBFD = sessions, problems, noBFD
	a.mu.Unlock()
	return next
}

// sooner returns the smaller of two durations. 0 means never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return cmp.Or(a, b)
	}
	return min(a, b)
}

// logProblems logs the problems that are new.
func (a *Announcer) logProblems(problems map[string]error, noBFD error) {
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	for name, err := range problems {
		if text(err) != text(a.problems[name]) {
			a.log.Error("BGP session cannot begin, trying again", "peer", name, "error", err)
		}
	}
	if noBFD != nil && text(noBFD) != text(a.noBFD) {
		a.log.Error("BFD session cannot begin, trying again", "error", noBFD)
	}
}

// unwanted returns the names of the sessions that have to end, because their peers
// were removed or have changed.
func unwanted(sessions map[string]*session, peers []Peer) (names []string) {
	for name, s := range sessions {
		i := slices.IndexFunc(peers, func(p Peer) bool { return p.Name == name })
		if i < 0 || peers[i].Unready == "" && s.peer != peers[i].sessionPart() {
			names = append(names, name)
		}
	}
	return names
}

// pathFailed ends the sessions with an address that BFD has lost (RFC 5882, section
// 4.2). Without it they would end after the hold time.
func (a *Announcer) pathFailed(addr netip.Addr, why string) {
	a.resets.Go(func() {
		a.mu.Lock()
		a.failures[addr]++
		sessions := slices.Collect(maps.Values(a.sessions))
		a.mu.Unlock()
		for _, s := range sessions {
			if s.peer.Address == addr {
				s.reset("BFD: " + why)
			}
		}
	})
}

// Status returns the status of all sessions, in the order of the peers' names.
func (a *Announcer) Status() []Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []Status
	for _, p := range a.wanted.peers {
		st := Status{Peer: p.Name, Address: p.Address, State: idle}
		if s := a.sessions[p.Name]; s != nil {
			st = s.status()
		}
		if err := a.problems[p.Name]; err != nil && !st.Up {
			st.Problem = err.Error()
		}
		if p.BFD.Peer.IsValid() {
			b, ok := a.bfd.Status(p.BFD.Peer)
			switch {
			case ok:
			case a.noBFD != nil:
				b = bfd.Status{Peer: p.BFD.Peer, State: bfd.Down, Since: st.Since, Why: a.noBFD.Error()}
			default:
				b = bfd.Status{Peer: p.BFD.Peer, State: bfd.Down, Since: st.Since, Why: "BFD begins a second after the BGP session is up"}
			}
			b.Failures = a.failures[p.BFD.Peer]
			st.BFD = &b
		}
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Peer, b.Peer) })
	return all
}

// discarded counts the BFD packets of no session; see bfd.Engine.
func (a *Announcer) discarded() uint64 { return a.bfd.Discarded() }
