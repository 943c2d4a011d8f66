package members

import (
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/loglimit"
)

// memberlist buffers what a connection sends before it decrypts it, and the port is open
// for every host of the network. The guard bounds what that can cost: only nodes and
// members may send, and none of them can use much memory or many connections.
const (
	// connectionsOfAddress is how many connections one address may have at a time. A
	// member needs two: one exchange that it begins periodically, and one to join.
	connectionsOfAddress = 4
	// minConnections is how many connections there may be at a time in a small cluster.
	// There may be a quarter as many as nodes in a large one.
	minConnections = 64
	// memberBytes is the size of one member in a push/pull, at most: a name of 253 bytes,
	// a profile of 512, and 83 for the rest with its names in MessagePack. Compression
	// (LZW with codes of up to 12 bits) makes bytes without a pattern half as large again.
	memberBytes = (253 + 512 + 83) * 3 / 2
	// minMembers is the smallest number of members that connections have room for.
	minMembers = 1000
	// minBytes is how much all connections together may have sent and not ended, at least.
	minBytes = 16 << 20
	// freshFor is how long the known addresses are used before they are read again.
	freshFor = time.Second
	// readsForStrangers is how often in a second they are read again because a stranger
	// sends. It may be a new node.
	readsForStrangers = 5
)

// The reasons for rejecting packets and connections. Their texts are labels of a metric.
const (
	strangerPacket     = "stranger-packet"
	strangerConnection = "stranger-connection"
	addressConnections = "connections-of-address"
	allConnections     = "connections"
	tooManyBytes       = "bytes"
	otherKey           = "key"
)

var reasons = []string{strangerPacket, strangerConnection, addressConnections, allConnections, tooManyBytes, otherKey}

var errTooManyBytes = errors.New("the connection was closed, because it has sent more than a member list is long")

// guard decides who may send to this member, and how much.
type guard struct {
	// read returns a new map with the addresses of all nodes and members.
	read     func() map[netip.Addr]string
	log      *slog.Logger
	often    *loglimit.Limiter
	rejected *prometheus.CounterVec

	known     atomic.Pointer[known]
	reading   sync.Mutex
	strangers *loglimit.Limiter

	mu    sync.Mutex // guards the fields below
	used  map[netip.Addr]usage
	total usage
}

// known are the addresses of nodes and members, as read at a time.
type known struct {
	addrs map[netip.Addr]string
	nodes int // how many nodes have these addresses
	at    time.Time
}

// usage is what connections use.
type usage struct {
	connections int   // that another host has begun
	bytes       int64 // that were received on connections that are open
}

func newGuard(read func() map[netip.Addr]string, log *slog.Logger, metrics prometheus.Registerer) *guard {
	g := &guard{read: read, log: log, often: loglimit.New(1, time.Minute), strangers: loglimit.New(readsForStrangers, time.Second), used: map[netip.Addr]usage{}}
	g.rejected = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "baremetal", Subsystem: "members", Name: "rejected_total",
		Help: "Number of packets and connections for the member list that were rejected.",
	}, []string{"reason"})
	for _, reason := range reasons {
		g.rejected.WithLabelValues(reason) // so that it is 0 and not missing
	}
	metrics.MustRegister(g.rejected)
	g.known.Store(&known{})
	return g
}

// allowed reports whether an address is that of a node or of a member. It is cheap enough
// for every packet.
func (g *guard) allowed(addr netip.Addr) bool {
	k := g.known.Load()
	_, ok := k.addrs[addr]
	if time.Since(k.at) < freshFor {
		if ok {
			return true
		}
		if _, mayRead := g.strangers.Allow(""); !mayRead {
			return false
		}
	}
	_, ok = g.refresh(k).addrs[addr]
	return ok
}

// refresh reads the addresses, unless another goroutine has done so after old.
func (g *guard) refresh(old *known) *known {
	g.reading.Lock()
	defer g.reading.Unlock()
	if now := g.known.Load(); now != old {
		return now
	}
	addrs := g.read()
	nodes := map[string]bool{}
	for _, name := range addrs {
		nodes[name] = true
	}
	k := &known{addrs, len(nodes), time.Now()}
	g.known.Store(k)
	return k
}

// outdate makes the next packet read the addresses again.
func (g *guard) outdate() {
	old := g.known.Load()
	g.known.Store(&known{addrs: old.addrs, nodes: old.nodes})
}

// limits returns how many connections there may be, and how many bytes all connections
// of one address, and of all addresses, may have sent and not ended.
func (g *guard) limits() (connections int, ofAddress, ofAll int64) {
	nodes := g.known.Load().nodes
	ofAddress = 2 * memberBytes * int64(max(nodes, minMembers))
	return max(minConnections, nodes/4), ofAddress, max(minBytes, 4*ofAddress)
}

// admit reports whether a host may begin a connection. If so, the caller must call
// release when the connection has ended.
func (g *guard) admit(addr netip.Addr) (reason string, ok bool) {
	if !g.allowed(addr) {
		return strangerConnection, false
	}
	connections, _, _ := g.limits()
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.used[addr].connections >= connectionsOfAddress:
		return addressConnections, false
	case g.total.connections >= connections:
		return allConnections, false
	}
	g.add(addr, usage{connections: 1})
	return "", true
}

// take counts bytes that were received, and reports whether that is allowed.
func (g *guard) take(addr netip.Addr, n int) bool {
	_, ofAddress, ofAll := g.limits()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.add(addr, usage{bytes: int64(n)})
	return g.used[addr].bytes <= ofAddress && g.total.bytes <= ofAll
}

// release ends a connection.
func (g *guard) release(addr netip.Addr, u usage) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.add(addr, usage{-u.connections, -u.bytes})
}

// add changes what an address uses. The caller holds mu.
func (g *guard) add(addr netip.Addr, u usage) {
	sum := func(a usage) usage { return usage{a.connections + u.connections, a.bytes + u.bytes} }
	g.total = sum(g.total)
	if g.used[addr] = sum(g.used[addr]); g.used[addr] == (usage{}) {
		delete(g.used, addr)
	}
}

// reject counts a rejection, and logs it once a minute.
func (g *guard) reject(reason string, from netip.Addr) {
	g.rejected.WithLabelValues(reason).Inc()
	if more, ok := g.often.Allow(reason); ok {
		g.log.Warn("packets or connections for the member list are rejected", "reason", reason, "from", from, "more", more)
	}
}
