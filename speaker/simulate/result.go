package simulate

import (
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

// Result is what would change.
type Result struct {
	// Drained, Lost and Configuration say what was simulated.
	Drained       []string `json:"drained,omitempty"`
	Lost          []string `json:"lost,omitempty"`
	Configuration bool     `json:"configuration,omitempty"`
	// Addresses are those for which something would change. Unchanged counts the others.
	Addresses []Address `json:"addresses"`
	Unchanged int       `json:"unchanged"`
	// Nodes are those for which something would change.
	Nodes []Node `json:"nodes"`
	// Incomplete says which input is missing. If it is not empty, an address can become unserved
	// that is not so here.
	Incomplete []string `json:"incomplete,omitempty"`
	// Notes say what else to know.
	Notes []string `json:"notes,omitempty"`
}

// Unserved returns the addresses that are served now, and that nobody would serve.
func (r *Result) Unserved() (addrs []netip.Addr) {
	for _, a := range r.Addresses {
		if a.Unserved {
			addrs = append(addrs, a.Address)
		}
	}
	return addrs
}

// Address is what would change for an address.
type Address struct {
	Address netip.Addr `json:"address"`
	// Services are those that have the address, before or after the change.
	Services []string `json:"services"`
	Before   Serving  `json:"before"`
	After    Serving  `json:"after"`
	// Unserved is set if the address is served now, and if then nobody would serve it, or one
	// of its Services would have no endpoint. Why says which of the two, and the reason.
	Unserved bool   `json:"unserved,omitempty"`
	Why      string `json:"why,omitempty"`
	// Connections says what would become of the open connections.
	Connections string `json:"connections,omitempty"`
}

// Serving is how an address is served.
type Serving struct {
	// Pool is empty if no pool has the address.
	Pool string `json:"pool,omitempty"`
	// Layer2 are the nodes that answer ARP and NDP. More than one means that the speakers did
	// not agree when they were asked.
	Layer2 []string `json:"layer2,omitempty"`
	// Slots are the nodes that carry the flows, if the address is spread.
	Slots []Slots `json:"slots,omitempty"`
	// BGP are the nodes that advertise a route and have a session.
	BGP []string `json:"bgp,omitempty"`
}

// Slots is how many of the 256 slots a node carries.
type Slots struct {
	Node  string `json:"node"`
	Slots int    `json:"slots"`
}

func (s Serving) announced() bool { return len(s.Layer2) > 0 || len(s.BGP) > 0 }

func (s Serving) equal(o Serving) bool {
	return s.Pool == o.Pool && slices.Equal(s.Layer2, o.Layer2) && slices.Equal(s.Slots, o.Slots) && slices.Equal(s.BGP, o.BGP)
}

// SlotsOf returns how many slots the nodes carry.
func (s Serving) SlotsOf(nodes ...string) (n int) {
	for _, carrier := range s.Slots {
		if slices.Contains(nodes, carrier.Node) {
			n += carrier.Slots
		}
	}
	return n
}

func slots(all []plan.Carrier) (s []Slots) {
	for _, c := range all {
		s = append(s, Slots(c))
	}
	return s
}

// Node is what would change for a node.
type Node struct {
	Node string `json:"node"`
	// Announces is how many addresses it announces by layer 2.
	Announces Count `json:"announces"`
	// Withdrawn, Added and Changed are routes. A changed route has other attributes or other
	// peers.
	Withdrawn []netip.Prefix `json:"routesWithdrawn,omitempty"`
	Added     []netip.Prefix `json:"routesAdded,omitempty"`
	Changed   []netip.Prefix `json:"routesChanged,omitempty"`
	// Sessions are the BGP sessions that would change.
	Sessions []Session `json:"sessions,omitempty"`
}

// Count is a number now and then.
type Count struct {
	Before int `json:"before"`
	After  int `json:"after"`
}

// Session is a BGP session that would change.
type Session struct {
	Peer string `json:"peer"`
	// Change is "begins", "ends" or "restarts".
	Change string `json:"change"`
}

// The changes of a session.
const (
	begins   = "begins"
	ends     = "ends"
	restarts = "restarts"
)
