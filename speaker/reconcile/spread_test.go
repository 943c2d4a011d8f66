package reconcile

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
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
		Departed: []members.Member{{Name: "node4", Profile: members.Profile{Links: []members.Link{{Name: "eth0", MAC: [6]byte{4}, IPv4: netip.MustParsePrefix("192.0.2.4/24")}}}}},
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

func TestVIPsForWhichNodesHaveRules(t *testing.T) {
	var p plan.Plan
	for i, reason := range []plan.SpreadReason{"", plan.Spreading, plan.OneCandidate, plan.NotCapable, plan.MixedPolicies, plan.SpreadNotLayer2, plan.NoOwner} {
		p.Decisions = append(p.Decisions, plan.Decision{VIP: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), Spread: reason})
	}
	want := map[netip.Addr]bool{addr("192.0.2.1"): true, addr("192.0.2.2"): true, addr("192.0.2.3"): true}
	if got := spreadVIPs(p); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestTimeAtWhichASpeakerLeftIsWrittenOnce(t *testing.T) {
	at := time.Unix(1000, 5)
	spread := []configmap.SpreadLink{{Name: "eth0"}}
	written := map[string]configmap.NodeLinks{"a": {Spread: spread}, "b": {Spread: spread, Left: time.Unix(900, 0)}, "c": {}, "runs": {Spread: spread}}
	wrote := map[string]time.Time{"runs": at, "a": time.Unix(800, 0)}
	changed := map[string]configmap.NodeLinks{}
	noteLeft(changed, written, wrote, map[string]time.Time{"a": at, "b": at, "c": at, "unknown": at, "runs": at})
	if want := map[string]configmap.NodeLinks{"a": {Spread: spread, Left: time.Unix(1000, 0).UTC()}}; !reflect.DeepEqual(changed, want) {
		t.Errorf("%+v, want %+v", changed, want)
	}
}
