package reconcile

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/view"
)

func TestSpreadFlowsNameLinksMembersAndNodes(t *testing.T) {
	table := &plan.SlotTable{}
	p := plan.Plan{Spread: []plan.Spread{{VIP: addr("192.0.2.7"), Link: "eth0", ByAddress: true, Slots: table}}}
	in := view.Inputs{
		AllLinks: []links.Link{{Name: "eth0", Index: 2}, {Name: "eth1", Index: 3}},
		Departed: []view.Departed{{Member: members.Member{Name: "node4", Profile: members.Profile{Links: []members.Link{{Name: "eth0", MAC: [6]byte{4}, IPv4: netip.MustParsePrefix("192.0.2.4/24")}}}}}},
		Others:   []members.Member{{Name: "node2", Profile: members.Profile{Links: []members.Link{{Name: "ens3", MAC: [6]byte{2}, IPv4: netip.MustParsePrefix("192.0.2.2/24")}}}}},
	}
	w := spreadFlows(p, in, map[[6]byte]layer2.Member{{1}: {Self: true}, {3}: {Name: "node3", Lost: true}, {2}: {Name: "node2"}}, nil)
	if len(w.VIPs) != 1 || w.VIPs[0].Addr != addr("192.0.2.7") || w.VIPs[0].Link != "eth0" || !w.VIPs[0].ByAddress || !w.VIPs[0].New || w.Links["eth0"] != 2 {
		t.Errorf("%+v", w)
	}
	if want := [][6]byte{{2}, {3}, {4}}; !slices.Equal(w.Members, want) {
		t.Errorf("members %v, want %v: the kernels of those that are lost or have left may forward, too", w.Members, want)
	}
	if w.Nodes[addr("192.0.2.2")] != "node2" {
		t.Errorf("nodes %v", w.Nodes)
	}
}
