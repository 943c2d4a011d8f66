package plan

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
)

// builder elects the owners of one plan. Most VIPs have the same candidates, so it
// computes the candidates once for each group of VIPs.
type builder struct {
	State
	eligible []eligible // sorted by name
	segments []netip.Prefix
	groups   map[groupKey]*group
	previous map[groupKey]*group // the groups of the previous plan
}

// eligible is a member whose node may announce.
type eligible struct {
	Member
	labels map[string]string
}

// groupKey is everything that the candidates of a VIP depend on, apart from
// endpoints: the pool, and which of builder.segments hold the VIP.
type groupKey struct {
	pool     *config.Pool
	segments uint64 // a bit for each of builder.segments
}

// group is the candidates of all VIPs with the same key.
type group struct {
	// all are the nodes that may announce. preferred are those of them that are not
	// suppressed, or all of them if all are suppressed.
	all, preferred []string
	// links are the links of this node on which it would announce.
	links []string
	// linkless is set if a node could announce, but has no link for it.
	linkless bool
	// left and joined are the nodes that preferred has lost and gained since the
	// previous plan. They are nil without a previous group.
	left   map[string]bool
	joined []string
}

// maxSegments is the number of bits in groupKey.segments.
const maxSegments = 64

func newBuilder(s State, previous map[groupKey]*group) *builder {
	b := &builder{State: s, groups: map[groupKey]*group{}, previous: previous}
	nodes := make(map[string]Node, len(s.Nodes))
	for _, n := range s.Nodes {
		nodes[n.Name] = n
	}
	distinct := map[netip.Prefix]bool{}
	for _, m := range s.Members {
		if n, ok := nodes[m.Name]; ok && n.Excluded == "" {
			b.eligible = append(b.eligible, eligible{m, n.Labels})
		}
		if len(m.Segments) < 2 {
			continue // the member has no choice of links
		}
		for _, seg := range m.Segments {
			distinct[seg.IPv4.Masked()], distinct[seg.IPv6.Masked()] = true, true
		}
	}
	slices.SortFunc(b.eligible, func(x, y eligible) int { return cmp.Compare(x.Name, y.Name) })
	delete(distinct, netip.Prefix{})
	for p := range distinct {
		b.segments = append(b.segments, p)
	}
	slices.SortFunc(b.segments, netip.Prefix.Compare)
	b.segments = b.segments[:min(maxSegments, len(b.segments))]
	return b
}

// decide elects the owner of a VIP and completes the decision.
func (b *builder) decide(d *Decision, pool *config.Pool, local bool, services []Service, before ownership) (o ownership) {
	key := groupKey{pool, b.segmentsOf(d.VIP)}
	g := b.group(key)
	if local {
		d.Candidates = g.withEndpoints(services)
		d.Owner = election.Owner(d.VIP, d.Candidates)
	} else {
		d.Candidates = g.preferred
		d.Owner = g.owner(d.VIP, before, key)
		o = ownership{key, d.Owner}
	}
	switch {
	case b.Fenced != "":
		d.Reason = Fenced
	case d.Owner == b.Node:
		d.Reason, d.Links = Owner, g.links
		if d.Foreign = b.Conflicts[d.VIP]; d.Foreign != "" {
			d.Reason = Conflict
		}
		d.Rivals = b.rivals(d.VIP, pool)
	case d.Owner != "":
		d.Reason = OtherOwner
	case len(g.all) > 0:
		d.Reason = NoEndpoint
	case g.linkless:
		d.Reason = NoLink
	default:
		d.Reason = NoCandidate
	}
	return o
}

// segmentsOf returns which of b.segments hold a VIP.
func (b *builder) segmentsOf(vip netip.Addr) (set uint64) {
	for i, p := range b.segments {
		if p.Contains(vip) {
			set |= 1 << i
		}
	}
	return set
}

// isOn reports whether a link is on one of the segments in the set.
func (b *builder) isOn(seg Segment, set uint64) bool {
	for i, p := range b.segments {
		if set&(1<<i) != 0 && (seg.IPv4.Masked() == p || seg.IPv6.Masked() == p) {
			return true
		}
	}
	return false
}

// group returns the candidates for a key. It computes them the first time.
func (b *builder) group(key groupKey) *group {
	if g := b.groups[key]; g != nil {
		return g
	}
	g := &group{}
	b.groups[key] = g
	for _, m := range b.eligible {
		if !key.pool.Announces(m.labels) {
			continue
		}
		links, ok := b.linksFor(m.Member, key)
		if !ok {
			g.linkless = true
			continue
		}
		g.all = append(g.all, m.Name)
		if !m.Suppressed {
			g.preferred = append(g.preferred, m.Name)
		}
		if m.Name == b.Node {
			g.links = links
		}
	}
	if len(g.preferred) == 0 {
		g.preferred = g.all
	}
	g.compare(b.previous[key])
	return g
}

// linksFor returns the links on which a member would announce, and whether it can
// announce at all. If the member has a link on the VIP's own segment, that link
// must be alive.
func (b *builder) linksFor(m Member, key groupKey) (names []string, ok bool) {
	onSegment := false
	for _, seg := range m.Segments {
		if len(key.pool.Interfaces) > 0 && !slices.Contains(key.pool.Interfaces, seg.Link) {
			continue
		}
		if len(m.Segments) > 1 && b.isOn(seg, key.segments) {
			if !onSegment {
				onSegment, ok = true, false
			}
			ok = ok || !seg.Dead
		} else if !onSegment {
			ok = ok || !seg.Dead
		}
		if !seg.Dead {
			names = append(names, seg.Link)
		}
	}
	return names, ok
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

// withEndpoints returns the candidates that have an endpoint of one of the
// Services. It returns suppressed candidates only if no other candidate has one.
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

// rivals returns the lost members that would be elected before this node.
func (b *builder) rivals(vip netip.Addr, pool *config.Pool) (rivals []string) {
	for _, name := range b.Lost {
		i := slices.IndexFunc(b.Nodes, func(n Node) bool { return n.Name == name })
		if i >= 0 && b.Nodes[i].Excluded == "" && pool.Announces(b.Nodes[i].Labels) && election.Outranks(vip, name, b.Node) {
			rivals = append(rivals, name)
		}
	}
	return rivals
}
