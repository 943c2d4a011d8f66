// Package spread makes every node carry a part of the flows to a VIP that one node announces.
//
// The announcer receives all frames for the VIP. A rule at the ingress of the link hashes the flow
// of each frame into one of 256 slots, and forwards the frame to the node that carries the slot.
// There kube-proxy takes it, and the answer goes to the client directly. Frames of own slots are
// left to kube-proxy on this node. All nodes have the same rules, so nothing changes for the flows of the
// nodes that live when another node becomes the announcer.
//
// When a slot moves, its new node does not know the connections that exist. It hands their segments on, and
// so does each node of a ring, until one knows the connection. Beamer (Olteanu et al., 2018) hands on to the
// node that had the slot before; a ring needs no memory of that.
//
// The package owns three tables of nftables of one name: of the family netdev for the ingress,
// and of ip and ip6 for the segments that are handed on.
package spread

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/tablewatch"
)

const (
	// lifetime is how long the rules have an effect without a refresh. The rules stay when the
	// speaker ends, because it is restarted in most cases. The other nodes leave this one in their rings for ten
	// minutes (departedMemory of the package view), and the last refresh can be a minute old when the speaker ends.
	lifetime = 12 * time.Minute
	// refreshInterval leaves time for some refreshes that fail.
	refreshInterval = time.Minute
	// youth is for how long an address that becomes spread stays with its announcer. Its connections are
	// there, and the other nodes need their rules first, to hand segments of these connections back.
	youth = 500 * time.Millisecond
	// retryInterval is the time after a failure until the rules are written again, or until the next look.
	retryInterval = 5 * time.Second
)

// Table says what happens to the flows of each slot.
type Table struct {
	// Carriers are the addresses, on the link, of the nodes to which frames are forwarded; the zero
	// Addr for this node.
	Carriers [election.Slots]netip.Addr
	// Next are the addresses of the nodes to which segments of unknown connections are handed
	// on; the zero Addr for none.
	Next [election.Slots]netip.Addr
	// Last are the addresses of the nodes that are asked in the end, when no node of the ring knows the
	// connection; the zero Addr for none.
	Last [election.Slots]netip.Addr
	// Ring is the number of nodes among which segments of unknown connections are handed on.
	Ring int
}

// VIP is a spread address on one of this node's links.
type VIP struct {
	Addr netip.Addr
	Link string
	// ByAddress is set if all flows of a client go to the same node.
	ByAddress bool
	// New is set if no node has announced the address before, so that it has no connections.
	New bool
	// Table is not changed any more. VIPs of the same link and family may share it.
	Table *Table
}

// Wanted says which flows go where.
type Wanted struct {
	VIPs []VIP
	// Links are the indexes of the links that the VIPs name.
	Links map[string]int
	// Members are the MAC addresses of all other speakers' links. Their frames are
	// never forwarded, so that a frame makes one step.
	Members [][6]byte
	// Nodes are the names of the nodes by the addresses of the Tables, for the metrics.
	Nodes map[netip.Addr]string
}

func (w *Wanted) equal(o *Wanted) bool {
	return slices.Equal(w.VIPs, o.VIPs) && maps.Equal(w.Links, o.Links) && slices.Equal(w.Members, o.Members) && maps.Equal(w.Nodes, o.Nodes)
}

// Options of a Spreader.
type Options struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// Changed is called when the Status changes. It must not wait.
	Changed func()
}

// Status is what this node can do, and what its kernel does.
type Status struct {
	// Obstacle says why this node cannot spread; "" if it can.
	Obstacle string
	// Problem says why the kernel did not take the rules when they were written last; "" if it did.
	Problem string
	// HasRules is set if the kernel has what the last Set has asked for, or what one before has.
	HasRules bool
	// HandsOn is set if the kernel hands segments on: it has the rules of this speaker, or those of
	// the speaker before, which still have an effect.
	HandsOn bool
}

// Spreader keeps the rules in the kernel.
type Spreader struct {
	log     *slog.Logger
	kernel  kernel
	active  prometheus.Gauge
	repairs *tablewatch.Repairs
	wanted  atomic.Pointer[Wanted] // nil before the first Set
	changed signal.Signal
	removed signal.Signal // see Repair
	status  atomic.Pointer[Status]
	news    func()
	// installed is what the kernel has; nil if that is unknown. Only Run writes it.
	installed atomic.Pointer[ruleset]

	// The rest is for Run alone. young says since when an address is spread that this node has announced before.
	young map[place]time.Time
	// doubted is set if the last look has found an obstacle that does not count yet.
	doubted bool
}

// kernel is the tables in the kernel. Each method is one transaction: all of it has an
// effect, or nothing.
type kernel interface {
	// check returns why the kernel cannot do what the rules need.
	check() error
	// replace writes the tables anew, whatever was there.
	replace(*ruleset) error
	// change changes some flows, and the elements of the sets.
	change(difference) error
	// refresh begins the lifetime again. It fails without the tables, and after the lifetime.
	refresh() error
	// isAlive reports whether there are tables whose lifetime has not ended.
	isAlive() bool
	// remove removes the tables, if there are any.
	remove() error
}

// New returns a Spreader that writes nothing before the first Set. It asks the kernel what it can do, and what it
// has, so that the first profile of the speaker says it: other speakers choose the nodes of the rings by that.
func New(o Options) *Spreader {
	s := newSpreader(o, tables{})
	o.Metrics.MustRegister(newCollector(s, tables{}))
	return s
}

func newSpreader(o Options, k kernel) *Spreader {
	s := &Spreader{
		log: o.Log, kernel: k, changed: signal.New(), removed: signal.New(), news: o.Changed,
		doubted: true, // the first obstacle counts at once
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "baremetal", Subsystem: "spread", Name: "active",
			Help: "1 while the kernel spreads the flows to addresses over the nodes.",
		}),
		repairs: tablewatch.NewRepairs("spread", o.Log, o.Metrics),
	}
	o.Metrics.MustRegister(s.active)
	s.status.Store(&Status{HandsOn: k.isAlive()})
	s.check()
	return s
}

// Status returns what is known now.
func (s *Spreader) Status() Status { return *s.status.Load() }

// update changes the status. Only the goroutine of Run calls it, and New.
func (s *Spreader) update(change func(*Status)) {
	before := s.Status()
	after := before
	if change(&after); after != before {
		s.status.Store(&after)
		s.news()
	}
}

// Set replaces what is spread. It does not wait for the kernel. Setting the same again does
// nothing. It is for one goroutine.
func (s *Spreader) Set(w Wanted) {
	if last := s.wanted.Load(); last == nil || !last.equal(&w) {
		s.wanted.Store(&w)
		s.changed.Set()
	}
}

// Repair says that another program may have removed the tables. It does not wait for the kernel.
func (s *Spreader) Repair() { s.removed.Set() }

// Run keeps the rules in the kernel until ctx ends. It leaves them there: the connections
// of this node go on while its speaker is replaced. A failure is logged and tried again. Run
// returns nil.
func (s *Spreader) Run(ctx context.Context) error {
	refresh := time.NewTicker(refreshInterval)
	defer refresh.Stop()
	var again, look <-chan time.Time
	s.keep() // the speaker before may have ended almost a lifetime ago
	for {
		isRefresh := false
		select {
		case <-s.changed.C():
		case <-again:
		case <-s.removed.C():
			isRefresh = true // it fails without the tables, and then they are written anew
		case <-refresh.C:
			look = s.check()
			isRefresh = true
		case <-look:
			look = s.check()
			continue
		case <-ctx.Done():
			return nil
		}
		again = nil
		if !s.apply(isRefresh) {
			again = time.After(retryInterval)
		} else if len(s.young) > 0 {
			again = time.After(youth)
		}
	}
}

// Remove removes the rules. It must not be called while Run runs.
func (s *Spreader) Remove() {
	if err := s.kernel.remove(); err != nil {
		s.log.Warn("the rules that spread flows were not removed", "error", err, "end_after", lifetime)
	}
}

// RemoveLeftovers removes the rules of an earlier speaker, when this one does not spread.
func RemoveLeftovers(log *slog.Logger) {
	if err := (tables{}).remove(); err != nil && !cannotHaveTables(err) {
		log.Warn("the rules of an earlier speaker that spread flows were not removed", "error", err, "end_after", lifetime)
	}
}
