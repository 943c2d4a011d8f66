package simulate

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

// world is a cluster with the plans of its speakers.
type world struct {
	nodes     []string // those with a state, sorted
	states    map[string]plan.State
	plans     map[string]plan.Plan
	decisions map[netip.Addr]map[string]plan.Decision // by node
	services  map[netip.Addr]bool
	endpoints map[string]map[string]Endpoints
}

func newWorld(states []plan.State, endpoints map[string]map[string]Endpoints) *world {
	w := &world{states: map[string]plan.State{}, plans: map[string]plan.Plan{}, decisions: map[netip.Addr]map[string]plan.Decision{}, services: map[netip.Addr]bool{}, endpoints: endpoints}
	for _, s := range states {
		p := plan.Make(s, plan.Plan{})
		w.nodes = append(w.nodes, s.Node)
		w.states[s.Node], w.plans[s.Node] = s, p
		for _, d := range p.Decisions {
			w.services[d.VIP] = true
			if w.decisions[d.VIP] == nil {
				w.decisions[d.VIP] = map[string]plan.Decision{}
			}
			w.decisions[d.VIP][s.Node] = d
		}
	}
	slices.Sort(w.nodes)
	return w
}

// serving returns how an address is served.
func (w *world) serving(vip netip.Addr) (s Serving) {
	for _, node := range w.nodes {
		d, ok := w.decisions[vip][node]
		if !ok || d.Withheld {
			continue
		}
		s.Pool = d.Pool
		if d.Reason == plan.Owner {
			s.Layer2 = append(s.Layer2, node)
		} else if _, asked := w.states[d.Owner]; d.Reason == plan.OtherOwner && !asked && !slices.Contains(s.Layer2, d.Owner) {
			s.Layer2 = append(s.Layer2, d.Owner) // its speaker was not asked, but the others agree on it
		}
		if d.BGP == plan.Advertised && w.hasSession(node) {
			s.BGP = append(s.BGP, node)
		}
	}
	if len(s.Layer2) == 0 {
		return s
	}
	slices.Sort(s.Layer2)
	d, ok := w.decisions[vip][s.Layer2[0]]
	if !ok { // the owner was not asked
		for _, d = range w.decisions[vip] {
			if d.Owner == s.Layer2[0] {
				break
			}
		}
	}
	if d.Spread == plan.Spreading || d.Spread == plan.OneCandidate {
		s.Slots = slots(d.Carriers)
	}
	return s
}

// hasSession reports whether the node has a BGP session. It is taken to have one if that is not
// known, because its speaker is fenced.
func (w *world) hasSession(node string) bool {
	s := w.states[node]
	i := slices.IndexFunc(s.Members, func(m plan.Member) bool { return m.Name == node })
	return i < 0 || s.Members[i].Advertises
}

// whyNot says why nobody announces an address.
func (w *world) whyNot(vip netip.Addr) string {
	nodes := slices.Clone(w.nodes)
	slices.SortStableFunc(nodes, func(a, b string) int { // a speaker that is fenced knows less
		return cmp.Compare(w.states[a].Fenced, w.states[b].Fenced)
	})
	for _, node := range nodes {
		if d, ok := w.decisions[vip][node]; ok {
			return strings.TrimPrefix(plan.Explain(w.states[node]).NotAnnounced(d), "is not announced: ")
		}
	}
	return ""
}

// servicesOf returns the Services that have an address.
func (w *world) servicesOf(vip netip.Addr) []string {
	for _, d := range w.decisions[vip] {
		return d.Services
	}
	return nil
}

// serviceOf returns a Service as one of the speakers sees it.
func (w *world) serviceOf(name string) (plan.Service, bool) {
	for _, node := range w.nodes {
		services := w.states[node].Services
		if i := slices.IndexFunc(services, func(s plan.Service) bool { return s.Name == name }); i >= 0 {
			return services[i], true
		}
	}
	return plan.Service{}, false
}

// hasEndpoint reports whether a Service has an endpoint, as far as is known.
func (w *world) hasEndpoint(name string) bool {
	if byNode, ok := w.endpoints[name]; ok {
		return total(byNode) > 0
	}
	if svc, ok := w.serviceOf(name); ok && svc.Local {
		return len(svc.EndpointNodes) > 0
	}
	return true
}

// endpointNodes returns the nodes with endpoints of a Service.
func (w *world) endpointNodes(name string) []string {
	if byNode, ok := w.endpoints[name]; ok {
		return slices.DeleteFunc(slices.Sorted(maps.Keys(byNode)), func(node string) bool { return node == "" || byNode[node].Ready == 0 })
	}
	svc, _ := w.serviceOf(name)
	return svc.EndpointNodes
}

// announces returns how many addresses a node announces by layer 2.
func (w *world) announces(node string) (n int) {
	for _, d := range w.plans[node].Decisions {
		if d.Reason == plan.Owner && !d.Withheld {
			n++
		}
	}
	return n
}

// alive returns the names of the members that may announce, as the speakers see them.
func (w *world) alive() []string {
	names := map[string]bool{}
	for _, s := range w.states {
		for _, m := range s.Members {
			names[m.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func list(names []string) string { return strings.Join(firstNames(names), ", ") }
