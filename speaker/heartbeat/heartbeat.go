// Package heartbeat says, in fractions of a second, which of the speakers that
// belong to the cluster are alive, and whether this one is cut off itself. Each
// speaker exchanges authenticated UDP messages with a few others on the segments
// that they share, and keeps a TCP connection to each of them, which tells at once
// when a process ends.
package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Options of a Heartbeat.
type Options struct {
	// Name is this node's name.
	Name string
	// Port is where heartbeats go, UDP and TCP, the same on all nodes.
	Port uint16
	// Secret is what all speakers know.
	Secret []byte
	Timing Timing
	// Changed is called, from any goroutine, when the View has changed. It must not
	// block.
	Changed func()
	// Witness asks something that is no speaker, and returns nil if it has answered.
	// It is asked when only that can tell whether this node is cut off.
	Witness func(context.Context) error
	Log     *slog.Logger
	Metrics Registerer
}

// witnessCounts is how long the word of a witness counts, and witnessAgain the
// time between two questions.
const (
	witnessCounts = 2 * time.Second
	witnessAgain  = 500 * time.Millisecond
)

// Heartbeat is this node's view of who is alive.
type Heartbeat struct {
	options  Options
	log      *slog.Logger
	key      []byte
	metrics  *metrics
	near     *net.UDPConn // to and from speakers on the same segment
	far      *net.UDPConn // to speakers behind a router
	listener net.Listener

	peers    chan []Peer
	messages chan message
	closed   chan string // names of peers whose process has ended
	resumed  chan int
	answers  chan time.Time

	view atomic.Pointer[View]
	// lease is until when this speaker may answer, in nanoseconds since start.
	lease atomic.Int64
	start time.Time
}

// forever is the lease of a speaker that leaves: it has told the others.
const forever = int64(1)<<62 - 1

// New opens the sockets. Run does the work and closes them.
func New(o Options) (*Heartbeat, error) { return newOn("", o) }

// newOn listens on one address of this host, or on all.
func newOn(host string, o Options) (*Heartbeat, error) {
	h := &Heartbeat{
		options: o, log: o.Log, key: key(o.Secret), start: time.Now(),
		peers: make(chan []Peer), messages: make(chan message, 256), closed: make(chan string), resumed: make(chan int), answers: make(chan time.Time),
	}
	h.view.Store(&View{})
	h.metrics = newMetrics(o.Metrics, h)
	var err error
	if h.near, err = listenUDP(net.JoinHostPort(host, strconv.Itoa(int(o.Port))), unix.SO_DONTROUTE); err != nil {
		return nil, fmt.Errorf("opening the port of the heartbeats, UDP %d (--heartbeat-port): %w", o.Port, err)
	}
	if h.far, err = listenUDP(":0", 0); err != nil {
		return nil, errors.Join(fmt.Errorf("opening a socket for heartbeats: %w", err), h.near.Close())
	}
	if h.listener, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(int(o.Port)))); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the port of the heartbeats, TCP %d (--heartbeat-port): %w", o.Port, err), h.near.Close(), h.far.Close())
	}
	return h, nil
}

// listenUDP opens a socket with a SOL_SOCKET option set, if there is one. With
// SO_DONTROUTE what is meant for a segment never takes a way around it.
func listenUDP(addr string, option int) (*net.UDPConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		controlErr := raw.Control(func(fd uintptr) {
			// Network control: a switch that is full shall drop something else (RFC 4594).
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TOS, 0xc0)
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 0xc0) // neither is needed
			if option != 0 {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 1)
			}
		})
		return errors.Join(controlErr, err)
	}}
	conn, err := config.ListenPacket(context.Background(), "udp", addr)
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// Run does the work until ctx ends.
func (h *Heartbeat) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() { h.read(ctx) })
	work.Go(func() { h.accept(ctx) })
	work.Go(func() {
		<-ctx.Done()
		if err := errors.Join(h.near.Close(), h.far.Close(), h.listener.Close()); err != nil {
			h.log.Warn("closing the heartbeats' sockets", "error", err)
		}
	})
	connections := connections{h: h, ctx: ctx, work: &work, to: map[string]connection{}}
	e := newEngine(h.options.Name, h.options.Timing, time.Now())
	timer := time.NewTimer(0)
	defer timer.Stop()
	var asked time.Time // when the witness was last asked
	resumed := 0
	for {
		select {
		case peers := <-h.peers:
			e.set(time.Now(), peers)
			connections.set(peers, e.ring)
		case m := <-h.messages:
			e.receive(time.Now(), m)
		case name := <-h.closed:
			e.crashed(time.Now(), name)
		case until := <-h.answers:
			e.witness(time.Now(), until)
		case resumed = <-h.resumed:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		timer.Reset(time.Until(e.step(time.Now())))
		h.send(e.out)
		e.out = e.out[:0]
		h.publish(e, resumed)
		if now := time.Now(); e.view.NeedWitness && now.Sub(asked) > witnessAgain {
			asked = now
			work.Go(func() { h.askWitness(ctx) })
		}
	}
}

// publish makes what the engine has decided known.
func (h *Heartbeat) publish(e *engine, resumed int) {
	lease := int64(0)
	if until := e.lease(); !until.IsZero() && e.view.Thaws == resumed {
		lease = int64(until.Sub(h.start))
	}
	if old := h.lease.Load(); old != forever {
		h.lease.CompareAndSwap(old, lease)
	}
	before := h.view.Load()
	if view := e.view; !reflect.DeepEqual(*before, view) {
		h.view.Store(&view)
		h.say(*before, view)
		h.options.Changed()
	}
}

// say logs what has changed.
func (h *Heartbeat) say(before, now View) {
	for name, addrs := range now.Dead {
		if len(before.Dead[name]) == 0 {
			h.metrics.deaths.Inc()
			h.log.Warn("speaker is silent, its addresses move", "node", name, "at", addrs)
		}
	}
	for name := range before.Dead {
		if len(now.Dead[name]) == 0 {
			h.log.Info("speaker is heard again, or is no member any more", "node", name)
		}
	}
	for name := range now.Held {
		if !before.Held[name] {
			h.log.Warn("speaker has died too often, others are preferred for a while", "node", name, "for", memory)
		}
	}
	switch {
	case now.Silent != "" && now.Silent != before.Silent:
		h.log.Warn("this node is cut off and answers for nothing", "reason", now.Silent)
	case now.Silent == "" && before.Silent != "":
		h.log.Info("this node is not cut off any more")
	}
	for link := range now.Fenced {
		if !before.Fenced[link] && now.Silent == "" {
			h.log.Warn("no other speaker is heard on this link, it is not used", "link", link)
		}
	}
}

// askWitness asks once, for as long as it takes to miss a speaker at most.
func (h *Heartbeat) askWitness(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, max(h.options.Timing.Detection(), time.Second))
	defer cancel()
	if err := h.options.Witness(ctx); err != nil {
		h.log.Debug("no witness has answered", "error", err)
		return
	}
	select {
	case h.answers <- time.Now().Add(witnessCounts):
	case <-ctx.Done():
	}
}

func (h *Heartbeat) send(packets []packet) {
	for _, p := range packets {
		conn := h.near
		if p.path.Link == "" {
			conn = h.far
		}
		// A link that is stuck must not hold up what is said on the others.
		_ = conn.SetWriteDeadline(time.Now().Add(5 * time.Millisecond)) // fails only when it is closed
		_, err := conn.WriteToUDPAddrPort(p.seal(h.key), netip.AddrPortFrom(p.path.Remote, h.options.Port))
		if err != nil {
			h.metrics.unsent.Inc() // the next one follows soon
			continue
		}
		h.metrics.sent.Inc()
	}
}

// read takes what comes in, until the socket is closed.
func (h *Heartbeat) read(ctx context.Context) {
	buffer := make([]byte, maxMessage+1)
	var said time.Time
	for ctx.Err() == nil {
		n, from, err := h.near.ReadFromUDPAddrPort(buffer)
		if err != nil {
			if ctx.Err() == nil {
				h.log.Error("heartbeats cannot be read, trying again", "error", err)
				sleep(ctx, time.Second)
			}
			continue
		}
		m, err := open(h.key, buffer[:n])
		if err != nil {
			h.metrics.rejected.WithLabelValues(err.Error()).Inc()
			if errors.Is(err, errKey) && time.Since(said) > time.Minute {
				said = time.Now()
				h.log.Warn("a heartbeat has come that was made with another key: all speakers must have the same Secret; restart those that are older than it", "from", from)
			}
			continue
		}
		h.metrics.received.Inc()
		select {
		case h.messages <- m:
		case <-ctx.Done():
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// Set replaces the other speakers. It must not be called after ctx has ended.
func (h *Heartbeat) Set(ctx context.Context, peers []Peer) {
	select {
	case h.peers <- peers:
	case <-ctx.Done():
	}
}

// View returns the present view. It must not be changed.
func (h *Heartbeat) View() View { return *h.view.Load() }

// Resume says that what this node answered for before it was frozen is forgotten,
// for the thaws-th time. Until then it may not answer.
func (h *Heartbeat) Resume(ctx context.Context, thaws int) {
	select {
	case h.resumed <- thaws:
	case <-ctx.Done():
	}
}

// MayAnswer reports whether this node may answer for addresses at this moment:
// it is not cut off, and was not frozen for so long that others have taken its
// place. It is cheap enough to be asked for every packet.
func (h *Heartbeat) MayAnswer() bool { return int64(time.Since(h.start)) < h.lease.Load() }

// Retire lets this speaker answer as long as it lives, whatever the others say:
// it has told them that it leaves, and they do not speak to it any more.
func (h *Heartbeat) Retire() { h.lease.Store(forever) }
