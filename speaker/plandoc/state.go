package plandoc

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

// FromState returns a state as a document, without passwords. text and earlier are the texts of
// its configurations; empty for none.
func FromState(s plan.State, text, earlier string) (*debugapi.State, error) {
	d := &debugapi.State{
		Node: s.Node, NothingPublished: s.NothingPublished, NodeAddrs: s.NodeAddrs, CannotSpread: s.CannotSpread,
		Services: make([]debugapi.Service, 0, len(s.Services)), Nodes: make([]debugapi.Node, 0, len(s.Nodes)),
		Members: fromMembers(s.Members), Holders: fromMembers(s.Holders),
		Fenced: s.Fenced, Suppressed: s.Suppressed, Unready: s.Unready, Conflicts: s.Conflicts, Addrs: s.Addrs,
	}
	var err error
	if d.Config, err = redact(text); err != nil {
		return nil, err
	}
	if d.Earlier, err = redact(earlier); err != nil {
		return nil, err
	}
	if len(s.Orphans) > 0 {
		orphans, err := fromOrphans(s.Orphans)
		if err != nil {
			return nil, err
		}
		d.Orphans = orphans
	}
	for _, svc := range s.Services {
		d.Services = append(d.Services, fromService(svc))
	}
	for _, n := range s.Nodes {
		d.Nodes = append(d.Nodes, debugapi.Node(n))
	}
	for name, networks := range s.Networks {
		if d.Networks == nil {
			d.Networks = map[string][]debugapi.NodeNetwork{}
		}
		d.Networks[name] = each(networks, func(n plan.NodeNetwork) debugapi.NodeNetwork { return debugapi.NodeNetwork(n) })
	}
	d.Interfaces = each(s.Interfaces, func(i plan.Interface) debugapi.Interface { return debugapi.Interface(i) })
	for name, r := range s.Routers {
		if d.Routers == nil {
			d.Routers = map[string]debugapi.Router{}
		}
		d.Routers[name] = debugapi.Router{Link: r.Link, Direct: r.Direct, Unready: r.Unready}
	}
	return d, nil
}

// ToState returns the state of a document. Passwords are missing or wrong in it.
func ToState(d *debugapi.State) (plan.State, error) {
	s := plan.State{
		Node: d.Node, NothingPublished: d.NothingPublished, NodeAddrs: d.NodeAddrs, CannotSpread: d.CannotSpread,
		Members: toMembers(d.Members), Holders: toMembers(d.Holders),
		Fenced: d.Fenced, Suppressed: d.Suppressed, Unready: d.Unready, Conflicts: d.Conflicts, Addrs: d.Addrs,
	}
	var err error
	if s.Config, err = parse(d.Config); err != nil {
		return plan.State{}, fmt.Errorf("reading the configuration of node %s: %w", d.Node, err)
	}
	if s.Earlier, err = parse(d.Earlier); err != nil {
		return plan.State{}, fmt.Errorf("reading the earlier configuration of node %s: %w", d.Node, err)
	}
	orphans, err := config.DecodeOrphans(d.Orphans)
	if err != nil {
		return plan.State{}, fmt.Errorf("reading the state of node %s: %w", d.Node, err)
	}
	for _, o := range orphans {
		if s.Orphans == nil {
			s.Orphans = map[netip.Addr]*config.Pool{}
		}
		s.Orphans[o.Addr] = o.Pool
	}
	for _, svc := range d.Services {
		s.Services = append(s.Services, toService(svc))
	}
	s.Nodes = each(d.Nodes, func(n debugapi.Node) plan.Node { return plan.Node(n) })
	for name, networks := range d.Networks {
		if s.Networks == nil {
			s.Networks = map[string][]plan.NodeNetwork{}
		}
		s.Networks[name] = each(networks, func(n debugapi.NodeNetwork) plan.NodeNetwork { return plan.NodeNetwork(n) })
	}
	s.Interfaces = each(d.Interfaces, func(i debugapi.Interface) plan.Interface { return plan.Interface(i) })
	for name, r := range d.Routers {
		if s.Routers == nil {
			s.Routers = map[string]plan.Router{}
		}
		s.Routers[name] = plan.Router{Link: r.Link, Direct: r.Direct, Unready: r.Unready}
	}
	return s, nil
}

func redact(text string) (string, error) {
	redacted, err := config.Redact([]byte(text))
	return string(redacted), err
}

func parse(text string) (*config.Config, error) {
	if text == "" {
		return nil, nil
	}
	return config.Parse([]byte(text))
}

func fromOrphans(byAddr map[netip.Addr]*config.Pool) ([]byte, error) {
	orphans := make([]config.Orphan, 0, len(byAddr))
	for addr, pool := range byAddr {
		orphans = append(orphans, config.Orphan{Addr: addr, Pool: pool})
	}
	slices.SortFunc(orphans, func(a, b config.Orphan) int {
		return cmp.Or(cmp.Compare(a.Pool.Name, b.Pool.Name), a.Addr.Compare(b.Addr))
	})
	return config.EncodeOrphans(orphans)
}

func fromService(s plan.Service) debugapi.Service {
	return debugapi.Service{
		Name: s.Name, VIPs: s.VIPs, Ports: each(s.Ports, func(p plan.Port) debugapi.Port { return debugapi.Port(p) }), Local: s.Local,
		EndpointNodes: s.EndpointNodes, Endpointless: s.Endpointless, Sticky: s.Sticky, Withheld: s.Withheld, Preferred: s.Preferred,
		Spread: s.Spread, Endpoints: s.Endpoints,
	}
}

func toService(s debugapi.Service) plan.Service {
	return plan.Service{
		Name: s.Name, VIPs: s.VIPs, Ports: each(s.Ports, func(p debugapi.Port) plan.Port { return plan.Port(p) }), Local: s.Local,
		EndpointNodes: s.EndpointNodes, Endpointless: s.Endpointless, Sticky: s.Sticky, Withheld: s.Withheld, Preferred: s.Preferred,
		Spread: s.Spread, Endpoints: s.Endpoints,
	}
}

func fromMembers(all []plan.Member) []debugapi.PlanMember {
	return each(all, func(m plan.Member) debugapi.PlanMember {
		return debugapi.PlanMember{Name: m.Name, Suppressed: m.Suppressed, Advertises: m.Advertises, Spreads: m.Spreads, HandsOn: m.HandsOn, HasRules: m.HasRules,
			Segments: each(m.Segments, func(s plan.Segment) debugapi.Segment { return debugapi.Segment(s) })}
	})
}

func toMembers(all []debugapi.PlanMember) []plan.Member {
	return each(all, func(m debugapi.PlanMember) plan.Member {
		return plan.Member{Name: m.Name, Suppressed: m.Suppressed, Advertises: m.Advertises, Spreads: m.Spreads, HandsOn: m.HandsOn, HasRules: m.HasRules,
			Segments: each(m.Segments, func(s debugapi.Segment) plan.Segment { return plan.Segment(s) })}
	})
}

// each returns the results of a function for all elements; nil for none.
func each[A, B any](all []A, f func(A) B) []B {
	if len(all) == 0 {
		return nil
	}
	results := make([]B, len(all))
	for i, a := range all {
		results[i] = f(a)
	}
	return results
}
