package ipam_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
)

// model is the simplest thing that could be called right: for each pool a list
// of addresses in order, who has each, and until when each rests.
type model struct {
	pools [][]netip.Addr
	owner map[netip.Addr]string
	until map[netip.Addr]time.Time
}

func (m *model) allocate(uid string) (netip.Addr, bool) {
	for addr, o := range m.owner {
		if o == uid {
			return addr, true
		}
	}
	for _, addr := range slices.Concat(m.pools...) {
		if m.owner[addr] == "" && !time.Now().Before(m.until[addr]) {
			m.owner[addr] = uid
			return addr, true
		}
	}
	for _, pool := range m.pools {
		var oldest netip.Addr
		for _, addr := range pool {
			if m.owner[addr] == "" && (!oldest.IsValid() || m.until[addr].Before(m.until[oldest])) {
				oldest = addr
			}
		}
		if oldest.IsValid() {
			m.owner[oldest] = uid
			return oldest, true
		}
	}
	return netip.Addr{}, false
}

func (m *model) known(addr netip.Addr) bool {
	return slices.Contains(slices.Concat(m.pools...), addr)
}

// forget drops the rest of addresses outside the pools, which the allocator does not keep.
func (m *model) forget() {
	for addr := range m.until {
		if !m.known(addr) {
			delete(m.until, addr)
		}
	}
}

func (m *model) release(uid string) {
	for addr, o := range m.owner {
		if o == uid {
			delete(m.owner, addr)
			m.until[addr] = time.Now().Add(ipam.DefaultRest)
		}
	}
}

func TestAllocatorAgreesWithANaiveModelUnderRandomOperations(t *testing.T) {
	poolSets := []string{
		`[{name: a, protocol: layer2, addresses: [10.0.0.4-10.0.0.9, 10.0.0.0-10.0.0.2]}, {name: b, protocol: layer2, addresses: [10.0.1.0/29]}]`,
		`[{name: c, protocol: layer2, addresses: [10.0.1.0/30, 10.0.0.0/29]}]`,
	}
	for seed := range uint64(300) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			m := &model{owner: map[netip.Addr]string{}, until: map[netip.Addr]time.Time{}}
			a := ipam.New(ipam.DefaultRest)
			set := func(pools string) {
				c := parse(t, pools)
				a.SetPools(c)
				m.pools = nil
				for _, p := range c.Pools {
					var pool []netip.Addr
					for _, r := range p.Ranges {
						for addr := r.From; addr.Compare(r.To) <= 0; addr = addr.Next() {
							pool = append(pool, addr)
						}
					}
					m.pools = append(m.pools, pool)
				}
				m.forget()
			}
			set(poolSets[0])
			for step := range 400 {
				time.Sleep(time.Duration(rng.IntN(3000)) * time.Millisecond)
				uid := fmt.Sprint("uid", rng.IntN(20))
				switch n := rng.IntN(100); {
				case n < 60:
					want, ok := m.allocate(uid)
					got, err := a.Allocate(ipam.Request{UID: uid, Families: v4})
					if ok != (err == nil) || ok && got[0] != want {
						t.Fatalf("seed %d step %d: %s got %v (%v), want %v", seed, step, uid, got, err, want)
					}
				case n < 97:
					m.release(uid)
					a.Release(uid)
					m.forget()
				default:
					set(poolSets[rng.IntN(len(poolSets))])
				}
			}
			used := 0
			for addr := range m.owner {
				if m.known(addr) {
					used++
				}
			}
			var have uint64
			for _, u := range a.Usage() {
				have += u.Used
			}
			if uint64(used) != have {
				t.Fatalf("seed %d: %d addresses in use, Usage says %d", seed, used, have)
			}
		})
	}
}

func BenchmarkAllocate10000(b *testing.B) {
	c := parse(b, `[{name: p, protocol: layer2, addresses: [10.0.0.0/16]}]`)
	for b.Loop() {
		a := ipam.New(ipam.DefaultRest)
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
		a := ipam.New(ipam.DefaultRest)
		a.SetPools(c)
		addr := first
		for i := range 10000 {
			if err := a.Adopt(fmt.Sprint(i), "", "", []netip.Addr{addr}); err != nil {
				b.Fatal(err)
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
