package plan

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// said returns what all speakers together say about the Services of a state.
func said(s State) map[string][]Announcement {
	all := map[string][]Announcement{}
	for _, m := range s.Members {
		s.Node = m.Name
		for _, a := range Announcements(s, Make(s, Plan{})) {
			all[a.Service] = append(all[a.Service], a)
		}
	}
	return all
}

func TestAnnouncementSaysWhoAnnouncesOrWhyNobody(t *testing.T) {
	const vip = "198.51.100.7"
	for name, test := range map[string]struct {
		change func(*State)
		want   string // reason: message
	}{
		"layer 2": {func(*State) {}, "Announced: 192.0.2.7 is announced by node node3"},
		"every node is excluded": {func(s *State) {
			for i := range s.Nodes {
				s.Nodes[i].Excluded = "it has the label x"
			}
		}, "NodesExcluded: 192.0.2.7 is not announced: no node may announce: node1: it has the label x; node2: it has the label x; node3: it has the label x"},
		"no endpoint": {func(s *State) { s.Services[0].Local = true }, "NoEndpoint: 192.0.2.7 is not announced: the traffic policy is Local, and no node that may announce has a ready endpoint"},
		"no link": {func(s *State) {
			s.Orphans = map[netip.Addr]*config.Pool{addr("192.0.2.7"): {Protocol: config.Layer2, Interfaces: []string{"vlan7"}}}
		}, "NoLink: 192.0.2.7 is not announced: no node that may announce has one of the pool's interfaces vlan7"},
		"a conflict": {func(s *State) { s.Conflicts = map[netip.Addr]string{addr("192.0.2.7"): "02:00:00:00:00:99"} },
			"Conflict: 192.0.2.7 is not announced: a foreign host with the MAC address 02:00:00:00:00:99 has it. Remove the address from that host, or from the pool"},
		"an address of a node": {func(s *State) { s.NodeAddrs = map[netip.Addr]string{addr("192.0.2.7"): "node2"} }, "NodeAddress: 192.0.2.7 is not announced: it is an address of node node2"},
		"an address that nobody gave": {func(s *State) { s.Orphans = nil },
			"Unpublished: 192.0.2.7 is not announced: no pool has it, and the cluster manager has not given it to this Service"},
		"BGP": {func(s *State) {
			s.Config, s.Services[0].VIPs = parse(t, routed), []netip.Addr{addr(vip)}
			s.Members[0].Advertises, s.Members[2].Advertises = true, true
		}, "Announced: 198.51.100.7 is announced by 2 nodes over BGP"},
		"BGP on one node": {func(s *State) {
			s.Config, s.Services[0].VIPs = parse(t, routed), []netip.Addr{addr(vip)}
			s.Members[0].Advertises = true
		}, "Announced: 198.51.100.7 is announced by 1 node over BGP"},
		"BGP without a session": {func(s *State) { s.Config, s.Services[0].VIPs = parse(t, routed), []netip.Addr{addr(vip)} },
			"NoSession: 198.51.100.7 is not announced: no node has an established session with a BGP peer of the pool"},
		"BGP without endpoints": {func(s *State) {
			s.Config, s.Services[0].VIPs, s.Services[0].Endpointless = parse(t, withdrawing), []netip.Addr{addr(vip)}, true
			s.Members[0].Advertises = true
			s.Nodes[0].Excluded = "it has the label x" // it may be the one that speaks
		}, "NoEndpoint: 198.51.100.7 is not announced: no endpoint is ready, and the pool has withdraw-without-endpoints"},
		"both, without endpoints": {func(s *State) {
			s.Config, s.Services[0].VIPs, s.Services[0].Endpointless = parse(t, withdrawing), []netip.Addr{addr("203.0.113.7")}, true
		}, "Announced: 203.0.113.7 is announced by node node1, but not over BGP: no endpoint is ready, and the pool has withdraw-without-endpoints"},
		"BGP for no node": {func(s *State) { s.Config, s.Services[0].VIPs = parse(t, routed), []netip.Addr{addr("203.0.112.7")} },
			"NodesExcluded: 203.0.112.7 is not announced: the node-selectors of the pool select no node"},
		"both, and one fails": {func(s *State) { s.Config, s.Services[0].VIPs = parse(t, routed), []netip.Addr{addr("203.0.113.7")} },
			"Announced: 203.0.113.7 is announced by node node1, but not over BGP: no node has an established session with a BGP peer of the pool"},
		"two families, and one fails": {func(s *State) {
			s.Services[0].VIPs = append(s.Services[0].VIPs, addr("2001:db8::99"))
		}, "Unpublished: 192.0.2.7 is announced by node node3; 2001:db8::99 is not announced: no pool has it, and the cluster manager has not given it to this Service"},
	} {
		t.Run(name, func(t *testing.T) {
			all := said(state(test.change))["default/web"]
			if len(all) != 1 {
				t.Fatalf("%d speakers speak for the Service: %+v", len(all), all)
			}
			got := fmt.Sprintf("%s: %s", all[0].Reason, all[0].Message)
			if got != test.want || all[0].OK != strings.HasPrefix(test.want, "Announced") {
				t.Errorf("got  %v %s\nwant %s", all[0].OK, got, test.want)
			}
		})
	}
}

func TestEveryServiceHasOneSpeakerThatSpeaksForIt(t *testing.T) {
	s := state(func(s *State) {
		s.Services = nil
		for i := range 100 {
			s.Services = append(s.Services, Service{Name: fmt.Sprint("default/s", i), VIPs: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})}, Local: i%3 == 0})
		}
	})
	all := said(s)
	for _, svc := range s.Services {
		if len(all[svc.Name]) != 1 {
			t.Errorf("%d speakers speak for %s", len(all[svc.Name]), svc.Name)
		}
	}
}

func BenchmarkAnnouncements1000Services3Nodes(b *testing.B) {
	s := large(1000, 3)
	p := Make(s, Plan{})
	for b.Loop() {
		Announcements(s, p)
	}
}

// The foreign host is on the segment. The address is in no status, so no node advertises it.
func TestAddressThatIsWithheldIsNotAnnounced(t *testing.T) {
	s := state(func(s *State) {
		s.Config = parse(t, `
peers: [{name: tor, my-asn: 64512, peer-asn: 64513, peer-address: 10.0.0.1}]
address-pools: [{name: default, protocol: both, addresses: [192.0.2.0/24]}]`)
		s.Node, s.Conflicts = "node3", map[netip.Addr]string{addr("192.0.2.7"): "02:00:00:00:00:99"}
		s.Services[0].Withheld = s.Services[0].VIPs
		for i := range s.Members {
			s.Members[i].Advertises = true
		}
	})
	if got := Announcements(s, Make(s, Plan{})); len(got) != 1 || got[0].OK || got[0].Reason != string(Conflict) {
		t.Errorf("%+v", got)
	}
}
