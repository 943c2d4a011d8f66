package layer2

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// readAgain is the pause before a link is read again after its socket has failed.
const readAgain = time.Second

// port answers on one link. It has a packet socket for each family, because only such
// a socket sees requests for an address that no interface has.
type port struct {
	link      Link
	announcer *Announcer
	arp, ndp  *socket
	groups    *groups
	// table holds the addresses. The goroutines that read load it without a lock.
	table  atomic.Pointer[table]
	closed chan struct{}
	done   sync.WaitGroup
}

// answerer writes the answer to frame into out and returns it. addr is the address
// that the frame asks for, or that its sender claims.
type answerer func(t *table, mac [6]byte, frame []byte, out *[maxAnswer]byte) (answer []byte, addr netip.Addr, v verdict)

func openPort(l Link, a *Announcer) (*port, error) {
	p := &port{link: l, announcer: a, groups: newGroups(l.Index), closed: make(chan struct{})}
	p.table.Store(newTable(nil))
	var err error
	if p.arp, err = openSocket(l, unix.ETH_P_ARP, arpFilter(l.Index, nil)); err != nil {
		return nil, fmt.Errorf("opening the ARP socket: %w", err)
	}
	if p.ndp, err = openSocket(l, unix.ETH_P_IPV6, ndpFilter(l.Index, nil)); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the NDP socket: %w", err), p.arp.close())
	}
	p.done.Go(func() { p.read(p.arp, "ipv4", answerARP) })
	p.done.Go(func() { p.read(p.ndp, "ipv6", answerNS) })
	return p, nil
}

// close closes the sockets and waits for the goroutines that read them.
func (p *port) close() {
	close(p.closed)
	p.groups.close()
	if err := errors.Join(p.arp.close(), p.ndp.close()); err != nil {
		p.announcer.log.Warn("closing sockets failed", "link", p.link.Name, "error", err)
	}
	p.done.Wait()
}

// read answers requests until the port is closed.
func (p *port) read(s *socket, family string, answer answerer) {
	a := p.announcer
	answered, refused := a.metrics.answers.WithLabelValues(p.link.Name, family), a.metrics.refusals(p.link.Name)
	limits := newLimiter()
	frame := make([]byte, 1518)
	var out [maxAnswer]byte
	for {
		n, err := s.read(frame)
		if p.isClosed() {
			return
		}
		if errors.Is(err, unix.ENETDOWN) {
			continue // the kernel reports once that the link is down; the socket stays usable
		}
		if err != nil {
			a.metrics.errors.WithLabelValues(p.link.Name, "receive").Inc()
			a.log.Error("reading requests failed, trying again", "link", p.link.Name, "family", family, "error", err)
			p.rest()
			continue
		}
		reply, addr, v := answer(p.table.Load(), p.link.MAC, frame[:n], &out)
		switch {
		case v == verdictClaim:
			p.claimed(claim{addr: addr, source: [6]byte(frame[6:12]), sender: claimant(frame[:n]), link: p.link.Name})
			continue
		case v == verdictAnswered && !a.options.MayAnswer():
			v = verdictFenced
		case v == verdictAnswered && !limits.allow(a.clock, [6]byte(frame[6:12]), addr):
			v = verdictRateLimited
		}
		if v != verdictAnswered {
			refused[v].Inc()
			continue
		}
		if err := s.reply(reply); err != nil {
			a.metrics.errors.WithLabelValues(p.link.Name, "send").Inc()
			continue
		}
		answered.Inc()
	}
}

func (p *port) isClosed() bool {
	select {
	case <-p.closed:
		return true
	default:
		return false
	}
}

func (p *port) rest() {
	select {
	case <-p.closed:
	case <-time.After(readAgain):
	}
}

// claimed passes a claim on. If too many claims come at once, it drops some: a host that
// claims an address repeats it.
func (p *port) claimed(c claim) {
	select {
	case p.announcer.claims <- c:
	default:
	}
}

// socket returns the socket for the family of addr.
func (p *port) socket(addr netip.Addr) *socket {
	if addr.Is4() {
		return p.arp
	}
	return p.ndp
}

// set replaces the addresses. It sets the table before the filter, so that every frame
// that passes the filter finds its address. Hosts repeat a request that is missed in
// between.
func (p *port) set(addrs map[netip.Addr]bool) {
	t := newTable(addrs)
	ipv4, ipv6 := t.addrs()
	if p.table.Load().equal(t) {
		p.setGroups(ipv6) // tries again to join what failed
		return
	}
	p.table.Store(t)
	if err := errors.Join(p.arp.setFilter(arpFilter(p.link.Index, ipv4)), p.ndp.setFilter(ndpFilter(p.link.Index, ipv6))); err != nil {
		p.announcer.metrics.errors.WithLabelValues(p.link.Name, "filter").Inc()
		p.announcer.log.Error("setting the filter failed, some addresses may not be answered", "link", p.link.Name, "error", err)
	}
	p.setGroups(ipv6)
}

// setGroups joins the solicited-node groups of the IPv6 addresses. Without them the
// network card and switches with MLD snooping filter solicitations.
func (p *port) setGroups(ipv6 []netip.Addr) {
	if err := p.groups.set(ipv6, p.announcer.now()); err != nil {
		p.announcer.metrics.errors.WithLabelValues(p.link.Name, "join").Inc()
		p.announcer.log.Error("joining a solicited-node group failed, some IPv6 addresses may not be reachable", "link", p.link.Name, "error", err)
	}
}
