// Package probe asks the kernels of other nodes whether they are alive: by a unicast ARP
// request, or by a unicast neighbor solicitation where there is no IPv4 (RFC 4861, section 7.3).
// The kernel answers for the node's own address, whatever its processes do.
package probe

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/loglimit"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
)

// Target is a kernel and the way to it.
type Target struct {
	// Link is the name of this node's interface.
	Link string
	// Local is this node's address on the link. Remote is the address that the kernel is asked for.
	Local, Remote netip.Addr
	// MAC is the kernel's address on the link.
	MAC [6]byte
}

// Options of a Prober.
type Options struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// checkInterval is how often the links are looked at again, and how long a link is left alone
// whose sockets could not be opened.
const checkInterval = time.Second

// Prober sends probes and collects the answers. Run opens sockets on the links that are needed.
// So sending never waits for the kernel's lists of links, or for a socket that closes.
type Prober struct {
	log     *slog.Logger
	limit   *loglimit.Limiter
	metrics *metrics
	look    signal.Signal // see LinksChanged
	ports   atomic.Pointer[map[string]*port]

	mu       sync.Mutex // guards the fields below
	wanted   map[string]bool
	answered map[Target]time.Time
}

// New returns a Prober. It opens nothing yet.
func New(o Options) *Prober {
	p := &Prober{log: o.Log, limit: loglimit.New(1, time.Minute), metrics: newMetrics(o.Metrics), look: signal.New(), wanted: map[string]bool{}, answered: map[Target]time.Time{}}
	p.ports.Store(&map[string]*port{})
	return p
}

// Run keeps sockets open on the links that are probed, until ctx ends. It returns nil when
// everything that it started has ended.
func (p *Prober) Run(ctx context.Context) error {
	check := time.NewTicker(checkInterval)
	defer check.Stop()
	for {
		select {
		case <-p.look.C():
		case <-check.C:
		case <-ctx.Done():
			for _, port := range *p.ports.Swap(&map[string]*port{}) {
				port.close()
			}
			return nil
		}
		p.check()
	}
}

// LinksChanged makes Run look at the links at once: their addresses may have changed. It does not
// block.
func (p *Prober) LinksChanged() { p.look.Set() }

// Probe asks the kernel of each target once. It does not block. It returns the targets that were
// not asked, because this node has no socket or no room.
func (p *Prober) Probe(targets []Target) (unsent []Target) {
	ports := *p.ports.Load()
	for _, t := range targets {
		port := ports[t.Link]
		if port == nil {
			p.want(t.Link)
		} else if err := port.ask(t); err == nil {
			p.metrics.sent.Inc()
			continue
		}
		p.metrics.unsent.Inc()
		unsent = append(unsent, t)
	}
	return unsent
}

// Answers calls f for each target that has answered since the last call, with the time of the
// answer.
func (p *Prober) Answers(f func(at time.Time, from Target)) {
	p.mu.Lock()
	answered := p.answered
	if len(answered) > 0 {
		p.answered = make(map[Target]time.Time, len(answered))
	}
	p.mu.Unlock()
	for target, at := range answered {
		f(at, target)
	}
}

// note keeps an answer until Answers is called.
func (p *Prober) note(t Target) {
	p.metrics.answered.Inc()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered[t] = time.Now()
}

// want makes Run open a link that it does not know yet.
func (p *Prober) want(link string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.wanted[link] {
		p.wanted[link] = true
		p.look.Set()
	}
}

// check opens the links that are wanted, and those again that have another index or address now.
// A port stays open if its link cannot be found: the list may be incomplete.
func (p *Prober) check() {
	p.mu.Lock()
	wanted := maps.Clone(p.wanted)
	p.mu.Unlock()
	before := *p.ports.Load()
	after := maps.Clone(before)
	var old []*port
	for link := range wanted {
		known := before[link]
		found, err := net.InterfaceByName(link)
		if err != nil || len(found.HardwareAddr) != 6 || known.is(found) {
			continue
		}
		opened, err := openPort(found, p.note, p.look.Set)
		if err != nil {
			if _, ok := p.limit.Allow(link); ok {
				p.log.Warn("opening the sockets for probes failed, this link's kernels are not watched", "link", link, "error", err)
			}
			continue
		}
		after[link] = opened
		if known != nil {
			old = append(old, known)
		}
	}
	p.ports.Store(&after)
	for _, port := range old {
		port.close()
	}
}
