// Package members says which nodes' speakers belong to the cluster, and what each
// says of itself. They find that out among themselves (hashicorp/memberlist, SWIM),
// without the API server.
package members

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// rejoin is how often missing peers are asked again, so that the two halves
	// of a healed partition find each other.
	rejoin = 3 * time.Second
	// joinPatience is how long the first join may take until the speaker goes on
	// alone.
	joinPatience = 5 * time.Second
	// rejoinPatience is how long one that was cut off waits for the first of the
	// others to answer; the connections are tried on.
	rejoinPatience = 500 * time.Millisecond
	// settle is the time in which a member that has just been reached, and that was
	// taken for dead, can refute it: some rounds of gossip.
	settle = 300 * time.Millisecond
	// joinsAtOnce bounds the connections that are tried at the same time.
	joinsAtOnce = 16
)

// Options of a member.
type Options struct {
	// Name is the node's name.
	Name string
	// Addr is where this member listens and is reached by the others.
	Addr netip.AddrPort
	// Secret is what all members know; the key of the encryption is its SHA-256.
	Secret []byte
	// Peers returns a new map of the addresses where members should be found, by
	// name; this one may be among them.
	Peers func() map[string]netip.Addr
	// Changed is called, from any goroutine, when a member has come or gone. It
	// must not block.
	Changed func()
	// ProbeInterval is how often a member is probed; one that is dead is given up
	// after about five of them.
	ProbeInterval time.Duration
	Log           *slog.Logger
	Metrics       prometheus.Registerer
}

// Members is this node's view of all members.
type Members struct {
	options Options
	list    *memberlist.Memberlist
	joined  chan struct{}
	rejoins chan chan struct{} // asks Run to look for missing peers at once
	work    sync.WaitGroup     // what Rejoin and SetProfile have begun
	self    atomic.Pointer[Profile]
	// returned counts how often a member has come back that was taken for dead.
	returned atomic.Uint64

	saying sync.Mutex

	mu     sync.Mutex
	others map[string]Member
	absent map[string]absence
}

// Member is another speaker.
type Member struct {
	Name    string
	Addr    netip.Addr
	Profile Profile
	// Lost is set for one that was taken for dead; one that has left is no member.
	Lost bool
}

// New starts to listen. Run joins the others.
func New(o Options) (*Members, error) {
	m := &Members{options: o, joined: make(chan struct{}), rejoins: make(chan chan struct{}), others: map[string]Member{}, absent: map[string]absence{}}
	m.self.Store(&Profile{Silent: true})
	list, err := memberlist.Create(m.config())
	if err != nil {
		return nil, fmt.Errorf("listening for other speakers on %s: %w", o.Addr, err)
	}
	m.list = list
	o.Metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "baremetal", Subsystem: "members", Name: "alive", Help: "Number of speakers that this one believes to be alive, itself included.",
	}, func() float64 { return float64(list.NumMembers()) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "baremetal", Subsystem: "members", Name: "announcing", Help: "Number of those that can announce: the others have no usable link, or are cut off.",
	}, func() float64 { return float64(m.announcing()) }))
	return m, nil
}

// config is memberlist's with a failure detector about six times as fast as its
// default for LANs: with probes every 200 ms a dead member is known after about a
// second. A second member that confirms it makes it quicker, and a member that is
// starved of CPU is more patient, so that a busy node is not taken for a dead one.
func (m *Members) config() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = m.options.Name
	c.BindAddr, c.BindPort = m.options.Addr.Addr().String(), int(m.options.Addr.Port())
	c.AdvertiseAddr, c.AdvertisePort = c.BindAddr, c.BindPort
	key := sha256.Sum256(m.options.Secret)
	c.SecretKey = key[:]
	c.TCPTimeout = 2 * time.Second
	c.ProbeInterval, c.ProbeTimeout = m.options.ProbeInterval, m.options.ProbeInterval/2
	c.SuspicionMult, c.SuspicionMaxTimeoutMult = 3, 2
	c.AwarenessMaxMultiplier = 4
	c.GossipInterval = 50 * time.Millisecond
	c.Events = events{m}
	c.Delegate = delegate{m}
	c.LogOutput = &logWriter{log: m.options.Log}
	return c
}

// Run joins the others and keeps looking for those that are missing, until ctx
// ends. It returns when all connections have ended, which may take TCPTimeout.
func (m *Members) Run(ctx context.Context) {
	var dials sync.WaitGroup
	defer dials.Wait()
	select {
	case <-m.join(ctx, &dials, m.missing()):
	case <-time.After(joinPatience):
		m.options.Log.Warn("no other speaker could be reached, going on alone")
	case <-ctx.Done():
		return
	}
	m.options.Log.Info("first join finished", "alive", m.Alive())
	close(m.joined)
	tick := time.NewTicker(rejoin)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			select {
			case <-m.join(ctx, &dials, m.missing()):
			case <-time.After(rejoinPatience):
			case <-ctx.Done():
			}
			m.sayMissing()
		case done := <-m.rejoins:
			// Also those that are only suspected yet: told so, they refute it.
			select {
			case <-m.join(ctx, &dials, m.peers()):
			case <-time.After(rejoinPatience):
			case <-ctx.Done():
			}
			select {
			case <-time.After(settle):
			case <-ctx.Done():
			}
			close(done)
			m.options.Changed()
		case <-ctx.Done():
			return
		}
	}
}

// peers returns where all other members should be found, by name.
func (m *Members) peers() map[string]netip.Addr {
	peers := m.options.Peers()
	delete(peers, m.options.Name)
	return peers
}

// missing returns the peers that are not known to be alive.
func (m *Members) missing() map[string]netip.Addr {
	peers, alive := m.peers(), m.Alive()
	maps.DeleteFunc(peers, func(name string, _ netip.Addr) bool { return slices.Contains(alive, name) })
	return peers
}

// join contacts the peers. The channel is closed as soon as one has answered,
// since it knows all others, or all have failed.
func (m *Members) join(ctx context.Context, dials *sync.WaitGroup, peers map[string]netip.Addr) <-chan struct{} {
	done := make(chan struct{})
	finish := sync.OnceFunc(func() { close(done) })
	slots := make(chan struct{}, joinsAtOnce)
	dials.Go(func() {
		defer finish()
		var round sync.WaitGroup
		defer round.Wait()
		for name, addr := range peers {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			round.Go(func() {
				defer func() { <-slots }()
				at := netip.AddrPortFrom(addr, m.options.Addr.Port()).String()
				if _, err := m.list.Join([]string{name + "/" + at}); err != nil {
					m.options.Log.Debug("speaker not reached", "node", name, "addr", at, "error", err)
					m.missed(name, at, err)
					return
				}
				finish()
			})
		}
	})
	return done
}

// Joined is closed when the first join has finished or taken too long.
func (m *Members) Joined() <-chan struct{} { return m.joined }

// Rejoin looks for all peers at once, after a time in which this member can have
// heard nobody. The channel is closed, and Changed called, when those that
// can be reached have had the time to say that they are alive. It is given up
// when ctx ends.
func (m *Members) Rejoin(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	m.work.Go(func() {
		select {
		case m.rejoins <- done:
		case <-ctx.Done():
		}
	})
	return done
}

// Returned counts how often a member has come back that was taken for dead.
func (m *Members) Returned() uint64 { return m.returned.Load() }

// Alive returns the names of the members that are not known to be dead, this
// one included, in alphabetical order.
func (m *Members) Alive() []string {
	var names []string
	for _, n := range m.list.Members() {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	return names
}

// SetProfile tells the others what this member says of itself. It returns at
// once; the others hear it within some rounds of gossip.
func (m *Members) SetProfile(p Profile) {
	if m.self.Load().Equal(p) {
		return
	}
	m.self.Store(&p)
	if said, err := decode(encode(p, memberlist.MetaMaxSize)); err != nil || len(said.Links) < len(p.Links) {
		m.options.Log.Warn("this node has more links than can be told to other speakers; exclude some with --exclude-interfaces", "links", len(p.Links), "told", len(said.Links))
	}
	m.work.Go(func() {
		m.saying.Lock() // what is said last must be what is so
		defer m.saying.Unlock()
		if err := m.list.UpdateNode(time.Second); err != nil {
			m.options.Log.Debug("nobody heard yet what this node says of itself", "error", err)
		}
	})
}

// Leave tells the others that this member goes, and waits a little until it has
// been said. It is said twice: memberlist does not tell them apart who leaves and
// who dies.
func (m *Members) Leave() error {
	p := *m.self.Load()
	p.Leaving = true
	m.self.Store(&p)
	said := m.list.UpdateNode(500 * time.Millisecond)
	return errors.Join(said, m.list.Leave(500*time.Millisecond))
}

// Close stops to listen. The contexts of Run and Rejoin must have ended.
func (m *Members) Close() error {
	err := m.list.Shutdown()
	m.work.Wait()
	return err
}
