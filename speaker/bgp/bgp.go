// Package bgp advertises routes to routers (RFC 4271) and watches the paths to them
// with BFD. GoBGP speaks the protocol. This package compares the peers and routes that
// should be with those that are, and makes the changes.
//
// Every peer has a BGP server of its own, without a listening socket. So our AS number
// and router ID can differ from peer to peer, each peer gets its own routes without
// policies, and a change of one peer cannot affect another.
package bgp

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bfd"
)

// Peer is a router with which this node should hold a session.
type Peer struct {
	// Name is unique among the peers.
	Name string
	// MyASN is the number of our autonomous system. ASN is the number of the peer's.
	MyASN, ASN uint32
	Address    netip.Addr
	Port       uint16
	// Source is the address to connect from; with the zero Addr the kernel chooses it.
	Source netip.Addr
	// HoldTime is 3 s or more, KeepaliveTime 1 s or more. Both are whole seconds.
	HoldTime, KeepaliveTime time.Duration
	// RouterID is an IPv4 address. It is required.
	RouterID netip.Addr
	// Password of TCP MD5 (RFC 2385), or empty.
	Password string
	// MultihopTTL is how many hops away an external peer may be; 0 means on a link.
	MultihopTTL uint8
	// TTLSecurity accepts only packets with a TTL of 255, and sends such packets (RFC 5082).
	// It is not for peers with a MultihopTTL.
	TTLSecurity bool
	// GracefulRestart is how long the peer should keep our routes when the session breaks
	// (RFC 4724), in whole seconds; 0 means not at all.
	GracefulRestart time.Duration
	// NextHop4 and NextHop6 are the next hops of routes of another family than the
	// session's. Without a next hop such routes are not advertised. A session between
	// link-local addresses also uses NextHop6.
	NextHop4, NextHop6 netip.Addr
	// Unready says why the session cannot begin yet; empty if it can. A session that is
	// up stays as it is.
	Unready string
	// BFD watches the path while the BGP session is up. Its Peer is the zero Addr if there
	// is no BFD.
	BFD bfd.Session
}

// sessionPart returns the peer without what can change during a session.
func (p Peer) sessionPart() Peer {
	p.NextHop4, p.NextHop6, p.Unready, p.BFD = netip.Addr{}, netip.Addr{}, "", bfd.Session{}
	return p
}

// Route is a route to advertise.
type Route struct {
	Prefix netip.Prefix
	// LocalPref is LOCAL_PREF for internal peers; 0 means the usual 100.
	LocalPref uint32
	// MED is MULTI_EXIT_DISC; 0 means none. A router prefers the lower one.
	MED              uint32
	Communities      []uint32
	LargeCommunities [][3]uint32
	// Peers are the names of the peers that get the route; empty means all.
	Peers []string
}

// Status is the status of the session with a peer.
type Status struct {
	Peer    string
	Address netip.Addr
	// State is a state of RFC 4271, section 8.2.2: IDLE, ACTIVE, OPENSENT, OPENCONFIRM,
	// ESTABLISHED.
	State string
	// Begun is when the session began. A changed Peer begins a new session.
	Begun time.Time
	Up    bool
	// Since is when the session came up or went down; zero if it could not begin.
	Since time.Time
	// Problem is the reason why the session is not up; empty if it is unknown.
	Problem string
	// Ups and Downs count how often the session came up and went down.
	Ups, Downs uint64
	// Prefixes is the number of prefixes that are advertised now. Withheld is the number
	// of those that are not, because the node has no address of their family or the
	// router does not accept the family.
	Prefixes, Withheld int
	// BFD is nil if the peer has no BFD. Its Failures count from the start of the
	// Announcer.
	BFD *bfd.Status
}

// Options of an Announcer.
type Options struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// Changed is called when a Status has changed. It must not block.
	Changed func()
}
