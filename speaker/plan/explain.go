package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// Exclusion is a node that does not announce a VIP, and why.
type Exclusion struct{ Node, Why string }

// Explainer says in words why a plan is as it is.
type Explainer struct {
	b       *builder
	members map[string]Member
	byVIP   map[netip.Addr][]Service
}

// Explain returns an Explainer of the plan for a state.
func Explain(s State) *Explainer {
	e := &Explainer{b: newBuilder(s, Plan{}), members: map[string]Member{}, byVIP: map[netip.Addr][]Service{}}
	for _, m := range s.Members {
		e.members[m.Name] = m
	}
	for _, svc := range s.Services {
		for _, vip := range svc.VIPs {
			e.byVIP[vip] = append(e.byVIP[vip], svc)
		}
	}
	return e
}

// Protocol returns how a VIP is announced; "" if it must not be announced.
func (e *Explainer) Protocol(vip netip.Addr) config.Protocol {
	pool, refused := e.b.poolOf(vip)
	if refused != "" {
		return ""
	}
	return pool.Protocol
}

// Excluded returns the nodes that are not candidates for the VIP of a decision, in the order of
// the State. For a pool that uses BGP alone these are the nodes that do not advertise it.
func (e *Explainer) Excluded(d Decision) (excluded []Exclusion) {
	pool, refused := e.b.poolOf(d.VIP)
	if refused != "" {
		return nil
	}
	services := e.byVIP[d.VIP]
	for _, n := range e.b.Nodes {
		if slices.Contains(d.Candidates, n.Name) {
			continue
		}
		if why := e.whyNot(n, d, pool, services); why != "" {
			excluded = append(excluded, Exclusion{n.Name, why})
		}
	}
	return excluded
}

// whyNot says why a node is not a candidate; "" if nothing speaks against it.
func (e *Explainer) whyNot(n Node, d Decision, pool *config.Pool, services []Service) string {
	if !pool.Announces(n.Labels) {
		return fmt.Sprintf("the node-selectors of pool %q do not select it", pool.Name)
	}
	if why := n.excludedFrom(pool); why != "" {
		return why
	}
	m, heard := e.members[n.Name]
	switch {
	case !heard && n.Name == e.b.Node && e.b.Fenced != "":
		return "it is fenced: " + e.b.Fenced
	case !heard:
		return "its speaker does not run, is not heard, or is fenced"
	}
	if pool.Protocol.Layer2() {
		if why := e.whyNotLayer2(m, d, pool); why != "" {
			return why
		}
	}
	if allLocal(services) && !slices.ContainsFunc(services, func(s Service) bool { return slices.Contains(s.EndpointNodes, n.Name) }) {
		return "the traffic policy is Local, and it has no ready endpoint"
	}
	switch {
	case !pool.Protocol.Layer2() && !m.Advertises:
		return "it has no established BGP session"
	case !pool.Protocol.Layer2():
		return ""
	case m.Suppressed:
		return "it is suppressed: it failed too often, came back a short time ago, or is not ready for traffic yet"
	case d.Spread != "" && !m.Spreads:
		return "it cannot spread flows, and other nodes can"
	case len(pool.PreferredNodes) > 0 && !pool.Prefers(n.Labels):
		return "the pool prefers other nodes (preferred-nodes)"
	}
	return ""
}

// whyNotLayer2 says why the links of a member do not fit; "" if they do.
func (e *Explainer) whyNotLayer2(m Member, d Decision, pool *config.Pool) string {
	key := groupKey{pool: pool, network: d.Network}
	if len(e.b.linksFor(m, key)) > 0 {
		return ""
	}
	why := "it has no link that can be used"
	if len(pool.Interfaces) > 0 {
		why = "it has none of the pool's interfaces " + strings.Join(pool.Interfaces, ", ")
	}
	if d.Network.IsValid() {
		why += fmt.Sprintf(" in the network %s of the address", d.Network)
	}
	for _, seg := range m.Segments {
		if seg.Dead {
			return why + fmt.Sprintf("; it is not heard on its link %s", seg.Link)
		}
	}
	return why
}

// WhyOwner says why the owner of a decision is the owner; "" without an owner.
func (e *Explainer) WhyOwner(d Decision) string {
	pool, refused := e.b.poolOf(d.VIP)
	switch {
	case d.Owner == "" || refused != "":
		return ""
	case slices.ContainsFunc(e.byVIP[d.VIP], func(s Service) bool { return s.Preferred == d.Owner }):
		return "the Service prefers it"
	case len(d.Candidates) == 1:
		return "it is the only candidate"
	case len(pool.PreferredNodes) > 0 && pool.Prefers(e.b.nodes[d.Owner].Labels):
		return fmt.Sprintf("the pool prefers it, and it has the highest weight of %d such candidates", len(d.Candidates))
	}
	return fmt.Sprintf("it has the highest weight of %d candidates", len(d.Candidates))
}

// NotAnnounced says why no node announces the VIP of a decision, as in "is not announced: …"; ""
// if a node does.
func (e *Explainer) NotAnnounced(d Decision) string {
	services := e.byVIP[d.VIP]
	if len(services) == 0 {
		return ""
	}
	a := &advertisers{State: &e.b.State, everywhere: map[*config.Pool]counts{}}
	ok, _, text := a.describeVIP(&d, services[0], &Announcement{})
	if ok {
		return ""
	}
	return text
}
