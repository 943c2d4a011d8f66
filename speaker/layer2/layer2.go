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
	// Linger or until another host claims the address.
	Standby
)

// Row is one address and this node's role for it, on every link.
type Row struct {
	Addr netip.Addr
	Role Role
}

// Announcer answers for the addresses that Set gives it.
type Announcer struct {
	log     *slog.Logger
	metrics *metrics
	now     func() time.Time

	mu      sync.Mutex
	ports   map[int]*port // by interface index
	entries map[netip.Addr]*entry
	retry   map[int]time.Time // links that could not be opened

	wake   chan struct{}
	claims chan claim
	stop   chan struct{}
	done   sync.WaitGroup
}

// entry is an address that is answered for.
type entry struct {
	role   Role
	until  time.Time // Standby: when to stop
	burst  int       // Owner: announcements made since taking over
	next   time.Time // Owner: when to announce next
	warned time.Time // Owner: when a foreign claim was last logged
}

// claim is a foreign host that says it has an address.
type claim struct {
	addr netip.Addr
	mac  [6]byte
	link string
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
func New(log *slog.Logger, registry Registerer) *Announcer {
	a := &Announcer{
		log:     log,
		now:     time.Now,
		ports:   map[int]*port{},
		entries: map[netip.Addr]*entry{},
		retry:   map[int]time.Time{},
		wake:    make(chan struct{}, 1),
		claims:  make(chan claim, 64),
		stop:    make(chan struct{}),
	}
	a.metrics = newMetrics(registry, a)
	a.done.Go(a.run)
	return a
}

// Set replaces the links and the addresses. What has not changed is not
// touched: setting the same again sends no packet.
func (a *Announcer) Set(links []Link, rows []Row) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fresh := a.setLinks(links)
	taken := a.setRows(rows)
	a.publish()
	if len(fresh) > 0 {
		a.announceAgain()
	}
	if fresh != nil || taken {
		a.kick()
	}
}

// HandOver makes every Owner a Standby: this node is about to stop. Set must not
// be called any more.
func (a *Announcer) HandOver() {
	a.mu.Lock()
	defer a.mu.Unlock()
	until := a.now().Add(Linger)
	for _, e := range a.entries {
		if e.role == Owner {
			*e = entry{role: Standby, until: until}
		}
	}
	a.kick()
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
		if e.role == Standby {
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

// setRows applies the rows to the entries and reports whether there is
// something to announce.
func (a *Announcer) setRows(rows []Row) (taken bool) {
	want := map[netip.Addr]Role{}
	for _, r := range rows {
		want[r.Addr] = r.Role
	}
	maps.DeleteFunc(a.entries, func(addr netip.Addr, _ *entry) bool { return want[addr] == 0 })
	now := a.now()
	for addr, role := range want {
		e := a.entries[addr]
		switch {
		case role == Owner && (e == nil || e.role != Owner):
			a.entries[addr] = &entry{role: Owner, next: now}
			taken = true
		case role == Standby && e != nil && e.role == Owner:
			a.entries[addr] = &entry{role: Standby, until: now.Add(Linger)}
			a.kick() // for the end of the lingering
		}
	}
	return taken
}

// publish gives every port the addresses to answer for.
func (a *Announcer) publish() {
	addrs := make(map[netip.Addr]struct{}, len(a.entries))
	for addr := range a.entries {
		addrs[addr] = struct{}{}
	}
	for _, p := range a.ports {
		p.table.Store(&addrs)
		p.setGroups(addrs)
	}
}

func (a *Announcer) announceAgain() {
	now := a.now()
	for _, e := range a.entries {
		if e.role == Owner {
			e.burst, e.next = 0, now
		}
	}
}

func (a *Announcer) kick() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}
