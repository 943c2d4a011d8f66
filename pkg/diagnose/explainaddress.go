package diagnose

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// address says what an address is. services is how many Services have it.
func (f *facts) address(addr netip.Addr, services int) *AddressFacts {
	a := &AddressFacts{Address: addr}
	var pool *config.Pool
	if p, ok := f.parsed.PoolOf(addr); ok {
		pool, a.Pool = p, p.Name
	}
	switch {
	case services == 1:
		a.What = "one Service has it"
	case services > 1:
		a.What = fmt.Sprintf("%d Services share it", services)
	case len(f.holders(addr)) > 0:
		a.What = "it is in use: by the word of the programs " + names(f.holders(addr)) + " has it"
	case f.what(addr) != "":
		a.What = "it is " + f.what(addr)
		if f.Unread("Services") == "" {
			a.What = "no Service has it; " + a.What
		}
	case f.Unread("Services") != "":
		a.What = "whether a Service has it is not known, because the Services could not be read"
	case pool != nil && f.refused == nil && f.leader == nil:
		a.What = "no Service has it in its status; whether it is free is not known, because no cluster manager that leads was read"
	case pool != nil && f.refused == nil:
		a.What = "no Service has it; it is free"
	case f.unreadConfig():
		a.What = "no Service has it; the pools are not known, because the ConfigMap could not be read"
	case f.parsed == nil:
		a.What = "no Service has it; the pools are not known, because the ConfigMap is missing or refused"
	default:
		a.What = "no Service has it, and no pool has it"
	}
	return a
}

// holders returns the Services that have an address by the word of the cluster manager and the speakers.
func (f *facts) holders(addr netip.Addr) (services []string) {
	if f.leader != nil {
		for _, s := range f.leader.Services {
			if slices.Contains(s.Addresses, addr) {
				services = append(services, s.Name)
			}
		}
	}
	for _, d := range f.decisions[addr] {
		services = append(services, d.Services...)
	}
	slices.Sort(services)
	return slices.Compact(services)
}

// what says what the cluster manager knows about an address of a pool; "" for nothing.
func (f *facts) what(addr netip.Addr) string {
	if f.leader == nil {
		return ""
	}
	for _, r := range slices.Concat(f.leader.Foreign, f.leader.Reserved) {
		if r.Address == addr {
			return r.Why
		}
	}
	return ""
}

// explainAddress explains an address of a Service.
func (f *facts) explainAddress(svc *v1.Service, vip netip.Addr) AddressExplanation {
	e := AddressExplanation{Address: vip, InStatus: slices.Contains(service.VIPs(svc), vip)}
	d, _, known := f.decision(vip)
	if known {
		e.Pool, e.Protocol, e.Owner, e.WhyOwner, e.Reason = d.Pool, d.Protocol, d.Owner, d.WhyOwner, d.Reason
		e.Candidates, e.Excluded, e.ExcludedOmitted, e.Spread, e.Carriers = d.Candidates, d.Excluded, d.ExcludedOmitted, d.Spread, d.Carriers
		e.Links, e.CandidatesOmitted = d.Links, d.CandidatesOmitted
	} else if pool, ok := f.parsed.PoolOf(vip); ok {
		e.Pool, e.Protocol = pool.Name, string(pool.Protocol)
	}
	for _, s := range f.Speakers {
		said, ok := f.decisions[vip][s.Node()]
		if !ok || said.BGP == "" {
			continue
		}
		e.BGP = append(e.BGP, NodeBGP{Node: s.Node(), Reason: said.BGP, Routers: append([]string{}, s.BGP.Routers(vip)...)})
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
	case f.Unread("EndpointSlices") != "":
		return strings.Join(ways, ", and ") + "; whether a pod is ready is not known"
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
