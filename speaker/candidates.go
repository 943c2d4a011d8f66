package speaker

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
)

// maker makes one plan.
type maker struct {
	State
	speakers []eligible // sorted by name
	prefixes []netip.Prefix
	groups   map[groupKey]*group
	before   map[groupKey]*group // of the last plan
}

// eligible is a node that may announce and whose speaker can.
type eligible struct {
	Member
	labels map[string]string
}

// groupKey is what the candidates of an address depend on, if not on endpoints:
// its pool, and on which of the speakers' segments it lies.
type groupKey struct {
	pool     *config.Pool
	segments uint64
}

// group is the candidates for all addresses of one key.
type group struct {
	// all may announce; preferred are those that are not held, or all if all are.
	all, preferred []string
	// links are this node's links on which it would announce.
	links []string
	// linkless is set when somebody might announce if it had a link.
	linkless bool
	// gone and come are how preferred differs from that of the last plan.
	gone map[string]bool
	come []string
}

func newMaker(s State, before map[groupKey]*group) *maker {
	m := &maker{State: s, groups: map[groupKey]*group{}, before: before}
	nodes := make(map[string]Node, len(s.Nodes))
	for _, n := range s.Nodes {
		nodes[n.Name] = n
	}
	distinct := map[netip.Prefix]bool{}
	for _, sp := range s.Members {
		if n, ok := nodes[sp.Name]; ok && n.Excluded == "" {
			m.speakers = append(m.speakers, eligible{sp, n.Labels})
		}
		if len(sp.Links) < 2 {
			continue // its only link is the right one, whatever its segment
		}
		for _, l := range sp.Links {
			distinct[l.IPv4.Masked()], distinct[l.IPv6.Masked()] = true, true
		}
	}
	slices.SortFunc(m.speakers, func(a, b eligible) int { return cmp.Compare(a.Name, b.Name) })
	delete(distinct, netip.Prefix{})
	for p := range distinct {
		m.prefixes = append(m.prefixes, p)
	}
	slices.SortFunc(m.prefixes, netip.Prefix.Compare)
	m.prefixes = m.prefixes[:min(64, len(m.prefixes))]
	return m
}

// segments returns a set of those of m.prefixes that hold vip.
func (m *maker) segments(vip netip.Addr) (set uint64) {
	for i, p := range m.prefixes {
		if p.Contains(vip) {
			set |= 1 << i
		}
	}
	return set
}

// on reports whether a link is on one of the segments of a set.
func (m *maker) on(l Link, set uint64) bool {
	for i, p := range m.prefixes {
		if set&(1<<i) != 0 && (l.IPv4.Masked() == p || l.IPv6.Masked() == p) {
			return true
		}
	}
	return false
}

func (m *maker) group(key groupKey) *group {
	if g := m.groups[key]; g != nil {
		return g
	}
	g := &group{}
	m.groups[key] = g
	for _, sp := range m.speakers {
		if key.pool != nil && !key.pool.Announces(sp.labels) {
			continue
		}
		links, ok := m.linksFor(sp.Member, key)
		if !ok {
			g.linkless = true
			continue
		}
		g.all = append(g.all, sp.Name)
		if !sp.Held {
			g.preferred = append(g.preferred, sp.Name)
		}
		if sp.Name == m.Node {
			g.links = links
		}
	}
	if len(g.preferred) == 0 {
		g.preferred = g.all
	}
	g.compare(m.before[key])
	return g
}

// linksFor returns the links on which a speaker would announce, and whether it
// can: on the segment of the address, if it has a link there, it must be heard.
func (m *maker) linksFor(sp Member, key groupKey) (names []string, ok bool) {
	there := false
	for _, l := range sp.Links {
		if key.pool != nil && len(key.pool.Interfaces) > 0 && !slices.Contains(key.pool.Interfaces, l.Name) {
			continue
		}
		if len(sp.Links) > 1 && m.on(l, key.segments) {
			if !there {
				there, ok = true, false
			}
			ok = ok || !l.Dead
		} else if !there {
			ok = ok || !l.Dead
		}
		if !l.Dead {
			names = append(names, l.Name)
		}
	}
	return names, ok
}

func (g *group) compare(before *group) {
	if before == nil {
		return
	}
	now := make(map[string]bool, len(g.preferred))
	for _, name := range g.preferred {
		now[name] = true
	}
	g.gone = map[string]bool{}
	for _, name := range before.preferred {
		if !now[name] {
			g.gone[name] = true
		}
		delete(now, name)
	}
	for name := range now {
		g.come = append(g.come, name)
	}
}

// owner elects from all of the group. Who was elected in the last plan from the
// same group is still before all that were there then.
func (g *group) owner(vip netip.Addr, before ownership, key groupKey) string {
	if g.gone == nil || before.owner == "" || before.group != key || g.gone[before.owner] {
		return election.Owner(vip, g.preferred)
	}
	owner := before.owner
	for _, name := range g.come {
		if election.Outranks(vip, name, owner) {
			owner = name
		}
	}
	return owner
}

// withEndpoints are those of the group that have an endpoint of one of the
// Services.
func (g *group) withEndpoints(services []Service) []string {
	var local []string
	for _, svc := range services {
		local = append(local, svc.EndpointNodes...)
	}
	for _, candidates := range [][]string{g.preferred, g.all} {
		var both []string
		for _, name := range candidates {
			if slices.Contains(local, name) {
				both = append(both, name)
			}
		}
		if len(both) > 0 {
			return both
		}
	}
	return nil
}

// rivals are the lost speakers that would be elected before this node.
func (m *maker) rivals(vip netip.Addr, pool *config.Pool) (rivals []string) {
	for _, name := range m.Lost {
		i := slices.IndexFunc(m.Nodes, func(n Node) bool { return n.Name == name })
		if i >= 0 && m.Nodes[i].Excluded == "" && (pool == nil || pool.Announces(m.Nodes[i].Labels)) && election.Outranks(vip, name, m.Node) {
			rivals = append(rivals, name)
		}
	}
	return rivals
}
