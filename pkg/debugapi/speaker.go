package debugapi

import (
	"net/netip"
	"slices"
	"time"
)

// BGP is the document of BGPPath: the sessions of a node.
type BGP struct {
	Header
	Sessions []Session `json:"sessions"`
	// Routes are those that the node advertises if a session is up.
	Routes []Route `json:"routes"`
}

// Routers returns the peers that get a route to an address: those with a session that is up, if a route
// with the address is for them. b can be nil.
func (b *BGP) Routers(addr netip.Addr) (peers []string) {
	if b == nil {
		return nil
	}
	for _, s := range b.Sessions {
		if s.Up && slices.ContainsFunc(b.Routes, func(r Route) bool {
			return r.Prefix.Contains(addr) && (len(r.Peers) == 0 || slices.Contains(r.Peers, s.Peer))
		}) {
			peers = append(peers, s.Peer)
		}
	}
	return peers
}

// Session is a BGP session.
type Session struct {
	Peer    string     `json:"peer"`
	Address netip.Addr `json:"address"`
	// State is a state of RFC 4271, section 8.2.2.
	State string `json:"state"`
	Up    bool   `json:"up"`
	// Since is when the session came up or went down; the zero time if it could not begin.
	Since time.Time `json:"since,omitzero"`
	// Problem is the last reason why the session was not up; empty if it is unknown or up.
	Problem string `json:"problem,omitempty"`
	// Ups and Downs count how often the session came up and went down.
	Ups   uint64 `json:"ups"`
	Downs uint64 `json:"downs"`
	// Prefixes is how many prefixes are advertised, Withheld how many are not.
	Prefixes int `json:"prefixes"`
	Withheld int `json:"withheld,omitempty"`
	// BFD is nil if the peer has no BFD.
	BFD *BFD `json:"bfd,omitempty"`
}

// BFD is the BFD session with a peer.
type BFD struct {
	State    string    `json:"state"`
	Since    time.Time `json:"since,omitzero"`
	Problem  string    `json:"problem,omitempty"`
	Failures uint64    `json:"failures"`
}

// Spread is the document of SpreadPath: which nodes carry the flows of VIPs.
type Spread struct {
	Header
	// Obstacle says why this node cannot spread; empty if it can.
	Obstacle string `json:"obstacle,omitempty"`
	// Rules is set if the kernel has the rules.
	Rules bool `json:"rules"`
	// RulesProblem says why the kernel did not take the rules when they were written last; empty if it did.
	RulesProblem string `json:"rulesProblem,omitempty"`
	// VIPs are those that a pool or a Service wants to be spread.
	VIPs []SpreadVIP `json:"vips"`
}

// SpreadVIP is a VIP that should be spread.
type SpreadVIP struct {
	VIP      netip.Addr `json:"vip"`
	Services []string   `json:"services"`
	// Reason is "Spread" if several nodes carry its flows, else why they do not.
	Reason   string       `json:"reason"`
	Owner    string       `json:"owner,omitempty"`
	Carriers []Carrier    `json:"carriers,omitempty"`
	Links    []SpreadLink `json:"links,omitempty"`
}

// SpreadLink is what this node does with the flows of a VIP that come in on a link.
type SpreadLink struct {
	Link string `json:"link"`
	// ByAddress is set if all flows of a client reach the same node.
	ByAddress bool `json:"byAddress,omitempty"`
	// Ring is the number of nodes that are asked for a connection.
	Ring int `json:"ring"`
}

// Members is the document of MembersPath: what a speaker knows about the speakers.
type Members struct {
	Header
	// Self is this speaker.
	Self Self `json:"self"`
	// Members are the other speakers, in the order of their names.
	Members []Member `json:"members"`
	// Rejected counts, since the start, what this speaker has rejected of other hosts, by
	// "members" or "heartbeat", a slash, and the reason. The reason "key" means another key.
	Rejected map[string]uint64 `json:"rejected,omitempty"`
	// OtherKeys are the hosts that have sent something with another key a short time ago, the
	// last one first.
	OtherKeys []OtherKey `json:"otherKeys,omitempty"`
}

// OtherKey is a host that sends with another key.
type OtherKey struct {
	// To is "members" or "heartbeat".
	To   string     `json:"to"`
	From netip.Addr `json:"from"`
	// Last is when the host did so last.
	Last time.Time `json:"last"`
}

// Self is what a speaker concludes about itself.
type Self struct {
	Addr netip.Addr `json:"addr"`
	// Fenced says why it announces nothing by layer 2; empty if it may.
	Fenced string `json:"fenced,omitempty"`
	// Suppressed says why other nodes are preferred; empty if they are not.
	Suppressed string `json:"suppressed,omitempty"`
	// Starting is set while it waits for the other speakers to start, Rejoining while it
	// looks for lost members.
	Starting  bool `json:"starting,omitempty"`
	Rejoining bool `json:"rejoining,omitempty"`
	Returned  bool `json:"returned,omitempty"`
	// Unready is set until the node can send traffic to pods.
	Unready      bool   `json:"unready,omitempty"`
	Advertises   bool   `json:"advertises,omitempty"`
	Spreads      bool   `json:"spreads,omitempty"`
	CannotSpread string `json:"cannotSpread,omitempty"`
	// Deaths counts how often other speakers have taken this one for dead.
	Deaths int `json:"deaths"`
	// Freezes counts how often it did not run for too long.
	Freezes int `json:"freezes"`
	// ProfileVersion is the version of the profile that most neighbours know.
	ProfileVersion uint64 `json:"profileVersion"`
	// FencedLinks are the links on which no member is reached.
	FencedLinks []string `json:"fencedLinks,omitempty"`
	Links       []Link   `json:"links"`
}

// Member is another speaker.
type Member struct {
	Name string     `json:"name"`
	Addr netip.Addr `json:"addr"`
	// Alive is set if the member answers. Its process or its kernel does not if it is not set.
	Alive bool `json:"alive"`
	// Lost is set if the member list has lost the member.
	Lost bool `json:"lost,omitempty"`
	// KernelDead is set if the kernel of its node does not answer on any link.
	KernelDead bool `json:"kernelDead,omitempty"`
	// DeadAt are the addresses at which it does not answer.
	DeadAt []netip.Addr `json:"deadAt,omitempty"`
	// Watched is set if the two watch each other: only then they send each other heartbeats.
	// Each speaker watches six others.
	Watched bool `json:"watched,omitempty"`
	// Heard is set if a heartbeat of it was ever received.
	Heard bool `json:"heard"`

	Fenced     bool `json:"fenced,omitempty"`
	Suppressed bool `json:"suppressed,omitempty"`
	Returned   bool `json:"returned,omitempty"`
	Starting   bool `json:"starting,omitempty"`
	Leaving    bool `json:"leaving,omitempty"`
	Advertises bool `json:"advertises,omitempty"`
	Spreads    bool `json:"spreads,omitempty"`

	ProfileVersion uint64 `json:"profileVersion"`
	Links          []Link `json:"links,omitempty"`
}

// Link is a network interface on which a speaker can announce.
type Link struct {
	Name     string         `json:"name"`
	MAC      string         `json:"mac"`
	IPv4     netip.Prefix   `json:"ipv4,omitzero"`
	IPv6     netip.Prefix   `json:"ipv6,omitzero"`
	Networks []netip.Prefix `json:"networks,omitempty"`
}
