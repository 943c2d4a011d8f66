package simulate

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

// compare returns what would change for an address.
func compare(vip netip.Addr, before, after *world, change Change) Address {
	a := Address{Address: vip, Services: sorted(slices.Concat(before.servicesOf(vip), after.servicesOf(vip))), Before: before.serving(vip), After: after.serving(vip)}
	switch {
	case !a.Before.announced():
	case len(after.nodes) == 0:
		a.Unserved, a.Why = true, "every node whose speaker was asked would be lost"
	case len(after.servicesOf(vip)) == 0:
		a.Unserved, a.Why = true, "no Service would have the address any more"
	case !a.After.announced():
		a.Unserved, a.Why = true, after.whyNot(vip)
	default:
		for _, name := range after.servicesOf(vip) {
			if before.hasEndpoint(name) && !after.hasEndpoint(name) {
				a.Unserved = true
				a.Why = fmt.Sprintf("%s would have no endpoint: all of its endpoints are on %s. Run pods on other nodes first", name, list(before.endpointNodes(name)))
				break
			}
		}
	}
	if a.Before.announced() && a.After.announced() && !a.Before.equal(a.After) {
		a.Connections = connections(a.Before, a.After, change)
	}
	return a
}

// connections says what would become of the open connections to an address.
func connections(before, after Serving, change Change) string {
	var texts []string
	if len(before.Layer2) > 0 {
		texts = append(texts, layer2Connections(before, after, change))
	}
	switch {
	case len(before.BGP) == 0 || slices.Equal(before.BGP, after.BGP):
	case len(after.BGP) == 0:
		texts = append(texts, "those that come over BGP routes end")
	default:
		texts = append(texts, "the routers hash those that come over BGP routes again; those that reach another node then usually break")
	}
	return strings.Join(texts, "; ")
}

func layer2Connections(before, after Serving, change Change) string {
	ownerDies := slices.ContainsFunc(before.Layer2, func(n string) bool { return slices.Contains(change.Lost, n) })
	dead := before.SlotsOf(change.Lost...)
	switch wasSpread, isSpread := len(before.Slots) > 0, len(after.Slots) > 0; {
	case len(after.Layer2) == 0:
		return "those that come by layer 2 end"
	case wasSpread && !isSpread:
		return "only those go on that " + list(after.Layer2) + " carries already, because the address is not spread any more"
	case wasSpread && dead > 0:
		return fmt.Sprintf("those of %d of %d slots are reset, because a lost node carries them; all others go on after a short pause", dead, election.Slots)
	case wasSpread && ownerDies:
		return "they go on after a short pause"
	case wasSpread:
		return "they go on: a node that gives slots away keeps its connections"
	case ownerDies:
		return "they are reset: their state is in the kernel of the lost node"
	case !slices.Equal(before.Layer2, after.Layer2):
		return "they usually break: the kernel of the new owner does not know them"
	case isSpread && len(after.Slots) > 4:
		return "some break: the address becomes spread over more than four nodes"
	}
	return "they go on"
}

// compareNodes returns the nodes for which something would change.
func compareNodes(before, after *world) (nodes []Node) {
	for _, name := range before.nodes {
		n := Node{Node: name, Announces: Count{before.announces(name), after.announces(name)}}
		was, is := before.plans[name], after.plans[name] // the zero Plan for a node that is lost
		if !was.KeepSessions && !is.KeepSessions {
			n.Withdrawn, n.Added, n.Changed = compareRoutes(was.Routes, is.Routes)
			n.Sessions = compareSessions(was.Peers, is.Peers)
		}
		if n.Announces.Before != n.Announces.After || len(n.Withdrawn)+len(n.Added)+len(n.Changed)+len(n.Sessions) > 0 {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

func compareRoutes(before, after []plan.Route) (withdrawn, added, changed []netip.Prefix) {
	was, is := byPrefix(before), byPrefix(after)
	for prefix, routes := range was {
		switch now, ok := is[prefix]; {
		case !ok:
			withdrawn = append(withdrawn, prefix)
		case !reflect.DeepEqual(routes, now):
			changed = append(changed, prefix)
		}
	}
	for prefix := range is {
		if _, ok := was[prefix]; !ok {
			added = append(added, prefix)
		}
	}
	for _, list := range [][]netip.Prefix{withdrawn, added, changed} {
		slices.SortFunc(list, netip.Prefix.Compare)
	}
	return withdrawn, added, changed
}

// byPrefix returns the routes to each prefix. Several advertisements of a pool can have the same.
func byPrefix(routes []plan.Route) map[netip.Prefix][]plan.Route {
	byPrefix := map[netip.Prefix][]plan.Route{}
	for _, r := range routes {
		byPrefix[r.Prefix] = append(byPrefix[r.Prefix], r)
	}
	return byPrefix
}

func compareSessions(before, after []plan.Peer) (sessions []Session) {
	find := func(peers []plan.Peer, name string) (plan.Peer, bool) {
		i := slices.IndexFunc(peers, func(p plan.Peer) bool { return p.Config.Name == name })
		if i < 0 {
			return plan.Peer{}, false
		}
		return peers[i], true
	}
	for _, p := range before {
		switch now, ok := find(after, p.Config.Name); {
		case !ok:
			sessions = append(sessions, Session{p.Config.Name, ends})
		case !sameSession(p, now):
			sessions = append(sessions, Session{p.Config.Name, restarts})
		}
	}
	for _, p := range after {
		if _, ok := find(before, p.Config.Name); !ok {
			sessions = append(sessions, Session{p.Config.Name, begins})
		}
	}
	return sessions
}

// sameSession reports whether a session goes on with another configuration. A session does not
// restart if only BFD changes, or which other nodes have it.
func sameSession(a, b plan.Peer) bool {
	part := func(p plan.Peer) plan.Peer {
		return plan.Peer{Config: sessionPart(p.Config), RouterID: p.RouterID, MultihopTTL: p.MultihopTTL}
	}
	return reflect.DeepEqual(part(a), part(b))
}

func sessionPart(c config.Peer) config.Peer {
	c.NodeSelectors, c.BFDProfile, c.Line = nil, "", 0
	return c
}
