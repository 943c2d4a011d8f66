// Package layer2 makes one node receive the traffic for VIPs. No interface has
// these addresses. The node answers ARP (RFC 826) and neighbor solicitations
// (RFC 4861) for them, and announces them after a takeover.
package layer2

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/loglimit"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
)

// linger is how long this node still answers for an address that it has handed
// over, unless it hears the new owner sooner.
const linger = 2 * time.Second

// openAgain is the time after which a link that could not be opened is tried again.
const openAgain = 10 * time.Second

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
	// Standby does not answer. An Owner that becomes Standby goes on answering for two
	// seconds, or until another speaker announces the address.
	Standby
)

// Assignment is one address and this node's role for it.
type Assignment struct {
	Addr netip.Addr
	Role Role
	// Links are the names of the links on which this node answers and announces.
	Links []string
	// Fresh is set if no speaker has announced the address before, as far as is known.
	// The new owner of a fresh address first probes whether a foreign host has it (RFC
	// 5227 section 2.1, RFC 4862 section 5.4). Fresh counts only when the address is
	// assigned to this Owner for the first time.
	Fresh bool
	// DespiteConflicts makes an Owner announce the address also on links on which a foreign
	// host has it already.
	DespiteConflicts bool
}

// Member is a speaker. Frames show it by the MAC addresses of its links.
type Member struct {
	Name string
	// Self is set for this speaker.
	Self bool
	// Lost members died without a goodbye, as far as is known.
	Lost bool
}

// Options of an Announcer.
type Options struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// MayAnswer is called before every answer and announcement. It must be cheap.
	MayAnswer func() bool
	// Refresh is how often an address that does not move is announced; 0 means never.
	Refresh time.Duration
	// Rival is called, from any goroutine, when another member that is not lost announces an address
	// that this node announces; nil for nothing. It must not block.
	Rival func(name string)
	// Lost is the same for a lost member.
	Lost func(name string)
	// Changed is called, from any goroutine, when Conflicts or LostHeard have changed.
	// It must not block.
	Changed func()
}

// Announcer answers for the addresses that Set gives it.
type Announcer struct {
	options Options
	log     *slog.Logger
	metrics *metrics
	now     func() time.Time
	started time.Time

	mu      sync.Mutex              // guards the fields below
	ports   map[int]*port           // by interface index
	entries map[netip.Addr][]*entry // one for each link of the address
	members map[[6]byte]Member
	retry   map[int]time.Time // when to try again to open a link
	ended   bool              // Run has ended
	// unpublished is set if the ports do not know yet for which addresses to answer.
	unpublished bool

	changed   signal.Signal // the entries have changed
	claims    chan claim
	claimLog  *loglimit.Limiter // for what a neighbour can cause
	lostHeard atomic.Uint64
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

// New returns an Announcer without addresses.
func New(o Options) *Announcer {
	a := &Announcer{
		options: o, log: o.Log, now: time.Now, started: time.Now(),
		ports: map[int]*port{}, entries: map[netip.Addr][]*entry{}, retry: map[int]time.Time{},
		changed: signal.New(), claims: make(chan claim, maxClaims), claimLog: loglimit.New(claimLogs, time.Minute),
	}
	a.metrics = newMetrics(o.Metrics, a)
	return a
}

// Run announces what is due until ctx ends. Then it stops to answer. It returns nil
// when the sockets are closed and all goroutines have ended.
func (a *Announcer) Run(ctx context.Context) error {
	a.announceDue(ctx)
	a.mu.Lock()
	a.ended = true
	ports := slices.Collect(maps.Values(a.ports))
	clear(a.ports)
	clear(a.entries)
	a.mu.Unlock()
	for _, p := range ports {
		p.close()
	}
	return nil
}

// Set replaces the links, the speakers by the MAC addresses of their links,
// and the assignments. It does not touch what has not changed: setting the same
// again sends no packet.
func (a *Announcer) Set(links []Link, members map[[6]byte]Member, assignments []Assignment) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return
	}
	a.members = members
	opened := a.setLinks(links)
	a.assign(assignments)
	a.publish()
	if opened {
		a.announceAgain()
	}
	a.changed.Set()
}

// HandOver makes this node a Standby for all addresses: it is about to stop. Set
// must not be called any more.
func (a *Announcer) HandOver() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for addr := range a.entries {
		a.standBy(addr)
	}
	a.publish()
	a.changed.Set()
}

// Forget stops to answer for all addresses until the next Set. It does not hand them
// over.
func (a *Announcer) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.entries)
	a.publish()
}

// Reannounce announces every owned address again, with the whole burst. It is meant
// for the return of a lost member: that member may have announced the addresses, too.
func (a *Announcer) Reannounce() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.announceAgain()
	a.changed.Set()
}

// LostHeard counts how often a lost member has announced an address of this node.
func (a *Announcer) LostHeard() uint64 { return a.lostHeard.Load() }

// Lingering returns for how many handed-over addresses this node still answers.
func (a *Announcer) Lingering() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, all := range a.entries {
		if slices.ContainsFunc(all, func(e *entry) bool { return e.phase == lingering }) {
			n++
		}
	}
	return n
}

// setLinks closes the ports that are not wanted any more, then opens new ones. It
// reports whether it has opened one. Later calls retry a link that failed.
func (a *Announcer) setLinks(links []Link) (opened bool) {
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
			a.retry[index] = a.now().Add(openAgain)
			a.metrics.errors.WithLabelValues(l.Name, "open").Inc()
			a.log.Error("opening a link failed, trying again later", "link", l.Name, "error", err)
			continue
		}
		a.log.Info("link opened", "link", l.Name, "mac", net.HardwareAddr(l.MAC[:]).String())
		delete(a.retry, index)
		a.ports[index] = p
		opened = true
	}
	return opened
}

// assign applies the assignments to the entries.
func (a *Announcer) assign(assignments []Assignment) {
	want := make(map[netip.Addr]bool, len(assignments))
	for _, as := range assignments {
		want[as.Addr] = true
		if as.Role == Standby {
			a.standBy(as.Addr)
		} else {
			a.own(as)
		}
	}
	maps.DeleteFunc(a.entries, func(addr netip.Addr, _ []*entry) bool { return !want[addr] })
}

// publish gives every port its addresses.
func (a *Announcer) publish() {
	a.unpublished = false
	tables := make(map[string]map[netip.Addr]bool, len(a.ports))
	for _, p := range a.ports {
		tables[p.link.Name] = make(map[netip.Addr]bool, len(a.entries))
	}
	for addr, all := range a.entries {
		for _, e := range all {
			if t := tables[e.link]; t != nil {
				t[addr] = e.answers()
			}
		}
	}
	for _, p := range a.ports {
		p.set(tables[p.link.Name])
	}
}

func (a *Announcer) announceAgain() {
	now := a.now()
	for _, all := range a.entries {
		for _, e := range all {
			if e.phase == announcing {
				e.sent, e.next = 0, now
			}
		}
	}
}

// clock is the time since this Announcer was made.
func (a *Announcer) clock() time.Duration { return time.Since(a.started) }
