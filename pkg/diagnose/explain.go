package diagnose

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// Explanation says why Services or an address are as they are.
type Explanation struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Time       time.Time `json:"time"`
	// Address is set if an address was asked for.
	Address  *AddressFacts        `json:"address,omitempty"`
	Services []ServiceExplanation `json:"services"`
	// Problems are those of these Services, and those of the cluster that can be their cause.
	Problems []Problem `json:"problems"`
}

// AddressFacts is about an address that was asked for.
type AddressFacts struct {
	Address netip.Addr `json:"address"`
	// Pool is the pool that has it; empty for none.
	Pool string `json:"pool,omitempty"`
	// What says what it is, in a sentence.
	What string `json:"what"`
}

// ServiceExplanation is about one Service.
type ServiceExplanation struct {
	Name      string               `json:"name"`
	Summary   string               `json:"summary"`
	Wants     Wants                `json:"wants"`
	Endpoints Endpoints            `json:"endpoints"`
	Addresses []AddressExplanation `json:"addresses"`
	// Waiting is nil if the Service has what it asks for, or if that is not known.
	Waiting    *debugapi.Waiting `json:"waiting,omitempty"`
	Conditions []ConditionText   `json:"conditions"`
	Events     []string          `json:"events"`
}

// Wants is what a Service asks for.
type Wants struct {
	Class     string   `json:"class,omitempty"`
	Families  []string `json:"families"`
	Ports     []string `json:"ports"`
	Policy    string   `json:"externalTrafficPolicy"`
	Affinity  bool     `json:"sessionAffinity,omitempty"`
	Pool      string   `json:"pool,omitempty"`
	Addresses []string `json:"addresses,omitempty"`
	ShareKey  string   `json:"shareKey,omitempty"`
	Node      string   `json:"node,omitempty"`
	Spread    string   `json:"spread,omitempty"`
	// Problem says which of its annotations is wrong; empty for none.
	Problem string `json:"problem,omitempty"`
}

// Endpoints are the ready pods of a Service.
type Endpoints struct {
	// Unknown is set if the EndpointSlices could not be read. Then the rest is empty.
	Unknown bool `json:"unknown,omitempty"`
	Ready   int  `json:"ready"`
	// Nodes has how many each node has.
	Nodes map[string]int `json:"nodes"`
}

// AddressExplanation is about an address of a Service.
type AddressExplanation struct {
	Address  netip.Addr `json:"address"`
	InStatus bool       `json:"inStatus"`
	Pool     string     `json:"pool,omitempty"`
	Protocol string     `json:"protocol,omitempty"`
	// Owner is the node that announces it by layer 2; empty for none. WhyOwner says why.
	Owner    string              `json:"owner,omitempty"`
	WhyOwner string              `json:"whyOwner,omitempty"`
	Reason   string              `json:"reason,omitempty"`
	Links    []string            `json:"links,omitempty"`
	Excluded []debugapi.Excluded `json:"excluded,omitempty"`
	// ExcludedOmitted is how many more nodes are excluded.
	ExcludedOmitted int `json:"excludedOmitted,omitempty"`
	// Candidates are the first nodes that could announce it. CandidatesOmitted is how many more
	// there are.
	Candidates        []string `json:"candidates,omitempty"`
	CandidatesOmitted int      `json:"candidatesOmitted,omitempty"`
	// BGP says of each node whether it advertises the address.
	BGP []NodeBGP `json:"bgp,omitempty"`
	// Spread is empty if one node should carry all traffic.
	Spread   string             `json:"spread,omitempty"`
	Carriers []debugapi.Carrier `json:"carriers,omitempty"`
	// Clients says what clients see.
	Clients string `json:"clients"`
}

// NodeBGP is what a node does with an address over BGP.
type NodeBGP struct {
	Node string `json:"node"`
	// Reason is a BGPReason of the package plan.
	Reason string `json:"reason"`
	// Routers are the peers with an established session that get a route to the address.
	Routers []string `json:"routers"`
}

// ConditionText is a condition of a Service.
type ConditionText struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

func (f *facts) explanation() *Explanation {
	return &Explanation{APIVersion: debugapi.APIVersion, Kind: ExplanationKind, Time: f.Now.UTC(), Services: []ServiceExplanation{}}
}

// ExplainService explains the Service of that namespace/name. It returns an error if there is none, or if
// the Services could not be read.
func ExplainService(in *Input, name string) (*Explanation, error) {
	f := newFacts(in)
	i := slices.IndexFunc(in.Services, func(svc *v1.Service) bool { return service.Name(svc) == name })
	if why := in.Unread("Services"); i < 0 && why != "" {
		return nil, fmt.Errorf("the Services could not be read, so nothing is known about %s: %s", name, why)
	}
	if i < 0 {
		return nil, fmt.Errorf("there is no Service %s: check its name, and its namespace with -n", name)
	}
	e := f.explanation()
	e.Services = append(e.Services, f.explain(in.Services[i]))
	e.Problems = f.relevant(in.Services[i])
	return e, nil
}

// ExplainAddress explains an address, and all Services that have it.
func ExplainAddress(in *Input, addr netip.Addr) *Explanation {
	f := newFacts(in)
	e := f.explanation()
	var services []*v1.Service
	for _, svc := range f.ours() {
		if slices.Contains(f.vipsOf(svc), addr) {
			services = append(services, svc)
			e.Services = append(e.Services, f.explain(svc))
		}
	}
	e.Address = f.address(addr, len(services))
	e.Problems = f.relevant(services...)
	return e
}

// relevant returns the problems of the Services, and those of the cluster that can cause them.
func (f *facts) relevant(services ...*v1.Service) []Problem {
	var own, cluster []Problem
	for _, svc := range services {
		if problem, foreign := f.notOurs(svc); foreign {
			own = append(own, problem)
			continue
		}
		own = append(own, f.problemsOf(svc)...)
	}
	for _, p := range slices.Concat(f.unknown(), f.configProblems(), f.deadNodeProblems(), f.managerProblems(), f.memberProblems(), f.speakerProblems(), f.sessionProblems()) {
		if p.Reason != "ConfigWarning" && p.Reason != "ManagerNotReady" {
			cluster = append(cluster, p)
		}
	}
	return slices.Concat(byUrgency(own), byUrgency(cluster))
}

// notOurs returns a problem if a Service is not served.
func (f *facts) notOurs(svc *v1.Service) (p Problem, foreign bool) {
	where := "Service " + service.Name(svc)
	switch class := svc.Spec.LoadBalancerClass; {
	case svc.DeletionTimestamp != nil:
		return Problem{Warning, "Deleted", where, "it is being deleted", "Nothing. If it stays, see whether a cluster manager leads"}, true
	case f.Scope.Ours(svc):
		return Problem{}, false
	case svc.Spec.Type != v1.ServiceTypeLoadBalancer:
		return Problem{Error, "NotALoadBalancer", where, fmt.Sprintf("its type is %s, so it gets no address", svc.Spec.Type), "Set spec.type: LoadBalancer"}, true
	case class != nil:
		return Problem{Error, "OtherClass", where, fmt.Sprintf("its spec.loadBalancerClass is %q, and the programs serve %s", *class, strings.Join(quoted(f.Scope.Classes), ", ")),
			"If this project should serve it: create it anew with one of these classes, or add the class to --load-balancer-class of both programs"}, true
	}
	return Problem{Error, "NoClass", where, "it has no spec.loadBalancerClass, and the programs run with --default-load-balancer=false",
		"Create it anew with the class " + strings.Join(quoted(f.Scope.Classes), " or ")}, true
}

func quoted(all []string) (texts []string) {
	for _, text := range all {
		texts = append(texts, fmt.Sprintf("%q", text))
	}
	return texts
}

func (f *facts) explain(svc *v1.Service) ServiceExplanation {
	e := ServiceExplanation{Name: service.Name(svc), Wants: wants(svc), Endpoints: f.endpoints(svc), Addresses: []AddressExplanation{}, Conditions: []ConditionText{}, Events: f.eventsOf(svc)}
	for _, vip := range f.vipsOf(svc) {
		e.Addresses = append(e.Addresses, f.explainAddress(svc, vip))
	}
	if a := f.allocation(e.Name); a != nil {
		e.Waiting = a.Waiting
	}
	for _, c := range svc.Status.Conditions {
		e.Conditions = append(e.Conditions, ConditionText{c.Type, string(c.Status), c.Reason, c.Message})
	}
	e.Summary = f.summary(svc, e)
	return e
}

// summary says in a sentence how the Service is.
func (f *facts) summary(svc *v1.Service, e ServiceExplanation) string {
	problem, foreign := f.notOurs(svc)
	if foreign {
		return "It is not served: " + problem.What
	}
	for _, p := range byUrgency(f.problemsOf(svc)) {
		if p.Severity == Error {
			return "It does not work: " + p.What
		}
	}
	var texts []string
	for _, a := range e.Addresses {
		texts = append(texts, a.Address.String())
	}
	return "It works, as far as this shows: " + cmp.Or(strings.Join(texts, ", "), "no address")
}

func wants(svc *v1.Service) Wants {
	w := Wants{
		Families: []string{}, Ports: []string{}, Policy: string(cmp.Or(svc.Spec.ExternalTrafficPolicy, v1.ServiceExternalTrafficPolicyCluster)), Affinity: service.Sticky(svc),
		Pool: service.Pool(svc), ShareKey: service.ShareKey(svc), Node: service.PreferredNode(svc),
	}
	if svc.Spec.LoadBalancerClass != nil {
		w.Class = *svc.Spec.LoadBalancerClass
	}
	for _, family := range svc.Spec.IPFamilies {
		w.Families = append(w.Families, string(family))
	}
	for _, p := range svc.Spec.Ports {
		w.Ports = append(w.Ports, fmt.Sprintf("%d/%s", p.Port, cmp.Or(p.Protocol, v1.ProtocolTCP)))
	}
	addrs, err := service.RequestedAddrs(svc)
	for _, addr := range addrs {
		w.Addresses = append(w.Addresses, addr.String())
	}
	spread, spreadErr := service.Spread(svc)
	if spread != nil {
		w.Spread = fmt.Sprint(*spread)
	}
	if err = cmp.Or(err, spreadErr); err != nil {
		w.Problem = err.Error()
	}
	return w
}

func (f *facts) endpoints(svc *v1.Service) Endpoints {
	e := Endpoints{Unknown: f.Unread("EndpointSlices") != "", Nodes: service.EndpointCounts(f.slices[service.Name(svc)])}
	for _, n := range e.Nodes {
		e.Ready += n
	}
	return e
}
