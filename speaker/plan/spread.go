package plan

import (
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
)

// One node answers ARP and NDP for a VIP, so all frames of its clients reach that node. If the
// VIP is spread, the node keeps only a part of the flows, and hands each other flow to the node
// that carries it. The hash of a flow gives one of 256 slots. Each slot has an order of the
// nodes, see election.SlotOrder, and the first of them that may carry flows does.
//
// A slot moves when a node comes, goes or may carry flows no longer. Then the new carrier gets
// segments of TCP connections that it does not know. It hands them on around the ring of the
// slot: the first nodes in the same order, among all nodes that may have connections. The previous
// carrier is one of them, and no speaker needs to remember it.

// SpreadReason says in one word whether several nodes carry the flows of a VIP, or why not.
// The empty reason means that neither its pool nor a Service asks for it.
type SpreadReason string

// The reasons of spread VIPs.
const (
	Spreading       SpreadReason = "Spread"        // several nodes carry its flows
	NotCapable      SpreadReason = "NotCapable"    // no candidate can spread
	OneCandidate    SpreadReason = "OneCandidate"  // only one node may carry flows
	MixedPolicies   SpreadReason = "MixedPolicies" // Services with the policies Local and Cluster share it
	SpreadNotLayer2 SpreadReason = "NotLayer2"     // the pool uses BGP alone
	NoOwner         SpreadReason = "NoOwner"       // no node announces it by layer 2
)

// Carrier is a node that carries flows of a VIP.
type Carrier struct {
	Node  string
	Slots int // how many slots it has
}

// Spread is what this node does with the flows of a VIP that come in on a link.
type Spread struct {
	VIP  netip.Addr
	Link string
	// ByAddress is set if all flows of a client must reach the same node. The slot then depends
	// on the client's address alone.
	ByAddress bool
	// Slots is the same pointer for all VIPs with the same link, carriers and holders.
	Slots *SlotTable
}

// spreadWish returns Spreading if the VIP should be spread and its Services allow that, the
// reason if they do not, and "" if it should not be spread. If one of the Services that share
// the VIP does not want it, the VIP is not spread.
func spreadWish(pool *config.Pool, services []Service) SpreadReason {
	wanted := pool.Spread
	for _, svc := range services {
		if svc.Spread == nil {
			continue
		}
		if !*svc.Spread {
			return ""
		}
		wanted = true
	}
	switch {
	case !wanted:
		return ""
	case !pool.Protocol.Layer2():
		return SpreadNotLayer2
	case slices.ContainsFunc(services, func(s Service) bool { return s.Local != services[0].Local }):
		return MixedPolicies
	}
	return Spreading
}

// reach is how the holders reach each other for the VIPs of a group.
type reach struct {
	// home is for each holder the first subnet in which it has an address.
	home map[string]*subnet
	// able are the holders that have a home and can hand flows on.
	able map[string]bool
	// own are this node's links.
	own []ownLink
}

type ownLink struct {
	name   string
	subnet *subnet
}

// subnet is the holders that have an address in the same network. They reach each other
// without a router.
type subnet struct {
	holders []holder // sorted by name
	// self is the place of this node among the holders; -1 if it is not one of them.
	self int
	// id has the names and addresses of the holders.
	id string
	// cluster are the roles for the policy Cluster if no holder is absent, as soon as they are needed.
	cluster string
}

type holder struct {
	name string
	addr netip.Addr
	// able holders can carry flows. inRing holders can hand segments on. selected holders are those that the pool's node-selectors
	// select.
	able, inRing, selected bool
	// hasRules are the VIPs for which its kernel hands segments on; nil for all.
	hasRules map[netip.Addr]bool
}

// isAbsent reports whether the kernel of a holder hands segments on, but has no rules for the VIP.
func (h holder) isAbsent(vip netip.Addr) bool {
	return h.inRing && h.hasRules != nil && !h.hasRules[vip]
}

// reach computes how the holders reach each other. A holder that may not announce now counts,
// too: it still has connections.
func (b *builder) reach(key groupKey) reach {
	if b.holders == nil {
		b.holders = b.withNode(b.Holders)
	}
	r := reach{home: map[string]*subnet{}, able: map[string]bool{}}
	byNetwork := map[netip.Prefix]*subnet{}
	for _, m := range b.holders {
		for seg := range b.segmentsFor(m, key) {
			p := seg.IPv4
			if key.spread == 128 {
				p = seg.IPv6
			}
			if !p.IsValid() || p.IsSingleIP() {
				continue
			}
			s := byNetwork[p.Masked()]
			if s == nil {
				s = &subnet{self: -1}
				byNetwork[p.Masked()] = s
			}
			if n := len(s.holders); n == 0 || s.holders[n-1].name != m.Name {
				selected := key.pool.Announces(b.nodes[m.Name].Labels)
				s.add(holder{name: m.Name, addr: p.Addr(), able: m.Spreads, inRing: m.Spreads || m.HandsOn, selected: selected, hasRules: m.HasRules}, m.Name == b.Node)
			}
			if r.home[m.Name] == nil {
				r.home[m.Name], r.able[m.Name] = s, m.Spreads
			}
			if m.Name == b.Node {
				r.own = append(r.own, ownLink{seg.Link, s})
			}
		}
	}
	return r
}

// isStarting reports whether this node may hand segments on, but does not say yet that it can spread.
func (s *subnet) isStarting() bool {
	return s.self >= 0 && s.holders[s.self].inRing && !s.holders[s.self].able
}

func (s *subnet) add(h holder, self bool) {
	if self {
		s.self = len(s.holders)
		s.id += "*"
	}
	addr := h.addr.As16()
	s.id += h.name + "\x00" + string(addr[:])
	s.holders = append(s.holders, h)
}

// narrow returns those of the nodes that can spread, or all if none can. The zero reach returns
// all.
func (r *reach) narrow(names []string) []string {
	var able []string
	for _, name := range names {
		if r.able[name] {
			able = append(able, name)
		}
	}
	if len(able) == 0 {
		return names
	}
	return able
}

// divide decides which of the fit nodes carry which flows of a VIP, and adds what this node
// does for that. A node that carries no flows gets the same table: it hands on what reaches it
// anyway, and connections may have been handed to it before. A node whose speaker has just started
// gets a table although no node can carry flows yet: without one it would remove the rules of the speaker
// before, and break the connections that it hands on.
func (b *builder) divide(d *Decision, g *group, fit []string, local bool, services []Service) {
	if d.Owner == "" {
		d.Spread = NoOwner
		return
	}
	home := g.reach.home[d.Owner]
	if !g.reach.able[d.Owner] {
		d.Spread, home = NotCapable, nil
	}
	byAddress := slices.ContainsFunc(services, func(s Service) bool { return s.Sticky })
	for _, own := range g.reach.own {
		v := b.division(own.name, own.subnet, d.VIP, fit, local, services)
		if own.subnet == home {
			d.Carriers = v.carriers
		}
		if len(own.subnet.holders) > 1 && (len(v.carriers) > 0 || own.subnet.isStarting()) {
			b.spread = append(b.spread, Spread{VIP: d.VIP, Link: own.name, ByAddress: byAddress, Slots: v.table})
		}
	}
	if home != nil && d.Carriers == nil { // this node has no link there
		d.Carriers = b.division("", home, d.VIP, fit, local, services).carriers
	}
	if len(d.Carriers) == 1 {
		d.Spread = OneCandidate // its second chances matter all the same
	}
}

// division returns how the flows are divided among the holders of a subnet. It computes each
// division once, and takes it from the previous plan if that has it.
func (b *builder) division(link string, s *subnet, vip netip.Addr, fit []string, local bool, services []Service) *division {
	isSpecial := local || slices.ContainsFunc(s.holders, func(h holder) bool { return h.isAbsent(vip) })
	roles := s.cluster
	if isSpecial || roles == "" {
		roles = s.roles(vip, fit, local, services)
	}
	if !isSpecial {
		s.cluster = roles
	}
	key := divisionKey{link, s.id, roles}
	v := b.divisions[key]
	if v == nil {
		if v = b.previous.divisions[key]; v == nil {
			v = b.newDivision(s, roles)
		}
		b.divisions[key] = v
	}
	return v
}

// heaviest is the largest weight. More tickets would make the division little better, and
// cost time.
const heaviest = 32

// roles returns a role for each holder. fit are the nodes that carry flows if they are in the
// subnet, sorted by name.
func (s *subnet) roles(vip netip.Addr, fit []string, local bool, services []Service) string {
	endpoints, most := make([]int, len(s.holders)), 1
	for i, h := range s.holders {
		for _, svc := range services { // those that share a VIP have the same pods, so they do not add up
			endpoints[i] = max(endpoints[i], svc.Endpoints[h.name])
		}
		most = max(most, endpoints[i])
	}
	roles := make([]byte, len(s.holders))
	for i, h := range s.holders {
		for len(fit) > 0 && fit[0] < h.name {
			fit = fit[1:]
		}
		carries := h.able && len(fit) > 0 && fit[0] == h.name
		weight, at := 1, near
		if local {
			weight = endpoints[i]
			if most > heaviest {
				weight = weight * heaviest / most
			}
			weight = max(1, weight)
		}
		switch {
		case !h.inRing:
			at = last
		case h.isAbsent(vip) && !carries:
			at = absent
		case !carries && (!h.selected || local && endpoints[i] == 0):
			at = far
		}
		roles[i] = byte(newRole(weight, at, carries))
	}
	return string(roles)
}

// scoresOf computes the scores of a share once for each plan.
func (b *builder) scoresOf(share election.Share) *[election.Slots]uint64 {
	scores := b.scores[share]
	if scores == nil {
		scores = share.Scores()
		b.scores[share] = scores
	}
	return scores
}
