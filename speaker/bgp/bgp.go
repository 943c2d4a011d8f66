// Package bgp advertises routes to routers (RFC 4271) and watches the paths to
// them with BFD. BGP itself is GoBGP's; this package turns what is wanted into
// what has to change.
//
// Every peer has a BGP server of its own, without a listening socket: our AS
// number and router ID can differ from peer to peer, each is told its own routes
// without policies, and what is done to one peer cannot touch another.
package bgp

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bfd"
)

// Peer is a router with which a session is wanted.
type Peer struct {
	// Name is unique among the peers.
	Name string
	// MyASN and ASN are the numbers of our autonomous system and of the peer's.
	MyASN, ASN uint32
	Address    netip.Addr
	Port       uint16
	// Source is the address to connect from; the zero Addr leaves it to the kernel.
	Source netip.Addr
	// HoldTime and KeepaliveTime in whole seconds, at least 3 and 1.
	HoldTime, KeepaliveTime time.Duration
	// RouterID is an IPv4 address; it must be there.
	RouterID netip.Addr
	// Password of TCP MD5 (RFC 2385), or empty.
	Password string
	// MultihopTTL is how many hops away an external peer may be; 0 is on a link.
	MultihopTTL uint8
	// GracefulRestart is how long the peer shall keep our routes when the session
	// breaks (RFC 4724), in whole seconds; 0 is not at all.
	GracefulRestart time.Duration
	// NextHop4 and NextHop6 are the next hops of routes that are not of the
	// session's own family; without one, such routes are not advertised. NextHop6 is
	// that of a session between link-local addresses, too.
	NextHop4, NextHop6 netip.Addr
	// Unready says why the session cannot be begun yet; empty if it can. A session
	// that is up stays as it is meanwhile.
	Unready string
	// BFD watches the path while the session is up; without it its Peer is the zero
	// Addr.
	BFD bfd.Session
}

// Route is a route to be advertised.
type Route struct {
	Prefix netip.Prefix
	// LocalPref is LOCAL_PREF for internal peers; 0 is the usual 100.
	LocalPref        uint32
	Communities      []uint32
	LargeCommunities [][3]uint32
	// Peers are the names of the peers to which it goes; all if there is none.
	Peers []string
}

// Status is how the session with a peer is.
type Status struct {
	Peer    string
	Address netip.Addr
	// State is of RFC 4271, section 8.2.2: IDLE, ACTIVE, OPENSENT, OPENCONFIRM,
	// ESTABLISHED.
	State string
	// Begun is when the session was begun, which it is anew when its Peer changes.
	Begun time.Time
	Up    bool
	// Since is when the session came up, or went down.
	Since time.Time
	// Problem says why the session is not up, in words; empty if that is not known.
	Problem string
	// Ups and Downs are how often the session has come up and gone down.
	Ups, Downs uint64
	// Prefixes are how many are advertised now; Withheld are those that are not for
	// want of a next hop of their family.
	Prefixes, Withheld int
	// BFD is nil without it.
	BFD *bfd.Status
}

// Options of an Announcer.
type Options struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// Changed is called when a Status has changed. It must not block.
	Changed func()
}

// Announcer keeps sessions with the peers and tells them the routes.
type Announcer struct {
	log     *slog.Logger
	changed func()
	bfd     *bfd.Engine
	wg      sync.WaitGroup
	cancel  context.CancelFunc
	kick    chan struct{}

	mu       sync.Mutex // for what follows
	wanted   wanted
	sessions map[string]*session
	problems map[string]error      // by the peer's name; of BFD under none
	failures map[netip.Addr]uint64 // how often BFD has failed
}

type wanted struct {
	peers  []Peer
	routes []Route
}

// New returns an Announcer without peers.
func New(o Options) *Announcer {
	a := &Announcer{log: o.Log, kick: make(chan struct{}, 1), sessions: map[string]*session{}, failures: map[netip.Addr]uint64{}}
	a.changed = func() {
		a.again() // BFD begins and ends with the sessions
		o.Changed()
	}
	a.bfd = bfd.New(bfd.Options{Log: o.Log, Changed: o.Changed, Failed: a.pathFailed})
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	a.wg.Go(func() { a.run(ctx) })
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
		a.wanted = wanted{slices.Clone(peers), slices.Clone(routes)}
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
		if err := s.advertise(p, wanted.routes); err != nil {
			problems[p.Name] = err
		}
		if st := s.status(); p.BFD.Peer.IsValid() && st.Up {
			if young := settled - time.Since(st.Since); young > 0 {
				next = max(next, young)
			} else {
				watch = append(watch, p.BFD)
			}
		}
	}
	if err := a.bfd.Set(watch); err != nil {
		problems[""] = err
	}
	for name, err := range problems {
		if old := a.problems[name]; old == nil || old.Error() != err.Error() {
			a.log.Error("BGP is not as it should be, trying again", "peer", name, "error", err)
		}
		next = retry
	}
	a.mu.Lock()
	a.sessions, a.problems = sessions, problems
	a.mu.Unlock()
	return next
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

// sessionPart leaves out what can change while a session stays.
func (p Peer) sessionPart() Peer {
	p.NextHop4, p.NextHop6, p.Unready, p.BFD = netip.Addr{}, netip.Addr{}, "", bfd.Session{}
	return p
}

// pathFailed ends the sessions with an address that BFD does not reach any more
// (RFC 5882, section 4.2), instead of waiting for the hold time.
func (a *Announcer) pathFailed(addr netip.Addr, why string) {
	a.wg.Go(func() {
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
		if err := errors.Join(a.problems[p.Name], a.problems[""]); err != nil && !st.Up {
			st.Problem = err.Error()
		}
		if p.BFD.Peer.IsValid() {
			b, ok := a.bfd.Status(p.BFD.Peer)
			if !ok {
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
	a.mu.Lock()
	var closing sync.WaitGroup
	for _, s := range a.sessions {
		closing.Go(func() { s.close(keep) })
	}
	a.mu.Unlock()
	closing.Wait()
	a.bfd.Close()
	a.wg.Wait()
}
