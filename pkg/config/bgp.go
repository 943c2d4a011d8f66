package config

import (
	"fmt"
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

// Peer is a router with which the speakers hold a BGP session.
type Peer struct {
	// MyASN and ASN are the numbers of our own autonomous system and the peer's.
	MyASN, ASN uint32
	// Address to connect to, and its TCP port.
	Address netip.Addr
	Port    uint16
	// SourceAddress to connect from; the zero Addr leaves it to the kernel.
	SourceAddress netip.Addr
	// HoldTime and KeepaliveTime are whole seconds (RFC 4271, section 4.2); a
	// HoldTime of 0 is a session without keepalives.
	HoldTime, KeepaliveTime time.Duration
	// RouterID is an IPv4 address; the zero Addr leaves the choice to the speaker.
	RouterID netip.Addr
	// Password of TCP MD5 (RFC 2385), or empty.
	Password string
	// BFDProfile names one of the Config's profiles, or is empty for no BFD.
	BFDProfile string
	// EBGPMultihop allows an external peer that is not on a link of the node.
	EBGPMultihop bool
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
}

// Community is a BGP community (RFC 1997).
type Community uint32

// String returns the form 64512:100.
func (c Community) String() string { return fmt.Sprintf("%d:%d", c>>16, uint16(c)) }

// BFDProfile is a set of parameters for BFD sessions (RFC 5880). A nil field is
// left to the engine's default.
type BFDProfile struct {
	Name string
	// Intervals in milliseconds.
	ReceiveInterval, TransmitInterval, EchoInterval *uint32
	DetectMultiplier, MinimumTTL                    *uint32
	EchoMode, PassiveMode                           bool
	// Line is where the profile begins in the text, counted from 1.
	Line int
}

// The defaults of BGP, those of MetalLB v0.12.
const (
	DefaultPeerPort = 179
	DefaultHoldTime = 90 * time.Second
)
