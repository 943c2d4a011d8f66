package diagnose

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// explainAddress explains an address of a Service.
func (f *facts) explainAddress(svc *v1.Service, vip netip.Addr) AddressExplanation {
	e := AddressExplanation{Address: vip, InStatus: slices.Contains(service.VIPs(svc), vip)}
	d, _, known := f.decision(vip)
	if known {
		e.Pool, e.Protocol, e.Owner, e.WhyOwner, e.Reason = d.Pool, d.Protocol, d.Owner, d.WhyOwner, d.Reason
		e.Candidates, e.Excluded, e.ExcludedOmitted, e.Spread, e.Carriers = d.Candidates, d.Excluded, d.ExcludedOmitted, d.Spread, d.Carriers
		e.Links = d.Links
	} else if pool, ok := f.parsed.PoolOf(vip); ok {
		e.Pool, e.Protocol = pool.Name, string(pool.Protocol)
	}
	for _, s := range f.Speakers {
		said, ok := f.decisions[vip][s.Node()]
		if !ok || said.BGP == "" {
			continue
		}
		n := NodeBGP{Node: s.Node(), Reason: said.BGP, Routers: []string{}}
		if s.BGP != nil {
			for _, session := range s.BGP.Sessions {
				if session.Up {
					n.Routers = append(n.Routers, session.Peer)
				}
			}
		}
		e.BGP = append(e.BGP, n)
	}
	e.Clients = f.clients(svc, e)
	return e
}

// clients says what clients see.
func (f *facts) clients(svc *v1.Service, e AddressExplanation) string {
	var ways []string
	switch {
	case e.Reason == reasonOwner && e.Spread == spreading:
		var carriers []string
		for _, c := range e.Carriers {
			carriers = append(carriers, c.Node)
		}
		ways = append(ways, fmt.Sprintf("hosts of the segment send to node %s, and %s share the traffic", e.Owner, nodes(carriers)))
	case e.Reason == reasonOwner:
		ways = append(ways, "hosts of the segment send to node "+e.Owner)
	case e.Reason == reasonOtherOwner:
		ways = append(ways, fmt.Sprintf("hosts of the segment send to node %s, by the word of another speaker", e.Owner))
	}
	if advertisers := f.advertisers(e.Address); len(advertisers) > 0 {
		ways = append(ways, "routers send to "+nodes(advertisers))
	}
	switch {
	case !e.InStatus:
		return "nothing: the address is not in the status of the Service"
	case len(ways) == 0 && e.Reason == "":
		return "not known: no speaker that was read knows the address"
	case len(ways) == 0:
		return "nothing: no node announces the address"
	case f.endpoints(svc).Ready == 0:
		return strings.Join(ways, ", and ") + "; but no pod is ready, so connections fail"
	}
	return strings.Join(ways, ", and ")
}

// maxEvents is how many Events an explanation has.
const maxEvents = 8

// eventsOf returns the last Events of a Service, the newest first.
func (f *facts) eventsOf(svc *v1.Service) []string {
	var own []*v1.Event
	for _, e := range f.Events {
		if e.InvolvedObject.Kind == "Service" && e.InvolvedObject.Namespace == svc.Namespace && e.InvolvedObject.Name == svc.Name && (e.InvolvedObject.UID == "" || e.InvolvedObject.UID == svc.UID) {
			own = append(own, e)
		}
	}
	slices.SortStableFunc(own, func(a, b *v1.Event) int { return timeOf(b).Compare(timeOf(a)) })
	texts := []string{}
	for _, e := range own[:min(len(own), maxEvents)] {
		texts = append(texts, fmt.Sprintf("%v ago, %s: %s", f.Now.Sub(timeOf(e)).Round(time.Second), e.Reason, e.Message))
	}
	return texts
}

func timeOf(e *v1.Event) time.Time {
	return cmp.Or(e.LastTimestamp.Time, e.EventTime.Time, e.CreationTimestamp.Time)
}
