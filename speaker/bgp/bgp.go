// Package bgp advertises routes to routers (RFC 4271) and watches the paths to
// them with BFD. BGP itself is GoBGP's; this package turns what is wanted into
// what has to change.
//
// Every peer has a BGP server of its own, without a listening socket: our AS
// number and router ID can differ from peer to peer, each is told its own routes
// without policies, and what is done to one peer cannot touch another.
package bgp

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bfd"
)

// Peer is a router with which a session is wanted.
type Peer struct {
	// Name is unique among the peers.
	Name string
	// MyASN and ASN are the numbers of our autonomous system and of the peer's.
	MyASN, ASN uint32
	Address    netip.Addr
	Port       uint16
	// Source is the address to connect from; the zero Addr leaves it to the kernel.
	Source netip.Addr
	// HoldTime and KeepaliveTime in whole seconds, at least 3 and 1.
	HoldTime, KeepaliveTime time.Duration
	// RouterID is an IPv4 address; it must be there.
	RouterID netip.Addr
	// Password of TCP MD5 (RFC 2385), or empty.
	Password string
	// MultihopTTL is how many hops away an external peer may be; 0 is on a link.
	MultihopTTL uint8
	// GracefulRestart is how long the peer shall keep our routes when the session
	// breaks (RFC 4724), in whole seconds; 0 is not at all.
	GracefulRestart time.Duration
	// NextHop4 and NextHop6 are the next hops of routes that are not of the
	// session's own family; without one, such routes are not advertised. NextHop6 is
	// that of a session between link-local addresses, too.
	NextHop4, NextHop6 netip.Addr
	// Unready says why the session cannot be begun yet; empty if it can. A session
	// that is up stays as it is meanwhile.
	Unready string
	// BFD watches the path while the session is up; without it its Peer is the zero
	// Addr.
	BFD bfd.Session
}

// sessionPart leaves out what can change while a session stays.
func (p Peer) sessionPart() Peer {
	p.NextHop4, p.NextHop6, p.Unready, p.BFD = netip.Addr{}, netip.Addr{}, "", bfd.Session{}
	return p
}

// Route is a route to be advertised.
type Route struct {
	Prefix netip.Prefix
	// LocalPref is LOCAL_PREF for internal peers; 0 is the usual 100.
	LocalPref uint32
	// MED is MULTI_EXIT_DISC: of two routes a router takes the one with the lower. 0
	// is none.
	MED              uint32
	Communities      []uint32
	LargeCommunities [][3]uint32
	// Peers are the names of the peers to which it goes; all if there is none.
	Peers []string
}

// Status is how the session with a peer is.
type Status struct {
	Peer    string
	Address netip.Addr
	// State is of RFC 4271, section 8.2.2: IDLE, ACTIVE, OPENSENT, OPENCONFIRM,
	// ESTABLISHED.
	State string
	// Begun is when the session was begun, which it is anew when its Peer changes.
	Begun time.Time
	Up    bool
	// Since is when the session came up, or went down; zero if it could not be begun.
	Since time.Time
	// Problem says why the session is not up, in words; empty if that is not known.
	Problem string
	// Ups and Downs are how often the session has come up and gone down.
	Ups, Downs uint64
	// Prefixes are how many are advertised now; Withheld are those that are not, since
	// the node has no address of their family or the router does not take it.
	Prefixes, Withheld int
	// BFD is nil without it. Its Failures are those since the Announcer was made.
	BFD *bfd.Status
}

// Options of an Announcer.
type Options struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// Changed is called when a Status has changed. It must not block.
	Changed func()
}
