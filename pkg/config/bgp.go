package config

import (
	"fmt"
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

// Peer is a router with which the speakers hold a BGP session.
type Peer struct {
	// Name is unique. The default is the Address; the second peer with the same
	// address gets #2 after it, the third #3.
	Name string
	// MyASN is the number of our own autonomous system. ASN is the number of the peer's.
	MyASN, ASN uint32
	// Address to connect to, and its TCP port.
	Address netip.Addr
	Port    uint16
	// SourceAddress to connect from. With the zero Addr the kernel chooses.
	SourceAddress netip.Addr
	// HoldTime and KeepaliveTime are whole seconds (RFC 4271, section 4.2).
	HoldTime, KeepaliveTime time.Duration
	// RouterID is an IPv4 address. With the zero Addr the speaker chooses.
	RouterID netip.Addr
	// Password of TCP MD5 (RFC 2385), or empty.
	Password string
	// PasswordSecret is the name of a Secret that holds the password instead, or empty.
	PasswordSecret string
	// BFDProfile is the name of one of the Config's profiles. Empty means no BFD.
	BFDProfile string
	// EBGPMultihop allows an external peer that is not on a link of the node.
	EBGPMultihop bool
	// MultihopTTL is how many hops away such a peer may be, 0 if the file does not say.
	MultihopTTL uint8
	// TTLSecurity accepts only packets with a TTL of 255 from the peer, and sends such
	// packets (RFC 5082). The peer is on a link of the node.
	TTLSecurity bool
	// GracefulRestart is the restart time (RFC 4724) in whole seconds. 0 turns graceful
	// restart off.
	GracefulRestart time.Duration
	// NodeSelectors select the nodes that have the session. An empty list selects all.
	NodeSelectors []labels.Selector
	// Line is the line of the text on which the peer begins, counted from 1.
	Line int
}

// Advertisement describes the routes to the addresses of a pool.
type Advertisement struct {
	// AggregationLength and AggregationLengthV6 are the prefix lengths of the routes.
	AggregationLength, AggregationLengthV6 int
	// LocalPref is the attribute LOCAL_PREF, for internal peers.
	LocalPref uint32
	// Communities of the route (RFC 1997), each once.
	Communities []Community
	// LargeCommunities of the route (RFC 8092), each once.
	LargeCommunities []LargeCommunity
	// Peers are the names of the peers that the routes are advertised to. An empty list
	// means all peers.
	Peers []string
}

// Community is a BGP community (RFC 1997).
type Community uint32

// String returns the form 64512:100.
func (c Community) String() string { return fmt.Sprintf("%d:%d", c>>16, uint16(c)) }

// LargeCommunity is a BGP large community (RFC 8092).
type LargeCommunity [3]uint32

// String returns the form 64512:1:2.
func (c LargeCommunity) String() string { return fmt.Sprintf("%d:%d:%d", c[0], c[1], c[2]) }

// BFDProfile is a set of parameters for BFD sessions (RFC 5880).
type BFDProfile struct {
	Name string
	// ReceiveInterval is the shortest interval between packets that we accept,
	// TransmitInterval the shortest that we offer.
	ReceiveInterval, TransmitInterval time.Duration
	// DetectMultiplier is the number of missing packets in a row that takes the session down.
	DetectMultiplier uint8
	// MinimumTTL is the lowest TTL that we accept from a peer more than one hop away.
	MinimumTTL uint8
	// PassiveMode waits until the peer sends the first packet.
	PassiveMode bool
	// Line is the line of the text on which the profile begins, counted from 1.
	Line int
}

// The defaults of BGP are the same as MetalLB v0.12's.
const (
	defaultPeerPort = 179
	defaultHoldTime = 90 * time.Second
)
