// Package members knows which nodes' speakers belong to the cluster, and what each
// of them says about itself in its profile. The speakers find that out among
// themselves (hashicorp/memberlist, SWIM), without the API server.
package members

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
)

// Options of a member.
type Options struct {
	// Name is the name of this node.
	Name string
	// Addr is where this member listens first, and where the other members reach it. If
	// Addresses has another address for this node later, the member goes on with that one
	// and the same port.
	Addr netip.AddrPort
	// Keys are the keys that all speakers share. This member sends with the first one, and
	// accepts all of them. memberlist's keys are their SHA-256. See SetKeys.
	Keys [][]byte
	// Addresses returns a new map of the addresses where members should be found, by
	// the names of their nodes. This node may be among them.
	Addresses func() map[string]netip.Addr
	// NodeAddrs returns a new map of all addresses of all nodes, each with its node's name.
	// Only these addresses, and those of members, may send to this member. It is called in
	// every second, and must not block.
	NodeAddrs func() map[netip.Addr]string
	// Changed is called, from any goroutine, when a member has joined, left, died or
	// changed its profile, or when this member has another address. It must not block.
	Changed func()
	// OtherKey is called, from any goroutine, with the sender of something that was made
	// with another key. It must not block; nil for nobody.
	OtherKey func(from netip.Addr)
	// ProbeInterval is how often memberlist probes a member. A dead member is given up
	// after about five of them.
	ProbeInterval time.Duration
	Log           *slog.Logger
	Metrics       prometheus.Registerer
}

// Members is this node's view of all members.
type Members struct {
	options Options
	guard   *guard
	keys    keys
	joined  chan struct{}
	self    atomic.Pointer[Profile]
	// returned counts how often a member that was declared dead has come back.
	returned       atomic.Uint64
	leaving        atomic.Bool // see Leave
	profileChanged signal.Signal
	rejoin         signal.Signal
	search         signal.Signal // asks to look for missing members at once

	list     atomic.Pointer[list] // nil until Run
	replaced sync.Mutex           // is held while the list is replaced, leaves or ends

	mu     sync.Mutex // guards the fields below
	others map[string]Member
	absent map[string]absence
	// displaced are members that have lost their address to a newcomer of the same name.
	displaced map[string]displacement
	turns     turns // of the searches for other members
	// unheardAt is when others that the present list does not have are lost; zero if the
	// list was not replaced.
	unheardAt time.Time
	// rejoined is closed when the rejoin that was asked for has ended; nil if none was.
	rejoined chan struct{}
}

// Member is another speaker.
type Member struct {
	Name    string
	Addr    netip.Addr
	Profile Profile
	// Lost is set for a member that was declared dead. A speaker that has left is no
	// member any more.
	Lost bool
}

// New returns a Members that knows no other member yet.
func New(o Options) *Members {
	m := &Members{
		options: o, joined: make(chan struct{}), profileChanged: signal.New(), rejoin: signal.New(), search: signal.New(),
		others: map[string]Member{}, absent: map[string]absence{}, displaced: map[string]displacement{}, turns: turns{map[string]bool{}, map[string]time.Time{}},
	}
	m.guard = newGuard(m.knownAddrs, o.Log, o.Metrics)
	m.keys.set(o.Keys)
	m.self.Store(&Profile{})
	m.store(Profile{Fenced: true}) // it is newer than what the speaker before has said by heartbeats
	gauge := func(name, help string, value func() int) {
		o.Metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "baremetal", Subsystem: "members", Name: name, Help: help},
			func() float64 { return float64(value()) }))
	}
	gauge("alive", "Number of speakers that this one believes to be alive, itself included.", func() int { return len(m.alive()) })
	gauge("announcing", "Number of speakers that can announce, this one included. A speaker without a usable link and a fenced speaker cannot.", m.announcing)
	gauge("keys", "Number of keys of other speakers that this one accepts: two or more while the key is rotated.", m.keys.count)
	return m
}

// Run listens, joins the other members and keeps looking for missing ones, until
// ctx ends. It does not tell the members that it leaves; see Leave. It returns when
// everything that it started has ended, which may take seconds.
func (m *Members) Run(ctx context.Context) error {
	first, err := m.open(m.options.Addr)
	if err != nil {
		return fmt.Errorf("listening for other speakers on %s (--members-port): %w", m.options.Addr, err)
	}
	m.list.Store(first)
	var work sync.WaitGroup
	work.Go(func() { m.tellProfile(ctx) })
	work.Go(func() { m.followOwnAddr(ctx) })
	m.keepJoined(ctx, &work)
	err = m.closeList()
	work.Wait()
	if err != nil {
		return fmt.Errorf("closing the member list: %w", err)
	}
	return nil
}

// SetKeys replaces the keys. This member sends with the first one, and accepts all of
// them. There must be one at least.
func (m *Members) SetKeys(keys [][]byte) { m.keys.set(keys) }

// Joined returns a channel that is closed when the first join has ended or has
// taken too long.
func (m *Members) Joined() <-chan struct{} { return m.joined }

// Rejoin looks for the other speakers at once, after a time in which this member
// may have heard none. It contacts some of them; see LookFor. It does not block. The channel is
// closed, and Changed is called, when the members that can be reached have had the time to say
// that they are alive.
func (m *Members) Rejoin() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rejoined == nil {
		m.rejoined = make(chan struct{})
	}
	m.rejoin.Set()
	return m.rejoined
}

// Returned counts how often a member that was declared dead has come back.
func (m *Members) Returned() uint64 { return m.returned.Load() }

// alive returns the names of the members that are not known to be dead, this one
// included, in alphabetical order.
func (m *Members) alive() []string {
	list := m.list.Load()
	if list == nil {
		return nil
	}
	var names []string
	for _, n := range list.Members() {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	return names
}

// SetProfile replaces what this member says about itself. It does not block. The
// other members hear of it within some rounds of gossip. It returns the profile as they read
// it, with its version, so that it can be told in a faster way, too.
func (m *Members) SetProfile(p Profile) (version uint64, encoded []byte) {
	if before := m.self.Load(); before.Version > 0 && before.Equal(p) {
		return before.Version, encode(*before, memberlist.MetaMaxSize)
	}
	m.store(p)
	p = *m.self.Load()
	encoded = encode(p, memberlist.MetaMaxSize)
	if sent, err := decode(encoded); err != nil || !sent.Equal(p) {
		m.options.Log.Warn("this node has more links or networks than fit into its profile", "hint", "exclude some with --exclude-interfaces", "links", len(p.Links), "sent", len(sent.Links))
	}
	m.profileChanged.Set()
	return p.Version, encoded
}

// store replaces the profile, with a higher version.
func (m *Members) store(p Profile) {
	p.Version = max(m.self.Load().Version+1, uint64(time.Now().UnixNano()))
	m.self.Store(&p)
}

// tellProfile tells the other members every change of the profile, until ctx ends.
func (m *Members) tellProfile(ctx context.Context) {
	for {
		select {
		case <-m.profileChanged.C():
		case <-ctx.Done():
			return
		}
		if m.leaving.Load() {
			return // Leave tells the last profile, and a later update would replace its message
		}
		if err := m.list.Load().UpdateNode(time.Second); err != nil {
			m.options.Log.Debug("no member has heard this node's profile yet", "error", err)
		}
	}
}

// SetLeaving makes this member's profile say that it is about to end. It returns the profile like
// SetProfile. Leave tells the members by gossip.
func (m *Members) SetLeaving() (version uint64, encoded []byte) {
	m.leaving.Store(true)
	p := *m.self.Load()
	if !p.Leaving {
		p.Leaving = true
		m.store(p)
		p = *m.self.Load()
	}
	return p.Version, encode(p, memberlist.MetaMaxSize)
}

// Leave tells the other members that this one leaves, and waits a short time until
// they have heard it. The profile says so as well, because memberlist does not
// distinguish a member that leaves from one that dies.
func (m *Members) Leave() error {
	m.replaced.Lock()
	defer m.replaced.Unlock()
	list := m.list.Load()
	if list == nil || list.ended.Load() {
		return nil // it has never joined, or has ended
	}
	m.SetLeaving()
	updated := list.UpdateNode(500 * time.Millisecond)
	return errors.Join(updated, list.Leave(500*time.Millisecond))
}
