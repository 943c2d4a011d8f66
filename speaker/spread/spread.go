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
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
)

const (
	// lifetime is how long the rules have an effect without a refresh. The rules stay when the
	// speaker ends, because it is restarted in most cases.
	lifetime = 10 * time.Minute
	// refreshInterval leaves time for some refreshes that fail.
	refreshInterval = time.Minute
	// youth is for how long an address that becomes spread stays with its announcer. Its connections are
	// there, and the other nodes need their rules first, to hand segments of these connections back.
	youth = 500 * time.Millisecond
	// retryInterval is the time after a failure until the rules are written again.
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
	// Changed is called when the result of Obstacle or of HasRules changes. It must not wait.
	Changed func()
}

// Spreader keeps the rules in the kernel.
type Spreader struct {
	log      *slog.Logger
	kernel   kernel
	active   prometheus.Gauge
	wanted   atomic.Pointer[Wanted] // nil before the first Set
	changed  signal.Signal
	removed  signal.Signal // see Repair
	obstacle atomic.Pointer[string]
	news     func()

	// young says since when an address is spread that this node has announced before. For Run alone.
	young map[place]time.Time
	// installed is what the kernel has; nil if that is unknown. Only Run writes it.
	installed atomic.Pointer[ruleset]
	problem   string // the last error that was logged; empty if there is none. For Run alone.
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
	// refresh begins the lifetime again.
	refresh() error
	// remove removes the tables, if there are any.
	remove() error
}

// New returns a Spreader that writes nothing before the first Set. It asks the kernel what it can do,
// so that the first profile of the speaker says it: other speakers choose the nodes of the rings by that.
func New(o Options) *Spreader {
	s := newSpreader(o, tables{})
	o.Metrics.MustRegister(newCollector(s, tables{}))
	return s
}

func newSpreader(o Options, k kernel) *Spreader {
	s := &Spreader{log: o.Log, kernel: k, changed: signal.New(), removed: signal.New(), news: o.Changed, active: prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: "baremetal", Subsystem: "spread", Name: "active",
		Help: "1 while the kernel spreads the flows to addresses over the nodes.",
	})}
	o.Metrics.MustRegister(s.active)
	none := ""
	s.obstacle.Store(&none)
	s.check()
	return s
}

// Obstacle says why this node cannot spread; "" if it can.
func (s *Spreader) Obstacle() string { return *s.obstacle.Load() }

// HasRules reports whether the kernel has what the last Set has asked for, or what one before has.
func (s *Spreader) HasRules() bool { return s.installed.Load() != nil }

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
	var again <-chan time.Time
	for {
		isRefresh := false
		select {
		case <-s.changed.C():
		case <-again:
		case <-s.removed.C():
			isRefresh = true // it fails without the tables, and then they are written anew
		case <-refresh.C:
			s.check()
			isRefresh = true
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
	if err := (tables{}).remove(); err != nil && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EOPNOTSUPP) {
		log.Warn("the rules of an earlier speaker that spread flows were not removed", "error", err, "end_after", lifetime)
	}
}

// check asks the kernel whether it can do what the rules need.
func (s *Spreader) check() {
	obstacle := datapath()
	if obstacle == "" && s.installed.Load() == nil {
		if err := s.kernel.check(); err != nil {
			obstacle = fmt.Sprintf("%v (%s)", err, hint(err))
		}
	}
	if obstacle == s.Obstacle() {
		return
	}
	if s.obstacle.Store(&obstacle); obstacle == "" {
		s.log.Info("this node can spread the flows to an address")
	} else {
		s.log.Info("this node cannot spread the flows to an address", "reason", obstacle)
	}
	s.news()
}

// apply brings the kernel to what is wanted, and reports whether that worked. With refresh it also
// begins the lifetime of the rules again.
func (s *Spreader) apply(refresh bool) (ok bool) {
	wanted := s.wanted.Load()
	if wanted == nil {
		return true
	}
	installed := s.installed.Load()
	held := s.holdYoung(*wanted, installed, time.Now())
	want := held.rules(installed)
	if err := s.update(installed, want, refresh); err != nil {
		if s.installed.Store(nil); installed != nil {
			s.news()
		}
		s.active.Set(0)
		if text := err.Error(); text != s.problem {
			s.problem = text
			s.log.Warn("flows cannot be spread, trying again", "error", err, "hint", hint(err))
		}
		return false
	}
	if s.installed.Store(want); installed == nil {
		s.news()
	}
	s.problem = ""
	if want.isEmpty() {
		s.active.Set(0)
		return true
	}
	s.active.Set(1)
	if installed == nil || installed.isEmpty() {
		s.log.Info("flows are spread over the nodes", "addresses", len(wanted.VIPs))
	}
	return true
}

// update changes the tables from installed to want. If that fails, for example because another
// program has removed them, it writes them anew.
func (s *Spreader) update(installed, want *ruleset, refresh bool) error {
	switch {
	case want.isEmpty() && installed != nil && installed.isEmpty():
		return nil
	case want.isEmpty():
		return s.kernel.remove()
	case installed == nil || !slices.Equal(installed.links, want.links):
		return s.kernel.replace(want)
	}
	var err error
	if d := installed.difference(want); !d.isEmpty() {
		err = s.kernel.change(d)
	}
	if err == nil && refresh {
		err = s.kernel.refresh()
	}
	if err != nil {
		return s.kernel.replace(want)
	}
	return nil
}

// hint says what an operator can do about an error of the kernel.
func hint(err error) string {
	if errors.Is(err, unix.EPERM) {
		return "give the speaker's container the capability NET_ADMIN as in manifests/speaker.yaml"
	}
	return "the kernel must be 5.7 or later, with nftables (nf_tables, nft_fwd_netdev, nft_dup_ipv4, nft_dup_ipv6, nft_hash, nft_ct)"
}
