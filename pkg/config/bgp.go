package config

import (
	"fmt"
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

// Peer is a router with which the speakers hold a BGP session.
type Peer struct {
	// Name is unique: by default the Address, with #2 for the second of an address.
	Name string
	// MyASN and ASN are the numbers of our own autonomous system and the peer's.
	MyASN, ASN uint32
	// Address to connect to, and its TCP port.
	Address netip.Addr
	Port    uint16
	// SourceAddress to connect from; the zero Addr leaves it to the kernel.
	SourceAddress netip.Addr
	// HoldTime and KeepaliveTime are whole seconds (RFC 4271, section 4.2).
	HoldTime, KeepaliveTime time.Duration
	// RouterID is an IPv4 address; the zero Addr leaves the choice to the speaker.
	RouterID netip.Addr
	// Password of TCP MD5 (RFC 2385), or empty.
	Password string
	// PasswordSecret names a Secret with the password instead, or is empty.
	PasswordSecret string
	// BFDProfile names one of the Config's profiles, or is empty for no BFD.
	BFDProfile string
	// EBGPMultihop allows an external peer that is not on a link of the node.
	EBGPMultihop bool
	// MultihopTTL is how far away it may be then; 0 if the file does not say.
	MultihopTTL uint8
	// GracefulRestart is the restart time (RFC 4724) in whole seconds; 0 is without.
	GracefulRestart time.Duration
	// NodeSelectors are the nodes with the session; all if there is none.
	NodeSelectors []labels.Selector
	// Line is where the peer begins in the text, counted from 1.
	Line int
}

// Advertisement is how the addresses of a pool become a route.
type Advertisement struct {
	// AggregationLength and AggregationLengthV6 are the prefix lengths of the routes.
	AggregationLength, AggregationLengthV6 int
	// LocalPref is the attribute LOCAL_PREF, for internal peers.
	LocalPref uint32
	// Communities of the route (RFC 1997), each once.
	Communities []Community
	// LargeCommunities of the route (RFC 8092), each once.
	LargeCommunities []LargeCommunity
	// Peers are the names of those to which the route goes; all if there is none.
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
	// ReceiveInterval and TransmitInterval are the shortest that we bear and offer.
	ReceiveInterval, TransmitInterval time.Duration
	// DetectMultiplier is how many packets may be missing.
	DetectMultiplier uint8
	// MinimumTTL is the least of packets from a peer more than one hop away.
	MinimumTTL uint8
	// PassiveMode waits for the peer to begin.
	PassiveMode bool
	// Line is where the profile begins in the text, counted from 1.
	Line int
}

// The defaults of BGP, those of MetalLB v0.12.
const (
	DefaultPeerPort = 179
	DefaultHoldTime = 90 * time.Second
)
