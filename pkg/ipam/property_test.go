package ipam_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
)

// model is the simplest correct allocator: it has lists, and answers every question by
// a search through them.
type model struct {
	pools []config.Pool
	has   map[string]netip.Addr // by UID
	last  map[string]ipam.Request
	until map[netip.Addr]time.Time // the end of the cooldown
	since map[netip.Addr]int       // when its present share key began
	clock int
}

func addressesOf(p config.Pool) []netip.Addr {
	var all []netip.Addr
	for _, r := range p.Ranges {
		for addr := r.From; addr.Compare(r.To) <= 0; addr = addr.Next() {
			all = append(all, addr)
		}
	}
	return all
}

func (m *model) poolOf(addr netip.Addr) *config.Pool {
	for i, p := range m.pools {
		if slices.Contains(addressesOf(p), addr) {
			return &m.pools[i]
		}
	}
	return nil
}

// users returns the requests of the Services that have the address, except uid.
func (m *model) users(addr netip.Addr, except string) []ipam.Request {
	var users []ipam.Request
	for uid, has := range m.has {
		if has == addr && uid != except {
			users = append(users, m.last[uid])
		}
	}
	return users
}

func compatible(x, y ipam.Request) bool {
	return x.Sharing.Key != "" && x.Sharing.Key == y.Sharing.Key && x.Sharing.Backend == y.Sharing.Backend && x.Sharing.Ports[0] != y.Sharing.Ports[0]
}

func (m *model) give(r ipam.Request, addr netip.Addr) netip.Addr {
	if len(m.users(addr, r.UID)) == 0 {
		m.clock++
		m.since[addr] = m.clock
	}
	m.has[r.UID], m.last[r.UID] = addr, r
	return addr
}

// hasRoom reports whether the namespace can have one more address of the pool.
func (m *model) hasRoom(p *config.Pool, r ipam.Request) bool {
	distinct := map[netip.Addr]bool{}
	for uid, addr := range m.has {
		if m.last[uid].Namespace == r.Namespace && m.poolOf(addr) == p {
			distinct[addr] = true
		}
	}
	return p.MaxPerNamespace == 0 || len(distinct) < p.MaxPerNamespace
}

func (m *model) allocate(r ipam.Request) (netip.Addr, bool) {
	if addr, ok := m.has[r.UID]; ok {
		keyChanged := m.last[r.UID].Sharing.Key != r.Sharing.Key
		if !slices.ContainsFunc(m.users(addr, r.UID), func(u ipam.Request) bool { return !compatible(u, r) }) {
			if m.last[r.UID] = r; keyChanged {
				m.clock++
				m.since[addr] = m.clock
			}
			return addr, true
		}
		m.release(r.UID)
	}
	serves := slices.Clone(m.pools)
	slices.SortStableFunc(serves, func(x, y config.Pool) int {
		return cmp.Compare(cmp.Or(x.Priority, 1<<30), cmp.Or(y.Priority, 1<<30))
	})
	serves = slices.DeleteFunc(serves, func(p config.Pool) bool {
		return !p.AutoAssign || len(p.Namespaces) > 0 && !slices.Contains(p.Namespaces, r.Namespace)
	})
	var join netip.Addr
	for _, p := range serves {
		for _, addr := range addressesOf(p) {
			users := m.users(addr, r.UID)
			stranger := slices.ContainsFunc(users, func(u ipam.Request) bool { return u.Namespace != r.Namespace })
			if len(users) > 0 && !slices.ContainsFunc(users, func(u ipam.Request) bool { return !compatible(u, r) }) &&
				(!stranger || p.ShareAcrossNamespaces) &&
				(slices.ContainsFunc(users, func(u ipam.Request) bool { return u.Namespace == r.Namespace }) || m.hasRoom(m.poolOf(addr), r)) &&
				(!join.IsValid() || m.since[addr] < m.since[join]) {
				join = addr
			}
		}
	}
	if join.IsValid() {
		return m.give(r, join), true
	}
	for _, endCooldown := range []bool{false, true} {
		for _, p := range serves {
			if !m.hasRoom(m.poolOf(p.Ranges[0].From), r) {
				continue
			}
			var best netip.Addr
			for _, addr := range addressesOf(p) {
				cooling := time.Now().Before(m.until[addr])
				if len(m.users(addr, "")) > 0 || cooling != endCooldown {
					continue
				}
				if !best.IsValid() || cooling && cmp.Or(m.until[addr].Compare(m.until[best]), addr.Compare(best)) < 0 {
					best = addr
				}
			}
			if best.IsValid() {
				return m.give(r, best), true
			}
		}
	}
	return netip.Addr{}, false
}

func (m *model) release(uid string) {
	addr, ok := m.has[uid]
	delete(m.has, uid)
	if pool := m.poolOf(addr); ok && pool != nil && len(m.users(addr, uid)) == 0 {
		m.until[addr] = time.Now().Add(pool.ReuseDelay)
	}
}

func (m *model) setPools(pools []config.Pool) {
	m.pools = pools
	for addr, until := range m.until { // a cooldown ends outside the pools, and is not longer than the reuse delay
		pool := m.poolOf(addr)
		if pool == nil {
			delete(m.until, addr)
		} else if latest := time.Now().Add(pool.ReuseDelay); until.After(latest) {
			m.until[addr] = latest
		}
	}
}

func TestAllocatorAgreesWithANaiveModel(t *testing.T) {
	poolSets := []string{
		`[{name: a, protocol: layer2, addresses: [10.0.0.4-10.0.0.9, 10.0.0.0-10.0.0.2]}, {name: b, protocol: layer2, addresses: [10.0.1.0/29]}]`,
		`[{name: c, protocol: layer2, addresses: [10.0.1.0/30, 10.0.0.0/29], reuse-delay: 3s}]`,
		`[{name: d, protocol: layer2, addresses: [10.0.0.0/29], max-per-namespace: 2, share-across-namespaces: true}, {name: e, protocol: layer2, addresses: [10.0.1.0/29], priority: 7, namespaces: [n1, n2]}]`,
		`[{name: f, protocol: layer2, addresses: [10.0.0.0/30], auto-assign: false}, {name: g, protocol: layer2, addresses: [10.0.0.4/30], priority: 9}, {name: h, protocol: layer2, addresses: [10.0.1.0/30], priority: 8, share-across-namespaces: true, reuse-delay: 1m}]`,
	}
	for seed := range uint64(150) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			m := &model{has: map[string]netip.Addr{}, last: map[string]ipam.Request{}, until: map[netip.Addr]time.Time{}, since: map[netip.Addr]int{}}
			a := ipam.New()
			set := func(pools string) {
				c := parse(t, pools)
				a.SetPools(c)
				m.setPools(c.Pools)
			}
			set(poolSets[rng.IntN(len(poolSets))])
			for step := range 400 {
				time.Sleep(time.Duration(1+rng.IntN(3000)) * time.Millisecond)
				n := rng.IntN(20)
				uid := fmt.Sprint("uid", n)
				switch op := rng.IntN(100); {
				case op < 60:
					r := ipam.Request{UID: uid, Namespace: fmt.Sprint("n", n%3), Name: uid, Families: v4}
					r.Sharing = ipam.Sharing{Key: []string{"", "", "k", "l"}[rng.IntN(4)], Ports: []ipam.Port{{Protocol: "TCP", Number: uint16(rng.IntN(3))}}, Backend: []string{"", "", "local"}[rng.IntN(3)]}
					want, ok := m.allocate(r)
					got, err := a.Allocate(r)
					if ok != (err == nil) || ok && got[0] != want {
						t.Fatalf("seed %d step %d: %s got %v (%v), want %v", seed, step, uid, got, err, want)
					}
				case op < 97:
					m.release(uid)
					a.Release(uid)
				default:
					set(poolSets[rng.IntN(len(poolSets))])
				}
				agree(t, seed, step, m, a)
			}
		})
	}
}

// agree checks the invariants, and that no address is lost.
func agree(t *testing.T, seed uint64, step int, m *model, a *ipam.Allocator) {
	t.Helper()
	used := map[netip.Addr]bool{}
	for n := range 20 {
		uid := fmt.Sprint("uid", n)
		var want []netip.Addr
		if addr, ok := m.has[uid]; ok {
			want = append(want, addr)
			used[addr] = m.poolOf(addr) != nil
		}
		if got := a.Addrs(uid); !slices.Equal(got, want) {
			t.Fatalf("seed %d step %d: %s holds %v, want %v", seed, step, uid, got, want)
		}
		for _, other := range m.users(m.has[uid], uid) {
			if m.has[uid].IsValid() && !compatible(other, m.last[uid]) {
				t.Fatalf("seed %d step %d: %s and %s both have %s", seed, step, uid, other.UID, m.has[uid])
			}
		}
	}
	var have, want uint64
	for _, u := range a.Usage() {
		have += u.Used
	}
	for _, inPool := range used {
		if inPool {
			want++
		}
	}
	if have != want {
		t.Fatalf("seed %d step %d: %d addresses in use, but Usage returns %d", seed, step, want, have)
	}
}

func BenchmarkAllocate10000(b *testing.B) {
	c := parse(b, `[{name: p, protocol: layer2, addresses: [10.0.0.0/16]}]`)
	for b.Loop() {
		a := ipam.New()
		a.SetPools(c)
		for i := range 10000 {
			if _, err := a.Allocate(ipam.Request{UID: fmt.Sprint(i), Families: v4}); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkAdopt10000(b *testing.B) {
	c := parse(b, `[{name: p, protocol: layer2, addresses: [10.0.0.0/16]}]`)
	first := netip.MustParseAddr("10.0.0.0")
	for b.Loop() {
		a := ipam.New()
		a.SetPools(c)
		addr := first
		for i := range 10000 {
			if got := a.Adopt(ipam.Request{UID: fmt.Sprint(i), Claimed: []netip.Addr{addr}}, false); got[0].Refused != nil {
				b.Fatal(got)
			}
			addr = addr.Next()
		}
	}
}

func BenchmarkRefuseWhenFull(b *testing.B) {
	a := allocator(b, `[{name: p, protocol: layer2, addresses: [10.0.0.0/16]}]`)
	for i := range 1 << 16 {
		if _, err := a.Allocate(ipam.Request{UID: fmt.Sprint(i), Families: v4}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := a.Allocate(ipam.Request{UID: "late", Families: v4}); err == nil {
			b.Fatal("not refused")
		}
	}
}
