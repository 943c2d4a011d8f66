package debugapi

import "net/netip"

// Plan is the document of PlanPath: what a node announces, and why.
type Plan struct {
	Header
	// Config is the configuration that the plan was made with.
	Config Config `json:"config"`
	// Fenced says why the node announces nothing by layer 2; empty if it may.
	Fenced string `json:"fenced,omitempty"`
	// Suppressed says why other nodes are preferred to this one; empty if they are not.
	Suppressed string `json:"suppressed,omitempty"`
	// CannotSpread says why the node cannot hand flows on; empty if it can.
	CannotSpread string `json:"cannotSpread,omitempty"`
	// KeepSessions is set if all BGP sessions and routes stay as they are, because the
	// configuration or the Node is unknown.
	KeepSessions bool `json:"keepSessions,omitempty"`
	// Decisions are in the order of their VIPs.
	Decisions []Decision `json:"decisions"`
	Routes    []Route    `json:"routes"`
	// State is everything that the plan depends on; nil before the first plan.
	State *State `json:"state,omitempty"`
}

// Config says which configuration is in use.
type Config struct {
	// ResourceVersion is that of the ConfigMap that the text was read from, 0 if it was
	// read from the ConfigMap that the cluster manager publishes, or if there is none.
	ResourceVersion uint64 `json:"resourceVersion"`
	// Hash identifies the text as it is in the ConfigMap.
	Hash string `json:"hash,omitempty"`
	// Problem is the reason why the present content of the ConfigMap is not in use; empty if
	// it is.
	Problem string `json:"problem,omitempty"`
}

// Decision is what a plan says about one VIP.
type Decision struct {
	VIP netip.Addr `json:"vip"`
	// Services are those that have the VIP, as namespace/name.
	Services []string `json:"services"`
	// Pool is the VIP's pool; empty if no pool has it any more. Protocol is "layer2", "bgp"
	// or "both", or empty if the VIP must not be announced.
	Pool     string `json:"pool,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	// Owner is the node that announces the VIP by layer 2; empty for none. Candidates are the
	// first nodes that could, and CandidatesOmitted is how many more there are. Reason is one
	// of the Reasons of the package plan.
	Owner             string   `json:"owner,omitempty"`
	Candidates        []string `json:"candidates,omitempty"`
	CandidatesOmitted int      `json:"candidatesOmitted,omitempty"`
	Reason            string   `json:"reason"`
	// WhyOwner says why the owner is the owner; empty without an owner.
	WhyOwner string `json:"whyOwner,omitempty"`
	// Excluded are nodes that are not candidates. ExcludedOmitted is how many more there are.
	Excluded        []Excluded `json:"excluded,omitempty"`
	ExcludedOmitted int        `json:"excludedOmitted,omitempty"`
	// Withheld is set if no Service has the VIP in its status, because a foreign host has it.
	Withheld bool `json:"withheld,omitempty"`
	// Network is the network of the nodes that holds the VIP; empty for none.
	Network netip.Prefix `json:"network,omitzero"`
	// Links are the links of this node on which the VIP is announced.
	Links            []string `json:"links,omitempty"`
	DespiteConflicts bool     `json:"despiteConflicts,omitempty"`
	// Foreign is the MAC address of the foreign host that has the VIP.
	Foreign string `json:"foreign,omitempty"`
	// BGP is one of the BGPReasons of the package plan; empty if the VIP is not for BGP.
	BGP string `json:"bgp,omitempty"`
	MED uint32 `json:"med,omitempty"`
	// Spread is one of the SpreadReasons of the package plan; empty if nobody asks for it.
	Spread   string    `json:"spread,omitempty"`
	Carriers []Carrier `json:"carriers,omitempty"`
}

// Excluded is a node that is not a candidate for a VIP, and why.
type Excluded struct {
	Node string `json:"node"`
	Why  string `json:"why"`
}

// Carrier is a node that carries flows of a VIP.
type Carrier struct {
	Node string `json:"node"`
	// Slots is how many of the 256 slots it has.
	Slots int `json:"slots"`
}

// Route is a route that the node advertises over BGP.
type Route struct {
	Prefix           netip.Prefix `json:"prefix"`
	LocalPref        uint32       `json:"localPref,omitempty"`
	MED              uint32       `json:"med,omitempty"`
	Communities      []string     `json:"communities,omitempty"`
	LargeCommunities []string     `json:"largeCommunities,omitempty"`
	// Peers are the names of the peers that get the route; empty means all.
	Peers []string `json:"peers,omitempty"`
}
