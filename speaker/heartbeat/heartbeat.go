// Package heartbeat detects within fractions of a second which members are alive,
// and whether this speaker itself must be fenced. Each speaker
// exchanges authenticated UDP messages with a few members on the segments that
// they share. It also keeps a TCP connection to each of them: when a process ends,
// its kernel closes the connection at once.
package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
)

// Options of a Heartbeat.
type Options struct {
	// Name is the name of this node.
	Name string
	// Port is the port of the heartbeats, UDP and TCP. It is the same on all nodes.
	Port uint16
	// Keys are the keys that all speakers share. This speaker sends with the first one,
	// and accepts all of them. See SetKeys.
	Keys   [][]byte
	Timing Timing
	// Changed is called, from any goroutine, when the View has changed. It must not
	// block.
	Changed func()
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

const (
	// testimonyLife is how long the answer of a witness counts.
	testimonyLife = 2 * time.Second
	// witnessInterval is the shortest time between two requests for a witness.
	witnessInterval = 500 * time.Millisecond
)

// Heartbeat is this node's view of which members are alive.
type Heartbeat struct {
	options  Options
	log      *slog.Logger
	keys     atomic.Pointer[keyring]
	metrics  *metrics
	near     *net.UDPConn // from all members, and to members on the same segment
	far      *net.UDPConn // to members behind a router
	listener net.Listener

	// sets, messages, closed, resumed and testimony are the inputs of Run.
	sets      chan setRequest
	messages  chan message
	closed    chan string // names of members whose process has ended
	resumed   chan int    // see Resume
	testimony chan time.Time
	wanted    signal.Signal // see WitnessWanted
	ended     chan struct{} // closed when Run ends

	view atomic.Pointer[View]
	held atomic.Bool // see Hold
	// lease is the time until which this speaker may answer, in nanoseconds since
	// start.
	lease atomic.Int64
	start time.Time
}

type setRequest struct {
	members []Member
	done    chan struct{} // closed when the View reflects the members
}

// noExpiry is the lease of a speaker that leaves; see Retire.
const noExpiry = int64(1)<<62 - 1

// New opens the sockets. Run does the work and closes them.
func New(o Options) (*Heartbeat, error) { return newOn("", o) }

// newOn listens on one address of this host; "" means on all.
func newOn(host string, o Options) (*Heartbeat, error) {
	h := &Heartbeat{
		options: o, log: o.Log, start: time.Now(), sets: make(chan setRequest), messages: make(chan message, 256),
		closed: make(chan string), resumed: make(chan int), testimony: make(chan time.Time), wanted: signal.New(), ended: make(chan struct{}),
	}
	h.view.Store(&View{})
	h.SetKeys(o.Keys)
	h.metrics = newMetrics(o.Metrics, h)
	addr := net.JoinHostPort(host, strconv.Itoa(int(o.Port)))
	var err error
	if h.near, err = listenUDP(addr, unix.SO_DONTROUTE); err != nil {
		return nil, fmt.Errorf("opening the port of the heartbeats, UDP %d (--heartbeat-port): %w", o.Port, err)
	}
	if h.far, err = listenUDP(":0", 0); err != nil {
		return nil, errors.Join(fmt.Errorf("opening a socket for heartbeats: %w", err), h.near.Close())
	}
	if h.listener, err = net.Listen("tcp", addr); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the port of the heartbeats, TCP %d (--heartbeat-port): %w", o.Port, err), h.near.Close(), h.far.Close())
	}
	return h, nil
}

// SetKeys replaces the keys. This speaker sends with the first one, and accepts all of
// them. There must be one at least. Connections that exist stay open.
func (h *Heartbeat) SetKeys(keys [][]byte) {
	ring := newKeyring(keys)
	h.keys.Store(&ring)
}

// Run exchanges heartbeats until ctx ends. It returns nil when everything that it
// started has ended.
func (h *Heartbeat) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer close(h.ended)
	defer work.Wait()
	defer cancel()
	work.Go(func() { h.read(ctx) })
	work.Go(func() { h.accept(ctx) })
	work.Go(func() {
		<-ctx.Done()
		if err := errors.Join(h.near.Close(), h.far.Close(), h.listener.Close()); err != nil {
			h.log.Warn("closing the heartbeat sockets failed", "error", err)
		}
	})
	h.turn(ctx, &work)
	return nil
}

// turn gives the engine its inputs and the time, and carries out what it decides.
func (h *Heartbeat) turn(ctx context.Context, work *sync.WaitGroup) {
	connections := connections{h: h, work: work, to: map[string]connection{}}
	e := newEngine(h.options.Name, h.options.Timing, time.Now())
	timer := time.NewTimer(0)
	defer timer.Stop()
	var asked time.Time // when a witness was last asked for
	resumed := 0
	for {
		var done chan struct{}
		select {
		case request := <-h.sets:
			e.set(time.Now(), request.members)
			connections.set(ctx, request.members, e.ring)
			done = request.done
		case m := <-h.messages:
			e.receive(time.Now(), m)
		case name := <-h.closed:
			e.crashed(time.Now(), name)
		case until := <-h.testimony:
			e.witness(time.Now(), until)
		case resumed = <-h.resumed:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		e.held = h.held.Load()
		timer.Reset(time.Until(e.step(time.Now())))
		h.send(e.out)
		e.out = e.out[:0]
		h.publish(e, resumed)
		if done != nil {
			close(done)
		}
		if now := time.Now(); e.view.NeedWitness && now.Sub(asked) > witnessInterval {
			asked = now
			h.wanted.Set()
		}
	}
}

// publish makes the engine's decisions visible.
func (h *Heartbeat) publish(e *engine, resumed int) {
	lease := int64(0)
	if until := e.lease(); !until.IsZero() && e.view.Freezes == resumed {
		lease = int64(until.Sub(h.start))
	}
	if old := h.lease.Load(); old != noExpiry {
		h.lease.CompareAndSwap(old, lease)
	}
	before := h.view.Load()
	if view := e.view; !reflect.DeepEqual(*before, view) {
		h.view.Store(&view)
		h.report(*before, view)
		h.options.Changed()
	}
}

// report logs what has changed.
func (h *Heartbeat) report(before, now View) {
	for name, addrs := range now.Dead {
		if len(before.Dead[name]) == 0 {
			h.metrics.deaths.Inc()
			h.log.Warn("member is dead, its VIPs move", "node", name, "at", addrs)
		}
	}
	for name := range before.Dead {
		if len(now.Dead[name]) == 0 {
			h.log.Info("member is not dead any more, or is no member any more", "node", name)
		}
	}
	for name := range now.Suppressed {
		if !before.Suppressed[name] {
			h.log.Warn("member is suppressed for flapping, other nodes are preferred", "node", name, "for", lossMemory)
		}
	}
	switch {
	case now.Fenced != "" && now.Fenced != before.Fenced:
		h.log.Warn("this speaker is fenced and announces nothing", "reason", now.Fenced)
	case now.Fenced == "" && before.Fenced != "":
		h.log.Info("this speaker is not fenced any more")
	}
	for link := range now.FencedLinks {
		if !before.FencedLinks[link] && now.Fenced == "" {
			h.log.Warn("no member is heard on this link, it is not used", "link", link)
		}
	}
}

// Set replaces the members and returns the View that follows. It must not be
// called before Run.
func (h *Heartbeat) Set(ctx context.Context, members []Member) View {
	request := setRequest{members, make(chan struct{})}
	select {
	case h.sets <- request:
		select {
		case <-request.done:
		case <-h.ended:
		}
	case <-h.ended:
	case <-ctx.Done():
	}
	return h.View()
}

// Hold makes this speaker say that it is fenced although the heartbeats do not fence it. A
// speaker that was disconnected uses it until the other members can know its new profile.
// Otherwise they would take it for well by its heartbeats, and by its old profile.
func (h *Heartbeat) Hold(held bool) { h.held.Store(held) }

// View returns the present view. The caller must not change it.
func (h *Heartbeat) View() View { return *h.view.Load() }

// Resume says that this node has forgotten what it answered for before its freeze
// number n. Until then it may not answer.
func (h *Heartbeat) Resume(ctx context.Context, n int) {
	select {
	case h.resumed <- n:
	case <-h.ended:
	case <-ctx.Done():
	}
}

// WitnessWanted returns a channel that is ready if only a witness can tell whether
// the network of this node works. A witness is a host that is no speaker.
func (h *Heartbeat) WitnessWanted() <-chan struct{} { return h.wanted.C() }

// Testify says that a witness has answered this node just now.
func (h *Heartbeat) Testify(ctx context.Context) {
	select {
	case h.testimony <- time.Now().Add(testimonyLife):
	case <-h.ended:
	case <-ctx.Done():
	}
}

// MayAnswer reports whether this node may answer for VIPs at this moment. It may
// not if it is fenced, or if it was frozen for so long that other nodes may have
// taken its place. The call is cheap enough for every packet.
func (h *Heartbeat) MayAnswer() bool { return int64(time.Since(h.start)) < h.lease.Load() }

// Retire lets this speaker answer until it ends, whatever the other members say.
// The other members know that it leaves, and send it no heartbeats any more.
func (h *Heartbeat) Retire() { h.lease.Store(noExpiry) }
