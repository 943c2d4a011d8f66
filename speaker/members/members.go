// Package members says which nodes' speakers are alive. The speakers find that
// out among themselves (hashicorp/memberlist, SWIM), without the API server.
package members

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strconv"
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
	// Peers returns the addresses where other members should be found, by name.
	Peers func() map[string]netip.Addr
	// Changed is called, from any goroutine, when a member has come or gone. It
	// must not block.
	Changed func()
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Members is this node's view of all members.
type Members struct {
	options Options
	list    *memberlist.Memberlist
	joined  chan struct{}
	rejoins chan chan struct{} // asks Run to look for missing peers at once
	arrived atomic.Uint64
}

// New starts to listen. Run joins the others.
func New(o Options) (*Members, error) {
	m := &Members{options: o, joined: make(chan struct{}), rejoins: make(chan chan struct{})}
	list, err := memberlist.Create(m.config())
	if err != nil {
		return nil, fmt.Errorf("listening for other speakers on %s: %w", o.Addr, err)
	}
	m.list = list
	o.Metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "baremetal", Subsystem: "members", Name: "alive", Help: "Number of speakers that this one believes to be alive, itself included.",
	}, func() float64 { return float64(list.NumMembers()) }))
	return m, nil
}

// config is memberlist's with a failure detector about six times as fast as its
// default for LANs: a dead member is known after about a second. It still needs
// one other member to confirm, and is patient with itself when it is starved of
// CPU, so that a busy node is not taken for a dead one.
func (m *Members) config() *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = m.options.Name
	c.BindAddr, c.BindPort = m.options.Addr.Addr().String(), int(m.options.Addr.Port())
	c.AdvertiseAddr, c.AdvertisePort = c.BindAddr, c.BindPort
	key := sha256.Sum256(m.options.Secret)
	c.SecretKey = key[:]
	c.TCPTimeout = 2 * time.Second
	c.ProbeInterval, c.ProbeTimeout = 200*time.Millisecond, 100*time.Millisecond
	c.SuspicionMult, c.SuspicionMaxTimeoutMult = 3, 2
	c.AwarenessMaxMultiplier = 4
	c.GossipInterval = 50 * time.Millisecond
	c.Events = events{m}
	c.LogOutput = logWriter{m.options.Log}
	return c
}

// Run joins the others and keeps looking for those that are missing, until ctx ends.
func (m *Members) Run(ctx context.Context) {
	first := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		defer close(first)
		m.join()
	})
	select {
	case <-first:
	case <-time.After(joinPatience):
		m.options.Log.Warn("not all speakers could be reached, going on without them")
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
			m.join()
		case done := <-m.rejoins:
			m.join()
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

// join contacts every peer that is not a member.
func (m *Members) join() {
	alive := m.Alive()
	slots := make(chan struct{}, joinsAtOnce)
	var wg sync.WaitGroup
	for name, addr := range m.options.Peers() {
		if name == m.options.Name || slices.Contains(alive, name) {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			at := netip.AddrPortFrom(addr, m.options.Addr.Port()).String()
			if _, err := m.list.Join([]string{name + "/" + at}); err != nil {
				m.options.Log.Debug("speaker not reached", "node", name, "addr", at, "error", err)
			}
		})
	}
	wg.Wait()
}

// Joined is closed when the first join has finished or taken too long.
func (m *Members) Joined() <-chan struct{} { return m.joined }

// Rejoin looks for missing peers at once, after a time in which this member can
// have heard nobody. The channel is closed, and Changed called, when those that
// can be reached have had the time to say that they are alive. ctx is Run's.
func (m *Members) Rejoin(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		select {
		case m.rejoins <- done:
		case <-ctx.Done():
		}
	}()
	return done
}

// Arrived counts how often a member has come.
func (m *Members) Arrived() uint64 { return m.arrived.Load() }

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

// Leave tells the others that this member goes, and waits a little until it has
// been said.
func (m *Members) Leave() error { return m.list.Leave(500 * time.Millisecond) }

// Close stops to listen.
func (m *Members) Close() error { return m.list.Shutdown() }

// events passes on what memberlist finds out. memberlist calls it with a lock
// held: nothing here may call back or block.
type events struct{ m *Members }

func (e events) NotifyJoin(n *memberlist.Node) {
	e.m.options.Log.Info("speaker joined", "node", n.Name, "addr", n.Addr.String()+":"+strconv.Itoa(int(n.Port)))
	e.m.arrived.Add(1)
	e.m.options.Changed()
}

func (e events) NotifyLeave(n *memberlist.Node) {
	how := "died"
	if n.State == memberlist.StateLeft {
		how = "left"
	}
	e.m.options.Log.Info("speaker "+how, "node", n.Name)
	e.m.options.Changed()
}

func (e events) NotifyUpdate(*memberlist.Node) {}
