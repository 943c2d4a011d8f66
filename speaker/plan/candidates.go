package plan

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
)

// builder elects the owners of one plan. Most VIPs have the same candidates, so it
// computes the candidates once for each group of VIPs.
type builder struct {
	State
	nodes    map[string]Node
	members  []Member // those that have a Node, sorted by name
	networks map[*config.Pool]*networks
	groups   map[groupKey]*group
	previous Plan

	// The rest is about VIPs that are spread; see spread.go.
	holders   []Member // those that have a Node, sorted by name, as soon as they are needed
	spread    []Spread
	divisions map[divisionKey]*division
	scores    map[election.Share]*[election.Slots]uint64
}

// groupKey is everything that the candidates of a VIP depend on, apart from endpoints: the
// pool, and the smallest network that holds the VIP; the zero value for none. Every network
// that holds the VIP holds that one, too.
type groupKey struct {
	pool    *config.Pool
	network netip.Prefix
	// spread is the number of bits of a VIP that should be spread; 0 for other VIPs. The
	// candidates for such a VIP need an address of its family.
	spread int
}

// group is the candidates of all VIPs with the same key.
type group struct {
	// all are the nodes that may announce. fit are those of them that are not suppressed, or
	// all if all are suppressed. preferred are those of the fit nodes that the pool prefers,
	// or all fit nodes if it prefers none of them.
	//
	// If the VIPs should be spread, and any fit node can spread, the others are not fit.
	all, fit, preferred []string
	// healthy are the nodes that would be fit if no VIP should be spread.
	healthy []string
	// reach is how the nodes reach each other, if the VIPs should be spread.
	reach reach
	// links are the links of this node on which it would announce.
	links []string
	// linkless is set if a node could announce, but has no link for it.
	linkless bool
	// left and joined are the nodes that preferred has lost and gained since the
	// previous plan. They are nil without a previous group.
	left   map[string]bool
	joined []string
}

func newBuilder(s State, previous Plan) *builder {
	b := &builder{
		State: s, nodes: make(map[string]Node, len(s.Nodes)), networks: map[*config.Pool]*networks{}, groups: map[groupKey]*group{}, previous: previous,
		divisions: map[divisionKey]*division{}, scores: map[election.Share]*[election.Slots]uint64{},
	}
	for _, n := range s.Nodes {
		b.nodes[n.Name] = n
	}
	b.members = b.withNode(s.Members)
	return b
}

// withNode returns the members that have a Node, sorted by name.
func (b *builder) withNode(all []Member) (members []Member) {
	for _, m := range all {
		if _, ok := b.nodes[m.Name]; ok {
			members = append(members, m)
		}
	}
	slices.SortFunc(members, func(x, y Member) int { return cmp.Compare(x.Name, y.Name) })
	return members
}

// decide elects the owner of a VIP and completes the decision.
func (b *builder) decide(d *Decision, pool *config.Pool, local bool, services []Service, before ownership) (o ownership) {
	key := groupKey{pool: pool, network: b.networksOf(pool).holding(d.VIP)}
	if d.Spread == Spreading {
		key.spread = d.VIP.BitLen()
	}
	d.Network = key.network
	g := b.group(key)
	fit := g.fit
	if local {
		fit = g.reach.narrow(withEndpoints(services, g.fit, g.healthy, g.all))
		d.Candidates = withEndpoints(services, g.preferred, fit)
		d.Owner = election.Owner(d.VIP, d.Candidates)
	} else {
		d.Candidates = g.preferred
		d.Owner = g.owner(d.VIP, before, key)
		o = ownership{key, d.Owner}
	}
	if name := asked(services, fit); name != "" {
		d.Owner, d.Candidates = name, fit
	}
	switch {
	case b.Fenced != "":
		d.Reason = Fenced
	case d.Owner == b.Node:
		d.Reason, d.Links = Owner, g.links
		if d.Foreign = b.Conflicts[d.VIP]; d.Foreign != "" {
			d.Reason = Conflict
		}
		d.DespiteConflicts = pool.AnnounceConflicts
	case d.Owner != "":
		d.Reason = OtherOwner
	case len(g.all) > 0:
		d.Reason = NoEndpoint
	case g.linkless:
		d.Reason = NoLink
	default:
		d.Reason = NoCandidate
	}
	if key.spread > 0 {
		b.divide(d, g, fit, local, services)
	}
	return o
}

// asked returns the node that one of the Services prefers, if it is fit; "" for none. The pool
// may prefer other nodes.
func asked(services []Service, candidates []string) string {
	for _, svc := range services {
		if svc.Preferred != "" && slices.Contains(candidates, svc.Preferred) {
			return svc.Preferred
		}
	}
	return ""
}

// group returns the candidates for a key. It computes them the first time.
func (b *builder) group(key groupKey) *group {
	if g := b.groups[key]; g != nil {
		return g
	}
	g := &group{}
	b.groups[key] = g
	for _, m := range b.members {
		n := b.nodes[m.Name]
		if !key.pool.Announces(n.Labels) || n.excludedFrom(key.pool) != "" {
			continue
		}
		links := b.linksFor(m, key)
		if len(links) == 0 {
			g.linkless = true
			continue
		}
		g.all = append(g.all, m.Name)
		if !m.Suppressed {
			g.fit = append(g.fit, m.Name)
		}
		if m.Name == b.Node {
			g.links = links
		}
	}
	if len(g.fit) == 0 {
		g.fit = g.all
	}
	g.healthy = g.fit
	if key.spread > 0 {
		g.reach = b.reach(key)
		g.fit = g.reach.narrow(g.fit)
	}
	for _, name := range g.fit {
		if key.pool.Prefers(b.nodes[name].Labels) {
			g.preferred = append(g.preferred, name)
		}
	}
	if len(g.preferred) == 0 {
		g.preferred = g.fit
	}
	g.compare(b.previous.groups[key])
	return g
}

// linksFor returns the links on which a member would announce; none if it cannot. If any
// node that the pool allows has a link on the VIP's own network, only such links count.
// Hosts of that network ask there. On another link their answers could be dropped by
// rp_filter (RFC 3704), or hosts could not ask at all. A link with a wider network counts only
// for a node that does not know the VIP's own network.
func (b *builder) linksFor(m Member, key groupKey) (names []string) {
	for seg := range b.segmentsFor(m, key) {
		names = append(names, seg.Link)
	}
	return names
}

func (b *builder) segmentsFor(m Member, key groupKey) iter.Seq[*Segment] {
	return func(yield func(*Segment) bool) {
		knows := b.knows(m, key)
		for i := range m.Segments {
			seg := &m.Segments[i]
			if seg.Dead || !onInterfaces(key.pool, seg.Link) || key.network.IsValid() && !seg.isOn(key.network, !knows) && !b.isChosen(m, seg.Link, key) {
				continue
			}
			if !yield(seg) {
				return
			}
		}
	}
}

// isChosen reports whether the pool names a link that is connected to the VIP's own network,
// although the kernel of the member sends to this network over another link.
func (b *builder) isChosen(m Member, link string, key groupKey) bool {
	return len(key.pool.Interfaces) > 0 && slices.Contains(b.Networks[m.Name], NodeNetwork{Link: link, Network: key.network})
}

// knows reports whether a member has a link on the VIP's own network, also if it is down.
func (b *builder) knows(m Member, key groupKey) bool {
	return slices.ContainsFunc(m.Segments, func(s Segment) bool { return onInterfaces(key.pool, s.Link) && s.isOn(key.network, false) }) ||
		slices.ContainsFunc(b.Networks[m.Name], func(n NodeNetwork) bool { return onInterfaces(key.pool, n.Link) && n.Network == key.network })
}

// isOn reports whether the link is on a network, or if wider is set, on one that holds it.
func (s Segment) isOn(network netip.Prefix, wider bool) bool {
	return slices.ContainsFunc(s.Networks, func(n netip.Prefix) bool {
		return n == network || wider && n.Bits() < network.Bits() && n.Contains(network.Addr())
	})
}

func onInterfaces(pool *config.Pool, link string) bool {
	return len(pool.Interfaces) == 0 || slices.Contains(pool.Interfaces, link)
}

// compare computes what changed since the previous plan.
func (g *group) compare(previous *group) {
	if previous == nil {
		return
	}
	now := make(map[string]bool, len(g.preferred))
	for _, name := range g.preferred {
		now[name] = true
	}
	g.left = map[string]bool{}
	for _, name := range previous.preferred {
		if !now[name] {
			g.left[name] = true
		}
		delete(now, name)
	}
	for name := range now {
		g.joined = append(g.joined, name)
	}
}

// owner elects the owner of a VIP. If the owner of the previous plan is still a
// candidate, it still outranks all candidates of that time. Only candidates that
// joined can outrank it.
func (g *group) owner(vip netip.Addr, before ownership, key groupKey) string {
	if g.left == nil || before.owner == "" || before.group != key || g.left[before.owner] {
		return election.Owner(vip, g.preferred)
	}
	owner := before.owner
	for _, name := range g.joined {
		if election.Outranks(vip, name, owner) {
			owner = name
		}
	}
	return owner
}

// withEndpoints returns the candidates that have an endpoint of one of the Services, from the
// first list that has such a candidate.
func withEndpoints(services []Service, lists ...[]string) []string {
	var local []string
	for _, svc := range services {
		local = append(local, svc.EndpointNodes...)
	}
	for _, candidates := range lists {
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
