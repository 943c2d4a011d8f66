// Package heartbeat detects which members are alive, and whether this speaker itself must be
// fenced. It tells two deaths apart. Each speaker asks the kernels of a few members by ARP and
// NDP, many times a second: a node whose kernel does not answer has lost all its traffic. It
// also exchanges authenticated UDP messages with these members, more slowly: a process that is
// silent loses only the first question of a new neighbour. And it keeps a TCP connection to
// each of their addresses: when a process ends, its kernel closes the connections at once.
package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/probe"
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
	// Prober asks the kernels of the members; nil to watch no kernel.
	Prober Prober
	// Changed is called, from any goroutine, when the View has changed. It must not
	// block.
	Changed func()
	// OtherKey is called, from any goroutine, with the sender of a heartbeat that was made
	// with another key. It must not block; nil for nobody.
	OtherKey func(from netip.Addr)
	Log      *slog.Logger
	Metrics  prometheus.Registerer
}

// Prober asks the kernels of members whether they are alive. Its methods must not block.
type Prober interface {
	// Probe asks the kernel of each target once. It returns the targets that were not asked.
	Probe(targets []probe.Target) (unsent []probe.Target)
	// Answers calls f for each target that has answered since the last call.
	Answers(f func(at time.Time, from probe.Target))
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

	// sets, messages, profiles, asked, closed, resumed and testimony are the inputs of Run.
	sets      chan setRequest
	messages  chan message
	profiles  chan Profile // see Say
	asked     chan string  // see Ask
	closed    chan string  // names of members whose process has ended
	resumed   chan int     // see Resume
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
		profiles: make(chan Profile), asked: make(chan string, 16), closed: make(chan string), resumed: make(chan int), testimony: make(chan time.Time), wanted: signal.New(), ended: make(chan struct{}),
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
	rings := 0
	for {
		var done chan struct{}
		select {
		case request := <-h.sets:
			e.set(time.Now(), request.members)
			done = request.done
		case m := <-h.messages:
			e.receive(time.Now(), m)
		case name := <-h.closed:
			e.crashed(time.Now(), name)
		case until := <-h.testimony:
			e.witness(time.Now(), until)
		case n := <-h.resumed:
			e.resume(n)
		case p := <-h.profiles:
			e.say(p)
		case name := <-h.asked:
			e.ask(time.Now(), name)
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		e.held = h.held.Load()
		h.drain(e)
		timer.Reset(time.Until(e.step(time.Now())))
		if e.rings != rings {
			rings = e.rings
			connections.set(ctx, e.near)
		}
		h.carryOut(e)
		h.publish(e)
		if done != nil {
			close(done)
		}
		if now := time.Now(); e.view.NeedWitness && now.Sub(asked) > witnessInterval {
			asked = now
			h.wanted.Set()
		}
	}
}

// drain gives the engine what has come already. A process that was late must not decide by the
// time alone.
func (h *Heartbeat) drain(e *engine) {
	e.noticeSleep(time.Now())
	for range cap(h.messages) {
		select {
		case m := <-h.messages:
			e.receive(time.Now(), m)
			continue
		default:
		}
		break
	}
	if h.options.Prober != nil {
		h.options.Prober.Answers(func(at time.Time, from probe.Target) { e.answered(at, Path(from)) })
	}
}

// carryOut sends what the engine wants to be sent.
func (h *Heartbeat) carryOut(e *engine) {
	if h.options.Prober != nil && len(e.probes) > 0 {
		targets := make([]probe.Target, len(e.probes))
		for i, p := range e.probes {
			targets[i] = probe.Target(p)
		}
		for _, t := range h.options.Prober.Probe(targets) {
			e.unsent(Path(t))
		}
	}
	h.send(e.out)
	e.out, e.probes = e.out[:0], e.probes[:0]
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
// speaker that was disconnected uses it until it has found the other members.
func (h *Heartbeat) Hold(held bool) { h.held.Store(held) }

// Say replaces what this speaker says of itself. All members hear of it at once.
func (h *Heartbeat) Say(ctx context.Context, p Profile) { give(ctx, h, h.profiles, p) }

// Ask asks a member what it says of itself now, because it behaves differently from what this
// speaker believes. It does not block: if there are too many such questions, some are dropped.
func (h *Heartbeat) Ask(name string) {
	select {
	case h.asked <- name:
	default:
	}
}

// View returns the present view. The caller must not change it.
func (h *Heartbeat) View() View { return *h.view.Load() }

// Resume says that this node has forgotten what it answered for before its death number n, and
// that its profile says so; see View.Deaths. Until then it may not answer.
func (h *Heartbeat) Resume(ctx context.Context, n int) { give(ctx, h, h.resumed, n) }

// give hands an input to Run.
func give[T any](ctx context.Context, h *Heartbeat, to chan<- T, input T) {
	select {
	case to <- input:
	case <-h.ended:
	case <-ctx.Done():
	}
}

// WitnessWanted returns a channel that is ready if only a witness can tell whether
// the network of this node works. A witness is a host that is no speaker.
func (h *Heartbeat) WitnessWanted() <-chan struct{} { return h.wanted.C() }

// Testify says that a witness has answered this node just now.
func (h *Heartbeat) Testify(ctx context.Context) {
	give(ctx, h, h.testimony, time.Now().Add(testimonyLife))
}

// MayAnswer reports whether this node may answer for VIPs at this moment. It may
// not if it is fenced, or if it was frozen for so long that other nodes may have
// taken its place. The call is cheap enough for every packet.
func (h *Heartbeat) MayAnswer() bool { return int64(time.Since(h.start)) < h.lease.Load() }

// Retire lets this speaker answer until it ends, whatever the other members say.
// The other members know that it leaves, and send it no heartbeats any more.
func (h *Heartbeat) Retire() { h.lease.Store(noExpiry) }
