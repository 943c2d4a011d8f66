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
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bfd"
)

// Announcer keeps sessions with the peers and tells them the routes.
type Announcer struct {
	log     *slog.Logger
	changed func()
	bfd     *bfd.Engine
	cancel  context.CancelFunc
	kick    chan struct{}
	running sync.WaitGroup // run
	resets  sync.WaitGroup // of sessions, because of BFD

	mu       sync.Mutex // for what follows
	wanted   *wanted
	sessions map[string]*session
	problems map[string]error // by the peer's name
	noBFD    error            // why there is no BFD with some peers
	failures map[netip.Addr]uint64
}

// wanted is never changed.
type wanted struct {
	peers  []Peer
	routes []Route
}

// New returns an Announcer without peers.
func New(o Options) *Announcer {
	a := &Announcer{log: o.Log, kick: make(chan struct{}, 1), wanted: &wanted{}, sessions: map[string]*session{}, failures: map[netip.Addr]uint64{}}
	a.changed = func() {
		a.again() // BFD begins and ends with the sessions
		o.Changed()
	}
	a.bfd = bfd.New(bfd.Options{Log: o.Log, Changed: o.Changed, Failed: a.pathFailed})
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	a.running.Go(func() { a.run(ctx) })
	o.Metrics.MustRegister(collector{a})
	return a
}

// Set makes the peers and the routes those that are wanted, and does not wait
// until they are: what cannot be done is in the Status, and is tried again. A
// session whose peer is wanted as before is not touched.
func (a *Announcer) Set(peers []Peer, routes []Route) {
	a.mu.Lock()
	same := slices.Equal(a.wanted.peers, peers) && slices.EqualFunc(a.wanted.routes, routes, Route.equal)
	if !same {
		a.wanted = &wanted{slices.Clone(peers), slices.Clone(routes)}
	}
	a.mu.Unlock()
	if !same {
		a.again()
	}
}

// again lets run apply. It never blocks.
func (a *Announcer) again() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

const (
	// retry is after how long what has failed is tried again.
	retry = 5 * time.Second
	// settled is how long a session must be up before BFD begins. Some routers set
	// up BFD anew when BGP has come up (FRR does), and take the end of their old BFD
	// session, if it has been up, for a failure.
	settled = time.Second
)

func (a *Announcer) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-a.kick:
		case <-ctx.Done():
			return
		}
		if next := a.apply(); next > 0 {
			timer.Reset(next)
		}
	}
}

// apply does what has changed, and returns after how long it shall be called again
// even if nothing has; 0 is never.
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
			if s, err = newSession(p, a.log, a.changed); err != nil {
				problems[p.Name] = err
				continue
			}
			sessions[p.Name] = s
		}
		later, err := s.advertise(p, wanted)
		if err != nil {
			problems[p.Name] = err
		}
		next = sooner(next, later)
		if st := s.status(); p.BFD.Peer.IsValid() && st.Up {
			if young := settled - time.Since(st.Since); young > 0 {
				next = sooner(next, young)
			} else if !slices.ContainsFunc(watch, func(b bfd.Session) bool { return b.Peer == p.BFD.Peer }) {
				watch = append(watch, p.BFD)
			}
		}
	}
	noBFD := a.bfd.Set(watch)
	if len(problems) > 0 || noBFD != nil {
		next = sooner(next, retry)
	}
	a.sayProblems(problems, noBFD)
	a.mu.Lock()
	a.sessions, a.problems, a.noBFD = sessions, problems, noBFD
	a.mu.Unlock()
	return next
}

// sooner returns the smaller of two durations of which 0 is never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return cmp.Or(a, b)
	}
	return min(a, b)
}

// sayProblems logs those that are new.
func (a *Announcer) sayProblems(problems map[string]error, noBFD error) {
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	for name, err := range problems {
		if text(err) != text(a.problems[name]) {
			a.log.Error("no BGP with a peer, trying again", "peer", name, "error", err)
		}
	}
	if noBFD != nil && text(noBFD) != text(a.noBFD) {
		a.log.Error("no BFD, trying again", "error", noBFD)
	}
}

// unwanted returns the names of the sessions that have to end: their peers are
// wanted no more, or not as they are.
func unwanted(sessions map[string]*session, peers []Peer) (names []string) {
	for name, s := range sessions {
		i := slices.IndexFunc(peers, func(p Peer) bool { return p.Name == name })
		if i < 0 || peers[i].Unready == "" && s.peer != peers[i].sessionPart() {
			names = append(names, name)
		}
	}
	return names
}

// pathFailed ends the sessions with an address that BFD does not reach any more
// (RFC 5882, section 4.2), instead of waiting for the hold time.
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

// Status returns how the sessions are, in the order of the peers' names.
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
				b = bfd.Status{Peer: p.BFD.Peer, State: bfd.Down, Since: st.Since, Why: "it begins a second after the BGP session is up"}
			}
			b.Failures = a.failures[p.BFD.Peer]
			st.BFD = &b
		}
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Peer, b.Peer) })
	return all
}

// Discarded returns how many BFD packets were of no session; see bfd.Engine.
func (a *Announcer) Discarded() uint64 { return a.bfd.Discarded() }

// Close ends all sessions. With keep, peers with graceful restart keep the routes
// for a while; all others drop them at once.
func (a *Announcer) Close(keep bool) {
	a.cancel()
	a.running.Wait() // nothing is begun after this
	var closing sync.WaitGroup
	for _, s := range a.sessions {
		closing.Go(func() { s.close(keep) })
	}
	closing.Wait()
	a.bfd.Close() // and no path fails after this
	a.resets.Wait()
}
