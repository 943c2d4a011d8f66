package spread

import (
	"net"
	"net/netip"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
)

var (
	vip       = netip.MustParseAddr("192.0.2.7")
	sixth     = netip.MustParseAddr("2001:db8::7")
	neighbour = netip.MustParseAddr("192.0.2.2")
	other     = netip.MustParseAddr("192.0.2.3")
)

// table returns a Table in which every n-th slot goes to the node.
func table(node netip.Addr, n int) *Table {
	t := &Table{}
	for slot := 0; slot < election.Slots; slot += n {
		t.Carriers[slot] = node
	}
	return t
}

func wanted(vips ...VIP) Wanted {
	return Wanted{VIPs: vips, Links: map[string]int{"eth0": 2, "eth1": 3}, Members: [][6]byte{{2, 0, 0, 0, 0, 1}}}
}

func total(e elements) (n int) {
	for _, all := range e {
		n += len(all)
	}
	return n
}

func TestChangeOfSlotsChangesOnlyTheirElements(t *testing.T) {
	half, third := table(neighbour, 2), table(neighbour, 2)
	third.Carriers[0], third.Carriers[2] = other, netip.Addr{}
	w := wanted(VIP{vip, "eth0", false, false, half}, VIP{vip.Next(), "eth0", false, false, half})
	before := w.rules(nil)
	w.VIPs[0].Table, w.VIPs[1].Table = third, third
	after := w.rules(before)
	d := before.difference(after)
	if len(d.gone)+len(d.fresh) > 0 || total(d.remove) != 2 || total(d.add) != 1 { // slot 0 has another node, slot 2 none
		t.Errorf("%+v", d)
	}
}

func TestEqualTablesShareTheirFlows(t *testing.T) {
	for name, tt := range map[string]struct {
		second VIP
		flows  int
	}{
		"the same table":    {VIP{vip.Next(), "eth0", false, false, table(neighbour, 2)}, 1},
		"another table":     {VIP{vip.Next(), "eth0", false, false, table(neighbour, 3)}, 2},
		"another link":      {VIP{vip, "eth1", false, false, table(neighbour, 2)}, 2},
		"by the address":    {VIP{vip.Next(), "eth0", true, false, table(neighbour, 2)}, 2},
		"IPv6":              {VIP{sixth, "eth0", false, false, table(neighbour, 2)}, 2},
		"an unknown link":   {VIP{vip.Next(), "eth9", false, false, table(neighbour, 3)}, 1},
		"no slot elsewhere": {VIP{vip.Next(), "eth0", false, false, &Table{}}, 2},
	} {
		w := wanted(VIP{vip, "eth0", false, false, table(neighbour, 2)}, tt.second)
		if got := w.rules(nil); len(got.flows) != tt.flows {
			t.Errorf("%s: %d flows, want %d", name, len(got.flows), tt.flows)
		}
	}
}

func TestRulesAreTheSameInAnyOrder(t *testing.T) {
	a, b := VIP{vip, "eth0", false, false, table(neighbour, 2)}, VIP{vip.Next(), "eth0", false, false, table(neighbour, 3)}
	w, v := wanted(a, b), wanted(b, a)
	first := w.rules(nil)
	second := v.rules(first)
	if d := first.difference(second); !d.isEmpty() {
		t.Errorf("%+v", d)
	}
}

func TestNothingWantedIsEmpty(t *testing.T) {
	w := wanted()
	if r := w.rules(nil); !r.isEmpty() || total(r.elements) > 0 {
		t.Errorf("%+v", r)
	}
}

func TestDatapathOfCiliumIsFound(t *testing.T) {
	if got := foreignDatapath([]net.Interface{{Name: "eth0"}, {Name: "cni0"}}); got != "" {
		t.Errorf("without Cilium: %q", got)
	}
	if got := foreignDatapath([]net.Interface{{Name: "eth0"}, {Name: "cilium_host"}}); got == "" {
		t.Error("with Cilium: nothing")
	}
}

// A death moves the slots of a third of the addresses. All Services with the policy Cluster share
// one table.
func BenchmarkRules1000VIPs(b *testing.B) {
	half := table(neighbour, 2)
	var vips []VIP
	for i := range 1000 {
		vips = append(vips, VIP{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), "eth0", false, false, half})
	}
	w := wanted(vips...)
	before := w.rules(nil)
	for b.Loop() {
		before.difference(w.rules(before))
	}
}
