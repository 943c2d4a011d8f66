package reconcile

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/view"
)

func lastPass(t *testing.T) *planned {
	t.Helper()
	c, err := config.Parse([]byte(`
address-pools: [{name: main, protocol: layer2, addresses: [192.0.2.0/28]}]
peers: [{peer-address: 203.0.113.1, peer-port: 1179, peer-asn: 64500, my-asn: 64501}]
`))
	if err != nil {
		t.Fatal(err)
	}
	vip := netip.MustParseAddr("192.0.2.7")
	eth0, eth1, eth2 := links.Link{Name: "eth0", Index: 2, MAC: [6]byte{2}}, links.Link{Name: "eth1", Index: 3}, links.Link{Name: "eth2", Index: 4}
	return &planned{
		in: view.Inputs{Node: "node1", AllLinks: []links.Link{eth0, eth1, eth2}, Links: []links.Link{eth0}, Others: []members.Member{
			{Name: "node2", Profile: members.Profile{Links: []members.Link{{Name: "eth0", MAC: [6]byte{4}, Ports: [][6]byte{{6}}}}}},
		}},
		state: plan.State{
			Config: c, Orphans: map[netip.Addr]*config.Pool{netip.MustParseAddr("198.51.100.1"): {}}, Routers: map[string]plan.Router{"203.0.113.1": {Link: 4}},
			Services: []plan.Service{
				{Name: "default/a", VIPs: []netip.Addr{vip}, Ports: []plan.Port{{Protocol: 17, Number: 53}, {Protocol: 6, Number: 80}}},
				{Name: "default/b", VIPs: []netip.Addr{vip}, Ports: []plan.Port{{Protocol: 6, Number: 80}, {Protocol: 6, Number: 22}}},
				{Name: "default/c", VIPs: []netip.Addr{vip.Next()}, Ports: []plan.Port{{Protocol: 6, Number: 1}}},
			},
		},
		plan: plan.Plan{Decisions: []plan.Decision{{VIP: vip, Services: []string{"default/a", "default/b"}, Owner: "node2"}}, Peers: []plan.Peer{{Config: c.Peers[0]}}},
	}
}

func TestSubjectHasWhatTheNodeKnowsAboutTheAddress(t *testing.T) {
	s, err := subject(lastPass(t), netip.MustParseAddr("192.0.2.7"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Pool != "main" || s.Protocol != "layer2" || s.Decision.Owner != "node2" || len(s.Links) != 1 {
		t.Errorf("%+v", s)
	}
	if want := []plan.Port{{Protocol: 6, Number: 22}, {Protocol: 6, Number: 80}, {Protocol: 17, Number: 53}}; !slices.Equal(s.Ports, want) {
		t.Errorf("ports: %v", s.Ports)
	}
	if len(s.PeerLinks) != 2 || s.PeerLinks[1].Name != "eth2" {
		t.Errorf("links to peers: %+v", s.PeerLinks)
	}
	if want := netip.MustParseAddrPort("203.0.113.1:1179"); len(s.Peers) != 1 || s.Peers[0] != want {
		t.Errorf("peers: %v", s.Peers)
	}
	if s.Nodes[[6]byte{2}] != "node1" || s.Nodes[[6]byte{4}] != "node2" || s.Nodes[[6]byte{6}] != "node2" || s.Nodes[[6]byte{8}] != "" {
		t.Errorf("nodes: %v", s.Nodes)
	}
}

func TestSubjectIsAnAddressThatCanBeAnnounced(t *testing.T) {
	for addr, want := range map[string]error{"192.0.2.9": nil, "198.51.100.1": nil, "192.0.2.99": ErrNotOurs, "203.0.113.1": ErrNotOurs} {
		s, err := subject(lastPass(t), netip.MustParseAddr(addr))
		if !errors.Is(err, want) || want == nil && err != nil || len(s.Decision.Services) > 0 {
			t.Errorf("%s: %+v, %v", addr, s, err)
		}
	}
	if _, err := (&Loop{}).Subject(netip.MustParseAddr("192.0.2.9")); !errors.Is(err, ErrNoPlan) {
		t.Errorf("before the first plan: %v", err)
	}
}
