package layer2

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// sendPatience is how long a frame may wait for room in the socket.
const sendPatience = 100 * time.Millisecond

// port answers on one link. It has one packet socket a family, since only there
// requests for an address can be seen that no interface holds.
type port struct {
	link      Link
	announcer *Announcer
	arp, ndp  *packet.Conn
	groups    *groups
	// table holds the addresses to answer for; the reading goroutines see it
	// without a lock.
	table atomic.Pointer[map[netip.Addr]struct{}]
	done  sync.WaitGroup
}

// answerer writes into out the frame that answers frame, if any, and returns
// it; claimed is the address that the sender says it has, if that matters.
type answerer func(table map[netip.Addr]struct{}, mac [6]byte, frame []byte, out *[maxAnswer]byte) (answer []byte, claimed netip.Addr)

func openPort(l Link, a *Announcer) (*port, error) {
	p := &port{link: l, announcer: a, groups: newGroups(l.Index)}
	p.table.Store(&map[netip.Addr]struct{}{})
	var err error
	if p.arp, err = listen(l, unix.ETH_P_ARP, arpFilter); err != nil {
		return nil, fmt.Errorf("opening the ARP socket: %w", err)
	}
	if p.ndp, err = listen(l, unix.ETH_P_IPV6, ndpFilter); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the NDP socket: %w", err), p.arp.Close())
	}
	p.done.Go(func() { p.read(p.arp, "ipv4", answerARP) })
	p.done.Go(func() { p.read(p.ndp, "ipv6", answerNS) })
	return p, nil
}

func listen(l Link, protocol int, filter []bpf.Instruction) (*packet.Conn, error) {
	raw, err := bpf.Assemble(filter)
	if err != nil {
		return nil, err
	}
	return packet.Listen(&net.Interface{Index: l.Index, Name: l.Name, HardwareAddr: l.MAC[:]}, packet.Raw, protocol, &packet.Config{Filter: raw})
}

// close closes the sockets and waits for the goroutines that read them.
func (p *port) close() {
	p.groups.close()
	if err := errors.Join(p.arp.Close(), p.ndp.Close()); err != nil {
		p.announcer.log.Warn("closing sockets", "link", p.link.Name, "error", err)
	}
	p.done.Wait()
}

// read answers what comes in until the socket is closed.
func (p *port) read(conn *packet.Conn, family string, answer answerer) {
	answers := p.announcer.metrics.answers.WithLabelValues(p.link.Name, family)
	frame := make([]byte, 1518)
	var out [maxAnswer]byte
	for {
		n, _, err := conn.ReadFrom(frame)
		if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) {
			return
		}
		if errors.Is(err, unix.ENETDOWN) {
			continue // reported once when the link goes down; the socket lives on
		}
		if err != nil {
			p.announcer.metrics.errors.WithLabelValues(p.link.Name, "receive").Inc()
			p.announcer.log.Error("reading stopped", "link", p.link.Name, "family", family, "error", err)
			return
		}
		reply, claimed := answer(*p.table.Load(), p.link.MAC, frame[:n], &out)
		if claimed.IsValid() {
			p.claimed(claim{addr: claimed, mac: [6]byte(frame[6:12]), link: p.link.Name})
		}
		if reply == nil {
			continue
		}
		if _, err := conn.WriteTo(reply, &packet.Addr{HardwareAddr: net.HardwareAddr(reply[:6])}); err != nil {
			p.announcer.metrics.errors.WithLabelValues(p.link.Name, "send").Inc()
			continue
		}
		answers.Inc()
	}
}

// claimed passes a claim on; when too many come at once, the rest can be missed:
// who claims an address does it again.
func (p *port) claimed(c claim) {
	select {
	case p.announcer.claims <- c:
	default:
	}
}

// send sends an announcement of addr.
func (p *port) send(addr netip.Addr, frame []byte) error {
	conn := p.arp
	if addr.Is6() {
		conn = p.ndp
	}
	// A driver that is stuck must not hold up the other links.
	if err := conn.SetWriteDeadline(p.announcer.now().Add(sendPatience)); err != nil {
		return err
	}
	_, err := conn.WriteTo(frame, &packet.Addr{HardwareAddr: net.HardwareAddr(frame[:6])})
	return err
}

// setGroups joins the solicited-node groups of the IPv6 addresses, without
// which the network card and snooping switches keep solicitations away.
func (p *port) setGroups(addrs map[netip.Addr]struct{}) {
	if err := p.groups.set(addrs); err != nil {
		p.announcer.metrics.errors.WithLabelValues(p.link.Name, "join").Inc()
		p.announcer.log.Error("IPv6 addresses may not be reachable", "link", p.link.Name, "error", err)
	}
}
