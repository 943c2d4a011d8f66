package simulate

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

// apply returns the changed states of the nodes that live, and the changed endpoints.
func (c *Change) apply(cluster Cluster) ([]plan.State, map[string]map[string]Endpoints) {
	endpoints := c.applyToEndpoints(cluster.Endpoints)
	conflicts := map[netip.Addr]string{}
	for _, s := range cluster.States {
		maps.Copy(conflicts, s.Conflicts)
	}
	var states []plan.State
	for _, s := range cluster.States {
		if slices.Contains(c.Lost, s.Node) {
			continue
		}
		s.Conflicts = conflicts // a new owner would find the foreign host, too
		s.Members, s.Holders = c.without(s.Members), c.without(s.Holders)
		s.Nodes = slices.Clone(s.Nodes)
		for i := range s.Nodes {
			if n := &s.Nodes[i]; slices.Contains(c.Drained, n.Name) {
				n.Cordoned, n.ExcludeLabel = true, !cluster.IgnoresLabel
			}
		}
		s.Services = slices.Clone(s.Services)
		for i := range s.Services {
			c.applyToService(&s.Services[i], endpoints)
		}
		if c.Config != nil {
			s.Orphans, s.Members = orphans(s, c.Config), withSessions(s, c.Config)
			s.Config, s.Earlier = c.Config, nil
		}
		states = append(states, s)
	}
	return states, endpoints
}

// without returns the members that live.
func (c *Change) without(members []plan.Member) []plan.Member {
	return slices.DeleteFunc(slices.Clone(members), func(m plan.Member) bool { return slices.Contains(c.Lost, m.Name) })
}

func (c *Change) applyToEndpoints(before map[string]map[string]Endpoints) map[string]map[string]Endpoints {
	after := make(map[string]map[string]Endpoints, len(before))
	for svc, byNode := range before {
		byNode = maps.Clone(byNode)
		for _, name := range c.Lost {
			delete(byNode, name)
		}
		for _, name := range c.Drained {
			if e := byNode[name]; e.Staying > 0 {
				byNode[name] = Endpoints{Ready: e.Staying, Staying: e.Staying}
			} else {
				delete(byNode, name)
			}
		}
		after[svc] = byNode
	}
	return after
}

func (c *Change) applyToService(s *plan.Service, endpoints map[string]map[string]Endpoints) {
	left := endpoints[s.Name]
	gone := func(node string) bool {
		return slices.Contains(c.Lost, node) || slices.Contains(c.Drained, node) && left[node].Ready == 0
	}
	s.EndpointNodes = slices.DeleteFunc(slices.Clone(s.EndpointNodes), gone)
	s.Endpoints = maps.Clone(s.Endpoints)
	maps.DeleteFunc(s.Endpoints, func(node string, _ int) bool { return gone(node) })
	for node := range s.Endpoints {
		if slices.Contains(c.Drained, node) {
			s.Endpoints[node] = left[node].Ready
		}
	}
	if left != nil {
		s.Endpointless = total(left) == 0
	}
	if moved, ok := c.Addresses[s.Name]; ok {
		lost := func(addr netip.Addr) bool {
			return slices.Contains(moved.Before, addr) && !slices.Contains(moved.After, addr)
		}
		s.VIPs = slices.DeleteFunc(slices.Clone(s.VIPs), lost)
		for _, addr := range moved.After {
			if !slices.Contains(s.VIPs, addr) {
				s.VIPs = append(s.VIPs, addr)
			}
		}
	}
}

func total(byNode map[string]Endpoints) (n int) {
	for _, e := range byNode {
		n += e.Ready
	}
	return n
}

// withSessions returns the members as they are when the sessions with new and changed routers are up.
func withSessions(s plan.State, after *config.Config) []plan.Member {
	labels := map[string]map[string]string{}
	for _, n := range s.Nodes {
		labels[n.Name] = n.Labels
	}
	known := func(p config.Peer, node string) bool {
		return s.Config != nil && slices.ContainsFunc(s.Config.Peers, func(old config.Peer) bool {
			return old.Selects(labels[node]) && reflect.DeepEqual(sessionPart(old), sessionPart(p))
		})
	}
	members := slices.Clone(s.Members)
	for i := range members {
		m := &members[i]
		m.Advertises = m.Advertises || slices.ContainsFunc(after.Peers, func(p config.Peer) bool {
			return p.Selects(labels[m.Name]) && !known(p, m.Name)
		})
	}
	return members
}

// orphans returns the addresses that no pool of the new configuration has, as the cluster manager
// would publish them: each with the last pool that had it.
func orphans(s plan.State, after *config.Config) map[netip.Addr]*config.Pool {
	all := map[netip.Addr]*config.Pool{}
	for _, svc := range s.Services {
		for _, vip := range svc.VIPs {
			if _, ok := after.PoolOf(vip); ok {
				continue
			}
			if pool, ok := plan.PoolOf(vip, s.Config, s.Orphans, s.Earlier); ok {
				all[vip] = pool
			}
		}
	}
	return all
}
