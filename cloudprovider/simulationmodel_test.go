package cloudprovider

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// The rules of the addresses once more, in the simplest form: by searching through lists.

func (s *simulation) describe() string {
	var b strings.Builder
	for _, p := range s.pools.Pools {
		fmt.Fprintf(&b, "pool %s %v requests=%s\n", p.Name, p.Ranges, p.Requests)
	}
	fmt.Fprintf(&b, "nodes %v\n", s.nodes)
	for _, svc := range s.services() {
		fmt.Fprintf(&b, "%s ports=%v annotations=%v status=%s allocator=%v", service.Name(svc), svc.Spec.Ports[0].Port, svc.Annotations, ips(&svc.Status.LoadBalancer), s.cloud.allocator.Addrs(string(svc.UID)))
		if c := service.Condition(svc, service.Allocated); c != nil {
			fmt.Fprintf(&b, " %s %s: %s", c.Status, c.Reason, c.Message)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// wishes are what a Service asks for.
type wishes struct {
	svc       *v1.Service
	name      string
	has       netip.Addr // zero for none
	asks      netip.Addr // zero for none
	pool, key string
	port      int32
}

func wishesOf(svc *v1.Service) wishes {
	w := wishes{svc: svc, name: service.Name(svc), pool: svc.Annotations[service.PoolAnnotation], key: svc.Annotations[service.ShareAnnotation], port: svc.Spec.Ports[0].Port}
	if vips := service.VIPs(svc); len(vips) > 0 {
		w.has = vips[0]
	}
	if text := svc.Annotations[service.AddressesAnnotation]; text != "" {
		w.asks = netip.MustParseAddr(text)
	}
	return w
}

func (s *simulation) poolOf(addr netip.Addr) *config.Pool {
	for i, p := range s.pools.Pools {
		if slices.ContainsFunc(p.Ranges, func(r config.Range) bool { return r.Contains(addr) }) {
			return &s.pools.Pools[i]
		}
	}
	return nil
}

// allowed reports whether the pools would give addr to w, whoever has it now.
func (s *simulation) allowed(w wishes, addr netip.Addr) bool {
	p := s.poolOf(addr)
	if p == nil || s.nodes[addr.String()] || w.pool != "" && p.Name != w.pool {
		return false
	}
	ours := len(p.Namespaces) == 0 || slices.Contains(p.Namespaces, w.svc.Namespace)
	if w.asks.IsValid() {
		named := slices.Contains(p.Namespaces, w.svc.Namespace)
		return ours && addr == w.asks && (p.Requests == config.RequestsAny || p.Requests == config.RequestsNamespace && named)
	}
	return ours && (p.AutoAssign || w.pool != "")
}

// compatible reports whether two Services may have the same address.
func compatible(a, b wishes, p *config.Pool) bool {
	return a.key != "" && a.key == b.key && a.port != b.port && (a.svc.Namespace == b.svc.Namespace || p != nil && p.ShareAcrossNamespaces)
}

// free reports whether w could have addr beside all other Services.
func (s *simulation) free(w wishes, addr netip.Addr, all []wishes) bool {
	p := s.poolOf(addr)
	used := map[netip.Addr]bool{} // the addresses of the pool that the namespace has without w
	for _, o := range all {
		if o.name == w.name || !o.has.IsValid() {
			continue
		}
		if o.has == addr && !compatible(w, o, p) {
			return false
		}
		if o.svc.Namespace == w.svc.Namespace && s.poolOf(o.has) == p {
			used[o.has] = true
		}
	}
	return p.MaxPerNamespace == 0 || used[addr] || len(used) < p.MaxPerNamespace
}

// satisfied reports whether w has what it asks for. An address that it keeps from a pool
// that was edited satisfies it, too, and the model does not know which one that is.
func satisfied(w wishes) bool {
	c := service.Condition(w.svc, service.Allocated)
	return w.has.IsValid() && c != nil && c.Reason != reasonKept
}

// check looks at the world after everything has settled. had are the addresses of the last
// check; it returns the present ones.
func (s *simulation) check(had map[string]string) map[string]string {
	var all []wishes
	for _, svc := range s.services() {
		all = append(all, wishesOf(svc))
	}
	has := map[string]string{}
	used := map[netip.Addr]bool{}
	for _, w := range all {
		held := s.cloud.allocator.Addrs(string(w.svc.UID))
		if got := service.VIPs(w.svc); !slices.Equal(got, held) {
			s.fatalf("%s has %v in its status and %v in the allocator", w.name, got, held)
		}
		if o := s.cloud.tracker.outcome(w.svc); o == nil || !inSync(w.svc, *o) {
			s.fatalf("the status of %s does not say what was decided: %+v", w.name, w.svc.Status)
		}
		if w.has.IsValid() {
			has[w.name] = w.has.String()
			used[w.has] = true
		}
		s.checkOne(w, all, had[w.name])
	}
	// Nothing is leaked: only the addresses of Services are in use.
	inPools := uint64(0)
	for addr := range used {
		if s.poolOf(addr) != nil {
			inPools++
		}
	}
	counted := uint64(0)
	for _, u := range s.cloud.allocator.Usage() {
		counted += u.Used
	}
	if counted != inPools {
		s.fatalf("%d addresses of pools are in use, the allocator counts %d", inPools, counted)
	}
	s.checkRings(all)
	return has
}

func (s *simulation) checkOne(w wishes, all []wishes, had string) {
	if w.has.IsValid() && s.nodes[w.has.String()] {
		s.fatalf("%s has %s, the address of a node", w.name, w.has)
	}
	for _, o := range all {
		// Services that began to share while the pool allowed it may go on.
		if w.has.IsValid() && o.has == w.has && o.name != w.name && !(w.key != "" && w.key == o.key && w.port != o.port) {
			s.fatalf("%s and %s both have %s", w.name, o.name, w.has)
		}
	}
	if had != "" && !s.changed[w.name] && !s.seen[had] && !s.outvoted(had, all) && w.has.String() != had && (!w.asks.IsValid() || w.asks.String() == had) && w.pool == "" {
		s.fatalf("%s had %s, asks for nothing new, and has %s now", w.name, had, w.has)
	}
	if w.asks.IsValid() && w.asks == w.has || satisfied(w) {
		return
	}
	for _, p := range s.pools.Pools {
		for _, r := range p.Ranges {
			for addr := r.From; r.Contains(addr); addr = addr.Next() {
				if s.allowed(w, addr) && s.free(w, addr, all) {
					s.fatalf("%s waits, and could have %s", w.name, addr)
				}
			}
		}
	}
}

// outvoted reports whether a Service that shares the address was changed while no manager
// ran. Then nobody knows who began, and the older Service keeps the address.
func (s *simulation) outvoted(addr string, all []wishes) bool {
	return s.killed && slices.ContainsFunc(all, func(o wishes) bool { return o.has.String() == addr && s.changed[o.name] })
}

// checkRings looks for Services that each ask for the address of the next, in a ring.
func (s *simulation) checkRings(all []wishes) {
	for _, start := range all {
		at, ring := start, []string{start.name}
		for range all {
			if !at.has.IsValid() || !at.asks.IsValid() || at.asks == at.has || !s.allowed(at, at.asks) {
				break
			}
			var holders []wishes
			for _, o := range all {
				if o.has == at.asks && o.name != at.name {
					holders = append(holders, o)
				}
			}
			if len(holders) != 1 || s.quotaOf(at.asks) {
				break
			}
			at = holders[0]
			if at.name == start.name && len(ring) > 1 {
				s.fatalf("a ring waits: %v", ring)
			}
			ring = append(ring, at.name)
		}
	}
}

// quotaOf reports whether a quota may forbid the address.
func (s *simulation) quotaOf(addr netip.Addr) bool {
	p := s.poolOf(addr)
	return p == nil || p.MaxPerNamespace > 0
}
