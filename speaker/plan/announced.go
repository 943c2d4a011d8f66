package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
)

// Announcement says in words whether the VIPs of a Service are announced.
type Announcement struct {
	Service string // namespace/name
	OK      bool
	// Reason is one word. Message names the nodes that announce, or says why none does.
	Reason, Message string
	// Nodes is how many nodes advertise the VIPs over BGP, as the Message says. It changes
	// often while the speakers are replaced.
	Nodes int
	// Spread says whether the VIPs are spread; nil if nobody wants that.
	Spread *SpreadStatus
}

// The reasons of an Announcement, beside the Reasons of a Decision.
const (
	announcedReason = "Announced"
	nodesExcluded   = "NodesExcluded" // no node may announce
	noSession       = "NoSession"     // no node has an established BGP session for the address
)

// Announcements returns what this speaker says about Services. One speaker speaks for each
// Service: the owner of its first VIP that has an owner. If no VIP has an owner, an election
// chooses the speaker.
func Announcements(s State, p Plan) (all []Announcement) {
	byVIP := make(map[netip.Addr]*Decision, len(p.Decisions))
	for i := range p.Decisions {
		byVIP[p.Decisions[i].VIP] = &p.Decisions[i]
	}
	var alive []string
	for _, m := range s.Members {
		alive = append(alive, m.Name)
	}
	b := &advertisers{State: &s, everywhere: map[*config.Pool]counts{}}
	for _, svc := range s.Services {
		if speaksFor(svc, byVIP, alive) == s.Node {
			all = append(all, b.announcement(svc, byVIP))
		}
	}
	return all
}

func speaksFor(svc Service, byVIP map[netip.Addr]*Decision, alive []string) string {
	for _, vip := range svc.VIPs {
		if d := byVIP[vip]; d != nil && d.Owner != "" {
			return d.Owner
		}
	}
	return election.Owner(svc.VIPs[0], alive)
}

// announcement describes a Service. It is announced if each of its VIPs is announced in at
// least one way.
func (s *advertisers) announcement(svc Service, byVIP map[netip.Addr]*Decision) Announcement {
	a := Announcement{Service: svc.Name, OK: true, Reason: announcedReason}
	var texts []string
	for _, vip := range svc.VIPs {
		d := byVIP[vip]
		if d == nil {
			continue
		}
		ok, reason, text := s.describeVIP(d, svc, &a)
		if !ok && a.OK {
			a.OK, a.Reason = false, reason
		}
		texts = append(texts, vip.String()+" "+text)
	}
	a.Message = strings.Join(texts, "; ")
	a.Spread = s.spreadStatus(svc, byVIP)
	return a
}

// describeVIP returns whether a VIP is announced, and the end of a sentence about it.
func (s *advertisers) describeVIP(d *Decision, svc Service, a *Announcement) (ok bool, reason, text string) {
	pool, refused := s.poolOf(d.VIP)
	switch refused {
	case NodeAddress:
		return false, string(NodeAddress), fmt.Sprintf("is not announced: it is an address of node %s", s.NodeAddrs[d.VIP])
	case Unpublished:
		return false, string(Unpublished), "is not announced: no pool has it, and the cluster manager has not given it to this Service"
	}
	var yes, no []string
	layer2Failed := false
	if pool.Protocol.Layer2() {
		layer2, why, text := s.describeLayer2(d, pool)
		if layer2 {
			yes = append(yes, text)
		} else {
			reason, layer2Failed = why, true
			no = append(no, text)
		}
	}
	if pool.Protocol.BGP() && d.BGP != Withheld {
		bgp, why, text := s.describeBGP(d, pool, svc, a)
		if bgp {
			yes = append(yes, text)
		} else {
			reason = cmp.Or(reason, why)
			no = append(no, text)
		}
	}
	switch {
	case len(yes) == 0:
		return false, reason, "is not announced: " + strings.Join(no, "; ")
	case len(no) == 0:
		return true, announcedReason, "is announced by " + strings.Join(yes, " and ")
	}
	failed := "over BGP"
	if layer2Failed {
		failed = "by layer 2"
	}
	return true, announcedReason, fmt.Sprintf("is announced by %s, but not %s: %s", yes[0], failed, no[0])
}

func (s *State) describeLayer2(d *Decision, pool *config.Pool) (ok bool, reason, text string) {
	switch d.Reason {
	case Owner, OtherOwner:
		return true, "", "node " + d.Owner
	case Conflict:
		return false, string(Conflict), fmt.Sprintf("a foreign host with the MAC address %s has it. Remove the address from that host, or from the pool", d.Foreign)
	case NoEndpoint:
		return false, string(NoEndpoint), "the traffic policy is Local, and no node that may announce has a ready endpoint"
	case NoLink:
		where := "a link that can be used"
		if len(pool.Interfaces) > 0 {
			where = "one of the pool's interfaces " + strings.Join(pool.Interfaces, ", ")
		}
		if d.Network.IsValid() {
			where += fmt.Sprintf(" in the address's own network %s; check the links and their carriers", d.Network)
		}
		return false, string(NoLink), "no node that may announce has " + where
	}
	return false, nodesExcluded, s.whyNoNode(pool)
}

// advertisers counts the nodes that advertise, once for each pool.
type advertisers struct {
	*State
	everywhere map[*config.Pool]counts // for Services that every node may advertise
}

// counts are numbers of nodes. able nodes may announce. endpoint nodes are able, and have an
// endpoint if the Service needs one. advertising nodes are endpoint nodes that advertise.
type counts struct{ able, endpoint, advertising int }

func (s *advertisers) count(pool *config.Pool, svc Service) counts {
	if c, ok := s.everywhere[pool]; ok && !svc.Local {
		return c
	}
	var c counts
	for _, m := range s.Members {
		n, found := s.node(m.Name)
		if !found || n.excludedFrom(pool) != "" || !pool.Announces(n.Labels) {
			continue
		}
		c.able++
		if svc.Local && !slices.Contains(svc.EndpointNodes, n.Name) {
			continue
		}
		c.endpoint++
		a := newAdvertiser(*s.State, n, true)
		if m.Advertises && slices.ContainsFunc(pool.Advertisements, a.hasPeerFor) {
			c.advertising++
		}
	}
	if !svc.Local {
		s.everywhere[pool] = c
	}
	return c
}

// describeBGP says how many nodes advertise an address of the pool.
func (s *advertisers) describeBGP(d *Decision, pool *config.Pool, svc Service, a *Announcement) (ok bool, reason, text string) {
	if s.Config == nil {
		return false, noSession, "this speaker has no configuration, so it knows no BGP peer"
	}
	if d.BGP == NoReadyEndpoint {
		return false, string(NoEndpoint), "no endpoint is ready, and the pool has withdraw-without-endpoints"
	}
	c := s.count(pool, svc)
	a.Nodes += c.advertising
	switch {
	case c.advertising == 1:
		return true, "", "1 node over BGP"
	case c.advertising > 1:
		return true, "", fmt.Sprintf("%d nodes over BGP", c.advertising)
	case c.able == 0:
		return false, nodesExcluded, s.whyNoNode(pool)
	case c.endpoint == 0:
		return false, string(NoEndpoint), "the traffic policy is Local, and no node that may announce has a ready endpoint"
	}
	return false, noSession, "no node has an established session with a BGP peer of the pool"
}

// maxNodesNamed limits how many nodes a message names.
const maxNodesNamed = 3

// whyNoNode says why no node may announce the pool's addresses.
func (s *State) whyNoNode(pool *config.Pool) string {
	var why []string
	selected := 0
	for _, n := range s.Nodes {
		if !pool.Announces(n.Labels) {
			continue
		}
		if selected++; len(why) == maxNodesNamed {
			continue
		}
		reason := "its speaker is not heard, or announces nothing"
		if excluded := n.excludedFrom(pool); excluded != "" {
			reason = excluded
		}
		why = append(why, n.Name+": "+reason)
	}
	switch {
	case selected == 0:
		return "the node-selectors of the pool select no node"
	case selected > len(why):
		why = append(why, fmt.Sprintf("and %d more", selected-len(why)))
	}
	return "no node may announce: " + strings.Join(why, "; ")
}
