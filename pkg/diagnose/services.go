package diagnose

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// serviceProblems are about all Services that are served.
func (f *facts) serviceProblems() (problems []Problem) {
	for _, svc := range f.ours() {
		problems = append(problems, f.problemsOf(svc)...)
	}
	return problems
}

// problemsOf are about one Service that is served.
func (f *facts) problemsOf(svc *v1.Service) (problems []Problem) {
	where, vips := "Service "+service.Name(svc), f.vipsOf(svc)
	allocation := f.allocation(service.Name(svc))
	condition := service.Condition(svc, service.Allocated)
	switch {
	case allocation != nil && len(allocation.Withheld) > 0:
		for _, w := range allocation.Withheld {
			problems = append(problems, Problem{Error, "AddressWithheld", where, fmt.Sprintf("%s is given to it, but it is %s", w.Address, w.Why),
				"Remove the address from that host. Or take it out of the pool, and ask for another one"})
		}
	case allocation != nil && allocation.Waiting != nil && allocation.Waiting.Why != "":
		problems = append(problems, f.waiting(where, vips, allocation.Waiting.Why, allocation.Waiting.Advice))
	case condition != nil && condition.Reason == "Kept" || condition != nil && condition.Status == "False" && len(vips) == 0:
		problems = append(problems, f.waiting(where, vips, condition.Message, ""))
	case len(vips) == 0:
		problems = append(problems, Problem{Error, "Waiting", where, "it has no address, and the cluster manager has not said why",
			"Wait some seconds. If this stays, see whether a cluster manager leads: kubectl baremetal status"})
	}
	if allocation != nil {
		for _, o := range allocation.Orphans {
			problems = append(problems, Problem{Warning, "OutsidePools", where, fmt.Sprintf("%s. The Service keeps the address, and it is announced", o.Why),
				"Put the address into a pool. Or create the Service anew, or set reassign: true, to get another address"})
		}
	}
	if vips := service.VIPs(svc); len(vips) > 0 {
		problems = append(problems, f.endpointProblems(svc, where)...)
		for _, vip := range vips {
			problems = append(problems, f.announcementProblems(svc, where, vip)...)
		}
	}
	return problems
}

func (f *facts) waiting(where string, vips []netip.Addr, why, advice string) Problem {
	p := Problem{Error, "Waiting", where, "it waits for an address: " + why, cmp.Or(advice, "kubectl baremetal explain says of each pool why it gives no address")}
	if len(vips) > 0 {
		p.Severity, p.Reason, p.What = Warning, "Kept", "it keeps its address, and does not get what it asks for: "+why
	}
	return p
}

// vipsOf returns the addresses that a Service has, also if they are not in its status.
func (f *facts) vipsOf(svc *v1.Service) []netip.Addr {
	vips := service.VIPs(svc)
	if a := f.allocation(service.Name(svc)); a != nil {
		for _, addr := range a.Addresses {
			if !slices.Contains(vips, addr) {
				vips = append(vips, addr)
			}
		}
	}
	return vips
}

func (f *facts) endpointProblems(svc *v1.Service, where string) []Problem {
	endpoints := f.slices[service.Name(svc)]
	if f.Unread("EndpointSlices") != "" || service.HasEndpoint(endpoints) {
		return nil
	}
	what, do := "no pod of it is ready, so clients get no answer", "See whether the selector of the Service matches pods, and why they are not ready"
	if len(svc.Spec.Selector) == 0 {
		what, do = "it has no selector and no ready endpoint", "Write its EndpointSlices, or give it a selector"
	} else {
		do += fmt.Sprintf(": kubectl -n %s get pods -l %s", svc.Namespace, selectorText(svc.Spec.Selector))
	}
	return []Problem{{Error, "NoEndpoints", where, what, do}}
}

func selectorText(selector map[string]string) string {
	var texts []string
	for _, key := range slices.Sorted(maps.Keys(selector)) {
		texts = append(texts, key+"="+selector[key])
	}
	return strings.Join(texts, ",")
}

// announcementProblems are about one address of a Service.
func (f *facts) announcementProblems(svc *v1.Service, where string, vip netip.Addr) (problems []Problem) {
	d, by, ok := f.decision(vip)
	if !ok {
		return f.unseen(where, vip)
	}
	if owners := f.owners(vip); len(owners) > 1 {
		problems = append(problems, Problem{Error, "TwoOwners", where, fmt.Sprintf("%s is announced by %s at the same time", vip, nodes(owners)),
			"These speakers do not hear each other: open TCP and UDP 7946 and 7947 between the nodes. Or one of them does not reach the API server: read its log. See the problems about members"})
	}
	if f.isAdvertised(vip) {
		return problems // over BGP; if the pool has layer 2, too, the sessions and nodes say more
	}
	p := Problem{Severity: Error, Reason: d.Reason, Where: where}
	switch d.Reason {
	case reasonOwner:
		return append(problems, contested(d, by, where, vip)...)
	case reasonConflict:
		p.What = fmt.Sprintf("%s is not announced: a foreign host with the MAC address %s has it, as node %s sees", vip, d.Foreign, by)
		p.Do = "Find that host and remove the address from it, or take the address out of the pool"
	case reasonOtherOwner:
		return problems // the speaker of its owner was not read, which is another problem
	case reasonNoEndpoint:
		p.What = fmt.Sprintf("%s is not announced: externalTrafficPolicy is Local, and no node that may announce has a ready pod", vip)
		p.Do = "Run a pod on a node that may announce, or set externalTrafficPolicy: Cluster." + f.mayAnnounce(d)
	case reasonNoLink:
		p.What = fmt.Sprintf("%s is not announced: no node that may announce has a link for it", vip)
		if d.Network.IsValid() {
			p.What += fmt.Sprintf(" in its network %s", d.Network)
		}
		p.Do = "Check the links of the nodes, and the keys interfaces and node-selectors of the pool." + whyExcluded(d)
	case reasonNoCandidate:
		p.What = fmt.Sprintf("%s is not announced: no node may announce it", vip)
		p.Do = "Change what excludes the nodes." + whyExcluded(d)
	case reasonFenced:
		p.What = fmt.Sprintf("%s is not announced by any speaker that was read: all of them are fenced", vip)
		p.Do = "See the problems about members"
	case reasonNodeAddress:
		p.What, p.Do = fmt.Sprintf("%s is not announced: a node has it", vip), "Take the address out of the pool, or give the node another one"
	case reasonUnpublished:
		p.What, p.Do = fmt.Sprintf("%s is not announced: no pool has it, and the cluster manager has not given it to this Service", vip), "Put it into a pool, or remove it from the status"
	case reasonNotLayer2:
		p.Reason, p.What, p.Do = "NotAdvertised", fmt.Sprintf("%s is not advertised: %s", vip, f.whyNotAdvertised(vip)), "See the BGP sessions, and the reason of each node: kubectl baremetal explain "+service.Name(svc)
	default:
		return problems
	}
	return append(problems, p)
}

// unseen is about an address that no speaker knows.
func (f *facts) unseen(where string, vip netip.Addr) []Problem {
	for _, s := range f.Speakers {
		if s.Plan != nil && s.Plan.Problem == "" {
			return []Problem{{Warning, "NotSeen", where, fmt.Sprintf("the speakers do not know its address %s yet", vip),
				"Wait some seconds. If this stays: the flags --load-balancer-class and --default-load-balancer must be the same for the speakers and the cluster manager"}}
		}
	}
	return nil // no speaker was read, which is another problem
}

func contested(d debugapi.Decision, by, where string, vip netip.Addr) []Problem {
	if d.Foreign == "" {
		return nil
	}
	return []Problem{{Warning, "Contested", where, fmt.Sprintf("a foreign host with the MAC address %s also claims %s, as node %s sees", d.Foreign, vip, by), "Find that host and remove the address from it"}}
}

// owners returns the nodes whose speakers say that they announce a VIP by layer 2.
func (f *facts) owners(vip netip.Addr) (owners []string) {
	for node, d := range f.decisions[vip] {
		if d.Reason == reasonOwner {
			owners = append(owners, node)
		}
	}
	slices.Sort(owners)
	return owners
}

// isAdvertised reports whether a node with an established session advertises a VIP over BGP.
func (f *facts) isAdvertised(vip netip.Addr) bool { return len(f.advertisers(vip)) > 0 }

// advertisers returns the nodes that advertise a VIP over BGP to at least one router.
func (f *facts) advertisers(vip netip.Addr) (all []string) {
	for node, d := range f.decisions[vip] {
		if d.BGP == bgpAdvertised && len(f.speaker(node).BGP.Routers(vip)) > 0 {
			all = append(all, node)
		}
	}
	slices.Sort(all)
	return all
}

func (f *facts) whyNotAdvertised(vip netip.Addr) string {
	byReason := map[string][]string{}
	for node, d := range f.decisions[vip] {
		why := cmp.Or(bgpWords[d.BGP], d.BGP)
		byReason[why] = append(byReason[why], node)
	}
	var texts []string
	for _, why := range slices.Sorted(maps.Keys(byReason)) {
		slices.Sort(byReason[why])
		texts = append(texts, nodes(byReason[why])+": "+why)
	}
	return strings.Join(texts, "; ")
}

// bgpWords are the BGPReasons of the package plan in words.
var bgpWords = map[string]string{
	bgpAdvertised:     "no BGP session is established with a router that gets the route",
	"NoLocalEndpoint": "externalTrafficPolicy is Local, and the node has no ready pod",
	"Excluded":        "the node must not announce",
	"NotSelected":     "the node-selectors of the pool do not select the node",
	"NotReady":        "the node has started, and cannot send traffic to pods yet",
	"NoPeer":          "no peer is configured for the node",
	"Withheld":        "a foreign host has the address",
	"NoReadyEndpoint": "no pod is ready, and the pool has withdraw-without-endpoints",
}

// whyExcluded says why nodes are no candidates, as an own sentence; "" if that is unknown.
func whyExcluded(d debugapi.Decision) string {
	if len(d.Excluded) == 0 {
		return ""
	}
	var texts []string
	for i, e := range d.Excluded {
		if i == 3 {
			texts = append(texts, fmt.Sprintf("and %d more nodes", len(d.Excluded)+d.ExcludedOmitted-3))
			break
		}
		texts = append(texts, e.Node+": "+e.Why)
	}
	return " " + strings.Join(texts, "; ")
}

// mayAnnounce names the nodes that only lack a pod.
func (f *facts) mayAnnounce(d debugapi.Decision) string {
	var may []string
	for _, e := range d.Excluded {
		if strings.Contains(e.Why, "no ready endpoint") {
			may = append(may, e.Node)
		}
	}
	if len(may) == 0 {
		return ""
	}
	return " May announce: " + names(may)
}
