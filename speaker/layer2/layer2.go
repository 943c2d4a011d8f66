// Package layer2 makes one node receive the traffic for addresses that no
// interface holds, by answering ARP (RFC 826) and neighbor solicitations
// (RFC 4861) for them and by announcing them when they have moved.
package layer2

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Linger is how long an address that has been handed over is still answered
// for, unless its new owner is heard sooner.
const Linger = 2 * time.Second

// Link is an interface on which addresses are announced.
type Link struct {
	Name  string
	Index int
	MAC   [6]byte
}

// Role is what this node is to an address.
type Role uint8

// The roles.
const (
	// Owner answers for the address.
	Owner Role = iota + 1
	// Standby does not, but an Owner that becomes Standby goes on answering for
	// Linger or until another speaker claims the address.
	Standby
)

// Row is one address and this node's role for it.
type Row struct {
	Addr netip.Addr
	Role Role
	// Links are the names of the links on which it is answered for and announced.
	Links []string
	// Fresh is set if, as far as is known, no speaker has announced the address
	// before. Whether another host has it is found out first (RFC 5227 2.1, RFC 4862
	// 5.4); later, the first look at the row as an Owner's is what counts.
	Fresh bool
	// Rivals are names of lost peers to which this node gives way if they announce
	// the address.
	Rivals []string
}

// Peer is another speaker, known by the MAC addresses of its links.
type Peer struct {
	Name string
	// Lost peers have died without a word, as far as is known.
	Lost bool
}

// Options of an Announcer.
type Options struct {
	Log     *slog.Logger
	Metrics Registerer
	// MayAnswer is asked before every answer and announcement. It must be cheap.
	MayAnswer func() bool
	// Refresh is how often an address is announced that does not move; 0 is never.
	Refresh time.Duration
	// Changed is called, from any goroutine, when the conflicts have changed. It must
	// not block.
	Changed func()
	// Met is called, from any goroutine, when a lost peer has announced an address of
	// this node's. It must not block.
	Met func(name string)
}

// Announcer answers for the addresses that Set gives it.
type Announcer struct {
	options Options
	log     *slog.Logger
	metrics *metrics
	now     func() time.Time
	started time.Time

	mu      sync.Mutex
	ports   map[int]*port // by interface index
	entries map[netip.Addr]*entry
	peers   map[[6]byte]Peer
	retry   map[int]time.Time // links that could not be opened

	wake   chan struct{}
	claims chan claim
	stop   chan struct{}
	done   sync.WaitGroup
}

// Preflight returns an error that says what to do if this process may not open
// packet sockets.
func Preflight() error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("opening a packet socket: %w: the speaker needs the capability NET_RAW (in its pod: securityContext.capabilities.add: [NET_RAW])", err)
	}
	if err != nil {
		return fmt.Errorf("opening a packet socket: %w", err)
	}
	return unix.Close(fd)
}

// New returns an Announcer without addresses. Close ends it.
func New(o Options) *Announcer {
	a := &Announcer{
		options: o,
		log:     o.Log,
		now:     time.Now,
		started: time.Now(),
		ports:   map[int]*port{},
		entries: map[netip.Addr]*entry{},
		retry:   map[int]time.Time{},
		wake:    make(chan struct{}, 1),
		claims:  make(chan claim, 64),
		stop:    make(chan struct{}),
	}
	a.metrics = newMetrics(o.Metrics, a)
	a.done.Go(a.run)
	return a
}

// Set replaces the links, the other speakers by the MAC addresses of their links,
// and the addresses. What has not changed is not touched: setting the same again
// sends no packet.
func (a *Announcer) Set(links []Link, peers map[[6]byte]Peer, rows []Row) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.peers = peers
	fresh := a.setLinks(links)
	a.setRows(rows)
	a.publish()
	if len(fresh) > 0 {
		a.announceAgain()
	}
	a.kick()
}

// HandOver makes every Owner a Standby: this node is about to stop. Set must not
// be called any more.
func (a *Announcer) HandOver() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for addr, e := range a.entries {
		a.step(addr, e, Row{Addr: addr, Role: Standby})
	}
	a.publish()
	a.kick()
}

// Forget stops to answer for all addresses until the next Set, without handing
// them over.
func (a *Announcer) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.entries)
	a.publish()
}

// Reannounce announces every owned address again, with the whole burst. It is
// for a moment after which others may believe in another owner: a node that was
// cut off has come back.
func (a *Announcer) Reannounce() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.announceAgain()
	a.kick()
}

// Lingering returns how many handed-over addresses are still answered for.
func (a *Announcer) Lingering() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, e := range a.entries {
		if e.phase == lingering {
			n++
		}
	}
	return n
}

// Close stops answering and waits until all has ended.
func (a *Announcer) Close() {
	close(a.stop)
	a.done.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.ports {
		p.close()
	}
	clear(a.ports)
}

// setLinks closes the ports that are not wanted any more, then opens new ones,
// which it returns. A link that cannot be opened is tried again by later calls.
func (a *Announcer) setLinks(links []Link) (fresh []*port) {
	want := map[int]Link{}
	for _, l := range links {
		want[l.Index] = l
	}
	for index, p := range a.ports {
		if want[index] != p.link {
			a.log.Info("link closed", "link", p.link.Name)
			p.close()
			delete(a.ports, index)
			a.metrics.forget(p.link.Name)
		}
	}
	for index, l := range want {
		if a.ports[index] != nil || a.now().Before(a.retry[index]) {
			continue
		}
		p, err := openPort(l, a)
		if err != nil {
			a.retry[index] = a.now().Add(10 * time.Second)
			a.metrics.errors.WithLabelValues(l.Name, "open").Inc()
			a.log.Error("link cannot be used", "link", l.Name, "error", err)
			continue
		}
		a.log.Info("link opened", "link", l.Name, "mac", net.HardwareAddr(l.MAC[:]).String())
		delete(a.retry, index)
		a.ports[index] = p
		fresh = append(fresh, p)
	}
	return fresh
}

// setRows applies the rows to the entries.
func (a *Announcer) setRows(rows []Row) {
	want := make(map[netip.Addr]bool, len(rows))
	for _, r := range rows {
		want[r.Addr] = true
		a.step(r.Addr, a.entries[r.Addr], r)
	}
	maps.DeleteFunc(a.entries, func(addr netip.Addr, _ *entry) bool { return !want[addr] })
}

// publish gives every port its addresses.
func (a *Announcer) publish() {
	for _, p := range a.ports {
		t := make(map[netip.Addr]bool, len(a.entries))
		for addr, e := range a.entries {
			if slices.Contains(e.row.Links, p.link.Name) {
				t[addr] = e.answers()
			}
		}
		p.set(t)
	}
}

func (a *Announcer) announceAgain() {
	now := a.now()
	for _, e := range a.entries {
		if e.phase == announcing {
			e.sent, e.next = 0, now
		}
	}
}

// clock is the time since this Announcer was made.
func (a *Announcer) clock() time.Duration { return time.Since(a.started) }

func (a *Announcer) kick() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}
