package members

import (
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// reclaimAfter is how long a member must be dead before a newcomer of the same name with
// another address takes its place. It is short, because memberlist has made sure that the
// member does not answer. 0 would mean never.
const reclaimAfter = time.Nanosecond

// list is a memberlist on one address.
type list struct {
	*memberlist.Memberlist
	addr netip.AddrPort
	// ended is set when the list is closed. After that it still detects deaths, because
	// nothing answers it, and they do not count.
	ended *atomic.Bool
}

// open starts a memberlist on an address.
func (m *Members) open(addr netip.AddrPort) (*list, error) {
	transport, err := newTransport(addr, m.guard, m.options.Log)
	if err != nil {
		return nil, err
	}
	ended := &atomic.Bool{}
	l, err := memberlist.Create(m.config(transport, ended))
	if err != nil {
		_ = transport.Shutdown() // the first error says more
		return nil, err
	}
	return &list{l, addr, ended}, nil
}

// close ends a memberlist. The other members are not told.
func (l *list) close() error {
	l.ended.Store(true)
	return l.Shutdown()
}

// closeList ends the present memberlist for good.
func (m *Members) closeList() error {
	m.replaced.Lock()
	defer m.replaced.Unlock()
	return m.list.Load().close()
}

// config returns memberlist's configuration, with a failure detector about six
// times as fast as its default for LANs. With probes every 200 ms a dead member is
// detected after about a second. A second member that confirms the death makes it
// faster. A member that gets too little CPU time becomes more patient, so that a
// busy node is not taken for a dead one.
func (m *Members) config(transport *transport, ended *atomic.Bool) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = m.options.Name
	c.Transport = transport
	c.BindAddr, c.BindPort = transport.addr.Addr().String(), int(transport.addr.Port())
	c.AdvertiseAddr, c.AdvertisePort = c.BindAddr, c.BindPort
	c.Keyring = m.keys.ring
	c.TCPTimeout = 2 * time.Second
	c.ProbeInterval, c.ProbeTimeout = m.options.ProbeInterval, m.options.ProbeInterval/2
	c.SuspicionMult, c.SuspicionMaxTimeoutMult = 3, 2
	c.AwarenessMaxMultiplier = 4
	c.GossipInterval = 50 * time.Millisecond
	// Compression costs more CPU time than the network saves: 64 KB of tables for each packet.
	// What a speaker of an older version has compressed is understood all the same.
	c.EnableCompression = false
	c.DeadNodeReclaimTime = reclaimAfter
	c.Events = events{m, ended}
	c.Alive, c.Conflict = newcomers{m}, newcomers{m}
	c.Delegate = delegate{m}
	c.LogOutput = newLogWriter(m.options.Log, func(from netip.Addr) {
		m.guard.rejected.WithLabelValues(otherKey).Inc()
		if m.options.OtherKey != nil && from.IsValid() {
			m.options.OtherKey(from)
		}
	})
	return c
}
