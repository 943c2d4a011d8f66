package ui

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

// opinion is what the speakers say about one address. Each speaker decides about its own node.
type opinion struct {
	places map[string]*Place
	// owner is the node that most speakers take for the owner, of those that do not answer.
	owners map[string]int
	// first is the decision that describes the address: the owner's, if it answers.
	first debugapi.Decision
	own   bool
	// advertised is set if a node would advertise the address, but has no session.
	advertised bool
}

// drawPlaces fills in which nodes announce the addresses and carry their flows.
func drawPlaces(speakers []Speaker, addresses map[netip.Addr]*Address) {
	answering := map[string]bool{}
	for _, s := range speakers {
		answering[s.Node] = s.knows()
	}
	opinions := map[netip.Addr]*opinion{}
	for _, s := range speakers {
		if !s.knows() {
			continue
		}
		for _, d := range s.Plan.Decisions {
			o := opinions[d.VIP]
			if o == nil {
				o = &opinion{places: map[string]*Place{}, owners: map[string]int{}, first: d}
				opinions[d.VIP] = o
			}
			o.add(s.Node, d, len(s.BGP.Routers(d.VIP)) > 0, answering)
		}
	}
	for addr, o := range opinions {
		a := addAddress(addresses, addr)
		a.addServices(o.first.Services...)
		a.Pool, a.Protocol = o.first.Pool, o.first.Protocol
		a.Places = o.result()
		switch {
		case len(a.Places) > 0:
			a.Problem = ""
		case a.Problem == "":
			a.Problem = o.problem()
		}
	}
	for addr, a := range addresses {
		if opinions[addr] == nil && a.Problem == "" && len(opinions) > 0 {
			a.Problem = "the speakers do not know it yet"
		}
	}
}

// add adds the decision of the speaker of a node.
func (o *opinion) add(node string, d debugapi.Decision, session bool, answering map[string]bool) {
	switch {
	case d.Owner == node && d.Reason == "Owner":
		o.place(node).Owner = true
		o.first, o.own = d, true
	case d.Owner != "" && !answering[d.Owner]:
		o.owners[d.Owner]++
	}
	if d.BGP == "Advertised" {
		o.advertised = true
		if session {
			o.place(node).BGP = true
		}
	}
}

func (o *opinion) place(node string) *Place {
	if o.places[node] == nil {
		o.places[node] = &Place{Node: node}
	}
	return o.places[node]
}

// result returns the places in the order of their nodes.
func (o *opinion) result() (places []Place) {
	if !o.own && len(o.owners) > 0 {
		owner, most := "", 0
		for node, n := range o.owners {
			if n > most || n == most && node < owner {
				owner, most = node, n
			}
		}
		o.place(owner).Owner = true
		o.own = true
	}
	if o.own {
		for _, c := range o.first.Carriers {
			o.place(c.Node).Slots = c.Slots
		}
	}
	for _, p := range o.places {
		places = append(places, *p)
	}
	slices.SortFunc(places, func(a, b Place) int { return cmp.Compare(a.Node, b.Node) })
	return places
}

// problem says why no node announces the address. A click on the chip explains more.
func (o *opinion) problem() string {
	d := o.first
	switch {
	case d.Withheld:
		return "it is withheld: a foreign host has it"
	case d.Protocol == "bgp" && o.advertised:
		return "no node has a BGP session for it"
	case d.Protocol == "bgp":
		return cmp.Or(bgpWords[d.BGP], d.BGP)
	}
	return cmp.Or(reasonWords[d.Reason], d.Reason)
}

// reasonWords are the reasons of layer 2 in the package plan, for which no node announces.
var reasonWords = map[string]string{
	"Owner":       "it is changing its node",
	"OtherOwner":  "it is changing its node",
	"Conflict":    "a foreign host has it",
	"NoEndpoint":  "the traffic policy is Local, and no node that may announce has a ready endpoint",
	"NoLink":      "no node that may announce has a link for it",
	"NoCandidate": "no node may announce it",
	"Fenced":      "all speakers that answer are fenced",
	"NodeAddress": "it is an address of a node",
	"Unpublished": "no pool has it, and the cluster manager has not given it",
}

// bgpWords are the reasons of BGP in the package plan, for which a node does not advertise.
var bgpWords = map[string]string{
	"NoLocalEndpoint": "the traffic policy is Local, and no node that may announce has a ready endpoint",
	"Excluded":        "no node may announce it",
	"NotSelected":     "the pool selects no node",
	"NotReady":        "the nodes are starting",
	"NoPeer":          "no BGP peer is configured for the nodes",
	"Withheld":        "it is withheld: a foreign host has it",
	"NoReadyEndpoint": "no endpoint is ready, and the pool has withdraw-without-endpoints",
}
