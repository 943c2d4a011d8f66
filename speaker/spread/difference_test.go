package spread

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
)

// history makes one Wanted after the other, as a cluster that changes does.
type history struct {
	rng              *rand.Rand
	tables4, tables6 []*Table
}

func newHistory(rng *rand.Rand) *history {
	h := &history{rng: rng}
	for range 5 {
		h.tables4, h.tables6 = append(h.tables4, h.table(false)), append(h.tables6, h.table(true))
	}
	return h
}

func (h *history) table(isIPv6 bool) *Table {
	t := &Table{Ring: 1 + h.rng.IntN(3)}
	isEmpty := h.rng.IntN(4) == 0
	node := func() netip.Addr {
		n := byte(h.rng.IntN(3))
		switch {
		case n == 0 || isEmpty:
			return netip.Addr{}
		case isIPv6:
			return netip.AddrFrom16([16]byte{0xfd, 15: n})
		}
		return netip.AddrFrom4([4]byte{192, 0, 2, n})
	}
	for slot := 0; slot < election.Slots; slot += 32 {
		t.Carriers[slot], t.Next[slot], t.Last[slot] = node(), node(), node()
	}
	return t
}

// change replaces some tables: by others, by copies, and by copies with another ring.
func (h *history) change() {
	if h.rng.IntN(4) > 0 {
		return
	}
	h.tables6[h.rng.IntN(5)], h.tables4[h.rng.IntN(5)] = h.table(true), h.table(false)
	same, wider := *h.tables4[h.rng.IntN(5)], *h.tables4[h.rng.IntN(5)]
	wider.Ring++
	h.tables4[h.rng.IntN(5)], h.tables4[h.rng.IntN(5)] = &same, &wider
}

func (h *history) wanted() Wanted {
	w := Wanted{Links: map[string]int{"eth0": 2, "eth1": 3}}
	for i := range 10 {
		if h.rng.IntN(5) == 0 {
			continue
		}
		v := VIP{Addr: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Link: fmt.Sprint("eth", i%2), ByAddress: h.rng.IntN(9) == 0, Table: h.tables4[h.rng.IntN(5)]}
		if i > 6 {
			v.Addr, v.Table = netip.AddrFrom16([16]byte{0xfd, 1, 15: byte(i)}), h.tables6[h.rng.IntN(5)]
		}
		w.VIPs = append(w.VIPs, v)
	}
	for range h.rng.IntN(3) {
		w.Members = append(w.Members, [6]byte{2, 0, 0, 0, 0, byte(h.rng.IntN(5))})
	}
	return w
}

// A difference that the kernel refuses costs a replacement of all tables. One that it accepts and that is
// wrong would stay.
func TestDifferencesLeadTheKernelToWhatIsWanted(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	replaced, changed, rings := 0, 0, 0
	for round := range 60 {
		h, k := newHistory(rng), &fakeKernel{}
		var before *ruleset
		for step := range 60 {
			h.change()
			w := h.wanted()
			want, anew := w.rules(before), w.rules(nil)
			if total(want.elements) != total(anew.elements) || len(want.flows) != len(anew.flows) {
				t.Fatalf("round %d, step %d: %d elements of %d flows, but %d of %d without a past", round, step, total(want.elements), len(want.flows), total(anew.elements), len(anew.flows))
			}
			var err error
			if before == nil || !slices.Equal(before.links, want.links) {
				replaced++
				err = k.replace(want)
			} else {
				d := before.difference(want)
				changed, rings = changed+1, rings+len(d.rings)
				err = k.change(d)
			}
			if err != nil {
				t.Fatalf("round %d, step %d: %v", round, step, err)
			}
			has := map[int]flows{}
			for _, f := range want.flows {
				has[f.number] = f
			}
			if !reflect.DeepEqual(k.has, want.elements) || !reflect.DeepEqual(k.flows, has) {
				t.Fatalf("round %d, step %d: the kernel has %v and %v, want %v and %v", round, step, k.flows, k.has, has, want.elements)
			}
			before = want
		}
	}
	if replaced == 0 || changed < 1000 || rings < 100 {
		t.Errorf("%d replacements, %d changes, %d changed rings", replaced, changed, rings)
	}
}

// With many Services, writing their sets takes seconds, and the size of all rings changes when one node dies.
func TestChangeOfTheRingKeepsTheSets(t *testing.T) {
	const services = 100
	of := func(ring int) Wanted {
		var vips []VIP
		for i := range services {
			one := table(neighbour, 2)
			one.Next[i], one.Ring = other, ring // all tables differ
			vips = append(vips, VIP{netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), "eth0", false, true, one})
		}
		return wanted(vips...)
	}
	three, two := of(3), of(2)
	before := three.rules(nil)
	d := before.difference(two.rules(before))
	if len(d.gone)+len(d.fresh)+total(d.remove)+total(d.add) > 0 || len(d.rings) != services {
		t.Errorf("%d flows go, %d come, -%d +%d elements, and the rings of %d change", len(d.gone), len(d.fresh), total(d.remove), total(d.add), len(d.rings))
	}
}
