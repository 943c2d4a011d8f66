package debugapi

import (
	"net/netip"
	"time"
)

// The document of AllocationsPath has at most so many elements of each kind.
const (
	// MaxServices is how many Services it has, those that wait first.
	MaxServices = 5000
	// MaxExplained is how many Services have the reason of each pool.
	MaxExplained = 200
	// MaxPoolReasons is how many pools are named for each of them.
	MaxPoolReasons = 50
	// MaxReserved is how many reserved addresses it has.
	MaxReserved = 2000
)

// Allocations is the document of AllocationsPath: which Service has which addresses.
type Allocations struct {
	Header
	// Leader is set if this cluster manager leads. Without it all that follows is empty.
	Leader bool `json:"leader"`
	// Adopted is set if the addresses in use have been read from the Services. Before that no
	// address is given.
	Adopted  bool                `json:"adopted"`
	Config   Config              `json:"config"`
	Pools    []Pool              `json:"pools"`
	Services []ServiceAllocation `json:"services"`
	// ServicesOmitted is how many more Services there are.
	ServicesOmitted int `json:"servicesOmitted,omitempty"`
	// Reserved are the addresses of pools that no Service gets.
	Reserved        []ReservedAddress `json:"reserved,omitempty"`
	ReservedOmitted int               `json:"reservedOmitted,omitempty"`
	// Foreign are the addresses that foreign hosts have.
	Foreign []ReservedAddress `json:"foreign,omitempty"`
}

// Pool is a pool of one family, and how full it is.
type Pool struct {
	Name string `json:"name"`
	// Family is "IPv4" or "IPv6".
	Family     string   `json:"family"`
	Protocol   string   `json:"protocol"`
	Ranges     []string `json:"ranges"`
	Priority   int      `json:"priority,omitempty"`
	AutoAssign bool     `json:"autoAssign"`
	// Total is the number of addresses that Services can have, Assigned how many of them have
	// a Service, Cooldown how many of the others were released a short time ago. Free are
	// those that are neither.
	Total    uint64 `json:"total"`
	Assigned uint64 `json:"assigned"`
	Cooldown uint64 `json:"cooldown"`
	Free     uint64 `json:"free"`
}

// ServiceAllocation is what a Service has and what it waits for.
type ServiceAllocation struct {
	// Name is namespace/name.
	Name      string       `json:"name"`
	Addresses []netip.Addr `json:"addresses"`
	// Withheld are those of its addresses that are not in the status, and why.
	Withheld []ReservedAddress `json:"withheld,omitempty"`
	// Orphans are those of its addresses that no pool would give any more, and why.
	Orphans []ReservedAddress `json:"orphans,omitempty"`
	// Waiting is nil if the Service has what it asks for.
	Waiting *Waiting `json:"waiting,omitempty"`
}

// Waiting says what a Service waits for.
type Waiting struct {
	Since time.Time `json:"since"`
	// Why is the refusal in words. Advice is what to do; empty if there is nothing.
	Why    string `json:"why"`
	Advice string `json:"advice,omitempty"`
	// Pools says of each pool why it gives no address, in the order in which they are tried.
	Pools        []PoolReason `json:"pools,omitempty"`
	PoolsOmitted int          `json:"poolsOmitted,omitempty"`
}

// PoolReason says why a pool gives a Service no address.
type PoolReason struct {
	Pool string `json:"pool"`
	Why  string `json:"why"`
}

// ReservedAddress is an address and what it is. The text completes the sentence
// "192.0.2.1 is …", or says why no pool gives the address.
type ReservedAddress struct {
	Address netip.Addr `json:"address"`
	Why     string     `json:"why"`
}
