// Package probe asks the kernels of other nodes whether they are alive: by a unicast ARP
// request, or by a unicast neighbor solicitation where there is no IPv4 (RFC 4861, section 7.3).
// The kernel answers for the node's own address, whatever its processes do.
package probe

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/loglimit"
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

// openAgain is how long a link is left alone whose socket could not be opened or has failed, and
// how often a link's address is read again.
const openAgain = time.Second

// Prober sends probes and collects the answers. It opens sockets on the links that it needs.
type Prober struct {
	log     *slog.Logger
	limit   *loglimit.Limiter
	metrics *metrics

	mu    sync.Mutex // guards the fields below
	ended bool
	ports map[string]*port

	// answersMu guards answered. A port may note an answer while it is closed under mu.
	answersMu sync.Mutex
	answered  map[Target]time.Time
}

// New returns a Prober. It opens nothing yet.
func New(o Options) *Prober {
	return &Prober{log: o.Log, limit: loglimit.New(1, time.Minute), metrics: newMetrics(o.Metrics), ports: map[string]*port{}, answered: map[Target]time.Time{}}
}

// Run waits until ctx ends, and closes the sockets. It returns nil when everything that was
// started has ended.
func (p *Prober) Run(ctx context.Context) error {
	<-ctx.Done()
	p.mu.Lock()
	p.ended = true
	ports := p.ports
	p.ports = nil
	p.mu.Unlock()
	for _, port := range ports {
		port.close()
	}
	return nil
}

// Probe asks the kernel of each target once. It does not block: a probe for which there is no
// room is dropped.
func (p *Prober) Probe(targets []Target) {
	for _, t := range targets {
		port := p.port(t.Link, time.Now())
		if port == nil {
			p.metrics.unsent.Inc()
			continue
		}
		if err := port.ask(t); err != nil {
			p.metrics.unsent.Inc()
			if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.ENOBUFS) {
				p.fail(port, "sending a probe failed", err)
			}
			continue
		}
		p.metrics.sent.Inc()
	}
}

// Answers calls f for each target that has answered since the last call, with the time of the
// answer.
func (p *Prober) Answers(f func(at time.Time, from Target)) {
	p.answersMu.Lock()
	answered := p.answered
	if len(answered) > 0 {
		p.answered = make(map[Target]time.Time, len(answered))
	}
	p.answersMu.Unlock()
	for target, at := range answered {
		f(at, target)
	}
}

// note keeps an answer until Answers is called.
func (p *Prober) note(t Target) {
	p.metrics.answered.Inc()
	p.answersMu.Lock()
	defer p.answersMu.Unlock()
	p.answered[t] = time.Now()
}

// port returns the sockets of a link, or nil if there are none now.
func (p *Prober) port(link string, now time.Time) *port {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.ports[link]
	if p.ended || known != nil && now.Before(known.checkAt) {
		return known.open()
	}
	found, err := net.InterfaceByName(link)
	switch {
	case err != nil || len(found.HardwareAddr) != 6:
		p.replace(link, known, &port{link: link, checkAt: now.Add(openAgain), failed: true})
		return nil
	case known.open() != nil && known.index == found.Index && known.mac == [6]byte(found.HardwareAddr):
		known.checkAt = now.Add(openAgain)
		return known
	}
	opened, err := openPort(found, p.note)
	if err != nil {
		if _, ok := p.limit.Allow(link); ok {
			p.log.Warn("opening the sockets for probes failed, this link's kernels are not watched", "link", link, "error", err)
		}
		opened = &port{link: link, failed: true}
	}
	opened.checkAt = now.Add(openAgain)
	p.replace(link, known, opened)
	return opened.open()
}

// replace puts a port into the place of another one.
func (p *Prober) replace(link string, old, opened *port) {
	p.ports[link] = opened
	old.close()
}

// fail makes the next probe open the link again, after a while.
func (p *Prober) fail(failed *port, message string, err error) {
	if _, ok := p.limit.Allow(failed.link); ok {
		p.log.Warn(message, "link", failed.link, "error", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ports[failed.link] == failed {
		p.replace(failed.link, failed, &port{link: failed.link, checkAt: time.Now().Add(openAgain), failed: true})
	}
}
