package ipam_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
)

var invariantPools = []string{
	`[{name: a, protocol: layer2, addresses: [10.0.0.0/29, "fd00::/126"]}, {name: b, protocol: layer2, addresses: ["fd01::/125"], max-per-namespace: 2}]`,
	`[{name: a, protocol: layer2, addresses: [10.0.0.0/30, "fd01::/126"], max-per-namespace: 3}, {name: b, protocol: layer2, addresses: [10.0.0.4/30, "fd00::/126"], namespaces: [n0, n1], share-across-namespaces: true}]`,
	`[{name: c, protocol: layer2, addresses: [10.0.0.0/29], auto-assign: false}, {name: b, protocol: layer2, addresses: ["fd00::/126", 10.0.1.0/30], priority: 3, service-selectors: [{match-labels: {x: y}}]}, {name: a, protocol: layer2, addresses: [10.0.2.0/30]}]` + "\nreassign: true",
}

// story is an allocator that gets random requests of every kind.
type story struct {
	t      *testing.T
	rng    *rand.Rand
	a      *ipam.Allocator
	config *config.Config
	last   map[string]ipam.Request
	given  map[string]map[netip.Addr]string // by UID: the pools that gave its addresses
}

// remember records from which pools the addresses of all Services came. served is the
// Service that was served last.
func (s *story) remember(served string) {
	for uid := range s.last {
		given := map[netip.Addr]string{}
		for _, addr := range s.a.Addrs(uid) {
			from, known := s.given[uid][addr]
			if known && uid != served {
				given[addr] = from
				continue
			}
			r := s.last[uid]
			if pool, ok := s.config.PoolOf(addr); ok && pool.Gives(addr) && pool.Serves(r.Namespace, r.NamespaceLabels, r.Labels) && (r.Pool == "" || r.Pool == pool.Name) {
				from = pool.Name
			}
			given[addr] = from
		}
		s.given[uid] = given
	}
}

func (s *story) request(n int) ipam.Request {
	pick := func(texts ...string) string { return texts[s.rng.IntN(len(texts))] }
	r := ipam.Request{UID: fmt.Sprint("uid", n), Name: fmt.Sprint("uid", n), Namespace: fmt.Sprint("n", n%3)}
	r.Families = [][]ipam.Family{v4, v6, dual, xual}[s.rng.IntN(4)]
	r.RequireAll = s.rng.IntN(3) == 0
	r.Sharing = ipam.Sharing{Key: pick("", "", "k", "l"), Backend: pick("", "", "local"), Ports: []ipam.Port{{Protocol: "TCP", Number: uint16(s.rng.IntN(3))}}}
	if s.rng.IntN(4) == 0 {
		r.Labels = map[string]string{"x": "y"}
	}
	if s.rng.IntN(4) == 0 {
		r.Pool = pick("a", "b", "c")
	}
	if s.rng.IntN(5) == 0 {
		r.Addrs = addrs(pick("10.0.0.1", "10.0.1.1", "fd00::1", "8.8.8.8"))
	}
	if s.rng.IntN(5) == 0 {
		r.Claimed = addrs(pick("10.0.0.2", "fd01::2"), pick("10.0.2.2", "9.9.9.9"))
	}
	return r
}

func family(addrs []netip.Addr, f ipam.Family) netip.Addr {
	for _, addr := range addrs {
		if ipam.FamilyOf(addr) == f {
			return addr
		}
	}
	return netip.Addr{}
}

// clashes reports whether another Service has the address and cannot share it with r.
func (s *story) clashes(addr netip.Addr, r ipam.Request) bool {
	for uid, other := range s.last {
		if uid != r.UID && slices.Contains(s.a.Addrs(uid), addr) && !compatible(other, r) {
			return true
		}
	}
	return false
}

// inNamespace returns how many addresses of the pool the namespace has.
func (s *story) inNamespace(pool *config.Pool, namespace string) int {
	distinct := map[netip.Addr]bool{}
	for uid, r := range s.last {
		for _, addr := range s.a.Addrs(uid) {
			if of, ok := s.config.PoolOf(addr); ok && of == pool && r.Namespace == namespace {
				distinct[addr] = true
			}
		}
	}
	return len(distinct)
}

func (s *story) allocate(r ipam.Request) {
	before := s.a.Addrs(r.UID)
	mayStay := slices.DeleteFunc(slices.Clone(before), func(addr netip.Addr) bool { return s.clashes(addr, r) })
	counts := map[string]int{}
	for i := range s.config.Pools {
		counts[s.config.Pools[i].Name] = s.inNamespace(&s.config.Pools[i], r.Namespace)
	}
	got, err := s.a.Allocate(r)
	s.last[r.UID] = r
	if err != nil {
		defer s.remember("")
		if now := s.a.Addrs(r.UID); !slices.Equal(now, mayStay) {
			s.t.Fatalf("%+v was refused (%v): it had %v, of which it may keep %v, and has %v", r, err, before, mayStay, now)
		}
		return
	}
	defer s.remember(r.UID)
	if len(got) == 0 || r.RequireAll && len(got) != len(r.Families) || len(r.Addrs) > 0 && !slices.Equal(got, r.Addrs) {
		s.t.Fatalf("%+v got %v", r, got)
	}
	place := -1
	for _, addr := range got {
		i := slices.Index(r.Families, ipam.FamilyOf(addr))
		if i <= place || s.clashes(addr, r) {
			s.t.Fatalf("%+v got %v, in the wrong order or an address of another Service", r, got)
		}
		place = i
		s.checkNew(r, addr, before, counts)
	}
	for _, addr := range mayStay {
		f := ipam.FamilyOf(addr)
		if len(r.Addrs) == 0 && slices.Contains(r.Families, f) && !family(got, f).IsValid() {
			s.t.Fatalf("%+v had %v, and lost one without a replacement: %v", r, before, got)
		}
		pool, inPool := s.config.PoolOf(addr)
		keeps := r.Pool == "" || r.Pool == s.given[r.UID][addr] || inPool && r.Pool == pool.Name
		if len(r.Addrs) == 0 && keeps && !s.config.Reassign && slices.Contains(r.Families, f) && family(got, f) != addr {
			s.t.Fatalf("%+v had %v of %v, and got %v", r, before, s.given[r.UID], got)
		}
	}
}

// checkNew checks that an address that r did not have before may be given to it.
func (s *story) checkNew(r ipam.Request, addr netip.Addr, before []netip.Addr, counts map[string]int) {
	if slices.Contains(before, addr) {
		return
	}
	pool, ok := s.config.PoolOf(addr)
	if !ok || !pool.Serves(r.Namespace, r.NamespaceLabels, r.Labels) || r.Pool != "" && r.Pool != pool.Name {
		s.t.Fatalf("%+v was given %s, but no pool gives it that address", r, addr)
	}
	if !pool.AutoAssign && r.Pool == "" && !slices.Contains(r.Addrs, addr) && !slices.Contains(r.Claimed, addr) {
		s.t.Fatalf("%+v was given %s of a pool without auto-assign", r, addr)
	}
	now := s.inNamespace(pool, r.Namespace)
	if pool.MaxPerNamespace > 0 && now > pool.MaxPerNamespace && now > counts[pool.Name] {
		s.t.Fatalf("%+v was given %s: its namespace has %d addresses now, and had %d", r, addr, now, counts[pool.Name])
	}
}

func TestInvariantsHoldUnderRandomRequests(t *testing.T) {
	for seed := range uint64(200) {
		s := &story{t: t, rng: rand.New(rand.NewPCG(seed, 1)), a: ipam.New(), last: map[string]ipam.Request{}, given: map[string]map[netip.Addr]string{}}
		set := func() {
			s.config = parse(t, invariantPools[s.rng.IntN(len(invariantPools))])
			s.a.SetPools(s.config)
		}
		set()
		for range 300 {
			n := s.rng.IntN(12)
			switch op := s.rng.IntN(100); {
			case op < 70:
				s.allocate(s.request(n))
			case op < 95:
				s.a.Release(fmt.Sprint("uid", n))
				delete(s.last, fmt.Sprint("uid", n))
				delete(s.given, fmt.Sprint("uid", n))
			default:
				set()
			}
		}
		for n := range 12 {
			s.a.Release(fmt.Sprint("uid", n))
		}
		// No address is lost: Services in many namespaces fill every pool.
		for _, pool := range s.config.Pools {
			for _, u := range s.a.Usage() {
				if u.Pool != pool.Name {
					continue
				}
				for i := range u.Usable {
					namespace := append(slices.Clone(pool.Namespaces), fmt.Sprint("fill", i))[0]
					r := ipam.Request{UID: fmt.Sprint(pool.Name, u.Family, i), Namespace: namespace, Labels: map[string]string{"x": "y"}, Families: []ipam.Family{u.Family}, Pool: pool.Name}
					if _, err := s.a.Allocate(r); err != nil {
						t.Fatalf("seed %d: %s %s: only %d of %d addresses can be given: %v", seed, pool.Name, u.Family, i, u.Usable, err)
					}
				}
			}
		}
	}
}
