// Package closedports refuses packets to addresses of Services that no Service takes.
//
// A VIP is on no interface. kube-proxy takes the ports of the Services. The kernel forwards
// every other packet by its routes: to the router, which sends it back to this node, until
// its TTL ends. The client waits for an answer that never comes. With this package the
// kernel answers at once, as it does for a closed port of the node: "connection refused".
//
// The package owns one table of nftables. Its rules see the packets that kube-proxy has
// left: in the hook "forward" a packet that kube-proxy takes has the address of a pod
// already. The table does not open anything: it only refuses, drops and answers ping.
package closedports

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/tablewatch"
)

const (
	// lifetime is how long the rules have an effect without a refresh. So they end if the
	// speaker was killed and does not come back.
	lifetime = 5 * time.Minute
	// refreshInterval leaves time for some refreshes that fail.
	refreshInterval = time.Minute
)

// Wanted says which packets are refused.
type Wanted struct {
	// Addrs are the VIPs that this node announces.
	Addrs []netip.Addr
	// Networks are the aggregates that this node advertises. Routers also send the packets
	// for their addresses that no Service has.
	Networks []netip.Prefix
	// Taken are the ports that Services have. kube-proxy may not know a port yet. Packets
	// for it are dropped, because clients send them again, but give up when they are refused.
	Taken []Port
	// Links are the names of the interfaces to the network of the node. Only packets that
	// the kernel would send there are refused. A packet that it would send to another
	// interface belongs to the container network: some, like Antrea, route VIPs to an
	// interface of their own.
	Links []string
}

func (w Wanted) equal(o Wanted) bool {
	return slices.Equal(w.Addrs, o.Addrs) && slices.Equal(w.Networks, o.Networks) && slices.Equal(w.Taken, o.Taken) && slices.Equal(w.Links, o.Links)
}

// Port is a port of a Service.
type Port struct {
	Addr netip.Addr
	// Protocol is the number of the IP protocol, for example 6 for TCP.
	Protocol uint8
	Number   uint16
}

// Options of a Refuser.
type Options struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// AnswerPing says whether the VIPs answer echo requests. Without it they are refused.
	AnswerPing bool
}

// Refuser keeps the rules in the kernel.
type Refuser struct {
	log     *slog.Logger
	kernel  kernel
	active  prometheus.Gauge
	repairs *tablewatch.Repairs
	wanted  atomic.Pointer[Wanted] // nil before the first Set
	changed signal.Signal
	removed signal.Signal // see Repair

	// The rest is for the goroutine of Run alone.
	installed contents // what the kernel has; nil if that is unknown
	exists    bool     // the table may exist
	problem   string   // the last error that was logged; empty if there is none
}

// kernel is the table in the kernel. Each method is one transaction: all of it has an
// effect, or nothing.
type kernel interface {
	// replace writes the table anew, whatever was there.
	replace(contents) error
	// change changes the elements of the sets.
	change(remove, add contents) error
	// refresh begins the lifetime again.
	refresh() error
	// remove removes the table, if there is one.
	remove() error
}

// New returns a Refuser that does nothing before the first Set.
func New(o Options) *Refuser { return newRefuser(o, table{answerPing: o.AnswerPing}) }

func newRefuser(o Options, k kernel) *Refuser {
	r := &Refuser{
		log: o.Log, kernel: k, changed: signal.New(), removed: signal.New(),
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "baremetal", Subsystem: "closed_ports", Name: "active",
			Help: "1 while the kernel refuses packets for ports that no Service has.",
		}),
		repairs: tablewatch.NewRepairs("closed_ports", o.Log, o.Metrics),
	}
	o.Metrics.MustRegister(r.active)
	return r
}

// Set replaces what is refused. It does not wait for the kernel. Setting the same again
// does nothing. It is for one goroutine.
func (r *Refuser) Set(w Wanted) {
	if last := r.wanted.Load(); last == nil || !last.equal(w) {
		r.wanted.Store(&w)
		r.changed.Set()
	}
}

// Repair says that another program may have removed the table. It does not wait for the kernel.
func (r *Refuser) Repair() { r.removed.Set() }

// Run keeps the rules in the kernel until ctx ends. Then it removes them. A failure is
// logged and tried again. Run returns nil.
func (r *Refuser) Run(ctx context.Context) error {
	refresh := time.NewTicker(refreshInterval)
	defer refresh.Stop()
	for {
		select {
		case <-r.changed.C():
			r.apply(false)
		case <-r.removed.C(): // a refresh fails without the table, and then it is written anew
			r.apply(true)
		case <-refresh.C:
			r.apply(true)
		case <-ctx.Done():
			r.end()
			return nil
		}
	}
}

// apply brings the kernel to what is wanted. With refresh it also begins the lifetime of
// the rules again.
func (r *Refuser) apply(refresh bool) {
	wanted := r.wanted.Load()
	if wanted == nil {
		return
	}
	want := wanted.contents()
	err := r.update(want, refresh)
	if err != nil {
		if err != errUnknown {
			r.repairs.Note(err)
		}
		r.exists = true
		err = r.kernel.replace(want)
	}
	if err != nil {
		r.installed = nil
		r.active.Set(0)
		if text := err.Error(); text != r.problem {
			r.problem = text
			r.log.Warn("packets for closed ports cannot be refused, trying again", "error", err, "hint", hint(err))
		}
		return
	}
	if r.installed == nil {
		r.log.Info("packets for closed ports are refused")
	}
	r.installed, r.problem = want, ""
	r.active.Set(1)
}

var errUnknown = errors.New("the content of the table is unknown")

// update changes the table that exists.
func (r *Refuser) update(want contents, refresh bool) error {
	if r.installed == nil {
		return errUnknown
	}
	if remove, add := change(r.installed, want); len(remove)+len(add) > 0 {
		if err := r.kernel.change(remove, add); err != nil {
			return err
		}
	}
	if refresh {
		return r.kernel.refresh()
	}
	return nil
}

func (r *Refuser) end() {
	if !r.exists {
		return
	}
	r.active.Set(0)
	if err := r.kernel.remove(); err != nil && r.problem == "" { // else it was never written
		r.log.Warn("the rules for closed ports were not removed", "error", err, "end_after", lifetime)
	}
}

// hint says what an operator can do about an error of the kernel.
func hint(err error) string {
	if errors.Is(err, unix.EPERM) {
		return "give the speaker's container the capability NET_ADMIN as in manifests/speaker.yaml, or set --closed-ports=leave"
	}
	return "the kernel must be 5.2 or later, with nftables (nf_tables, nft_ct, nft_limit, nft_reject, nft_redir); otherwise set --closed-ports=leave"
}
