package plan

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestSpreadStatusSaysWhyAndWhatToDo(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*State)
		want   string // reason: message
	}{
		"nobody wants it": {func(s *State) { s.Services[0].Spread = new(false) }, "<nil>"},
		"spread":          {func(*State) {}, "true Spread: 192.0.2.7 is spread over 3 nodes"},
		"two families, and one fails": {func(s *State) {
			s.Services[0].VIPs = append(s.Services[0].VIPs, addr("2001:db8::7"))
			for _, n := range s.Nodes {
				s.change(n.Name, func(m *Member) { m.Segments[0].IPv6 = netip.Prefix{} })
			}
		}, "false NotCapable: 192.0.2.7 is spread over 3 nodes; 2001:db8::7 is not spread: no node that may announce it can spread, and has an IPv6 address on the link. Give the nodes such addresses in one network"},
		"no kernel can": {func(s *State) {
			s.CannotSpread = "the kernel has no nftables; load the module nf_tables"
			for _, n := range s.Nodes {
				s.change(n.Name, func(m *Member) { m.Spreads = false })
			}
		}, "false NotCapable: 192.0.2.7 is not spread: no node that may announce it can spread; node node3: the kernel has no nftables; load the module nf_tables"},
		"the kernel of the owner has no rules": {func(s *State) {
			for _, n := range s.Nodes {
				s.change(n.Name, func(m *Member) { m.Spreads = false })
			}
		}, "false NotCapable: 192.0.2.7 is not spread: no node that may announce it can spread; the kernel of node node3 does not have the rules yet. If this stays, the page /debug/spread of the node says why"},
		"one candidate": {func(s *State) { s.Nodes[0].Excluded, s.Nodes[1].Excluded = "x", "x" },
			"false OneCandidate: 192.0.2.7 is not spread: only node node3 may announce it and can spread. The page /debug/plan of the other speakers says why they cannot"},
		"one node has endpoints": {func(s *State) { s.local(map[string]int{"node2": 3}) },
			"false OneCandidate: 192.0.2.7 is not spread: the traffic policy is Local, and only node node2 has ready endpoints and can spread. Run pods on more nodes"},
		"no endpoint": {func(s *State) { s.local(nil) },
			"false NoOwner: 192.0.2.7 is not spread: no node announces it by layer 2; the condition lb.baremetal/Announced says why"},
		"BGP": {func(s *State) { s.Services[0].VIPs[0] = addr("198.51.100.7") },
			"false NotLayer2: 198.51.100.7 is not spread: its pool is announced over BGP alone, and the routers spread the flows. Nothing more is needed"},
		"both policies": {func(s *State) {
			s.Services = append(s.Services, Service{Name: "a/a", VIPs: s.Services[0].VIPs, Local: true, EndpointNodes: []string{"node1"}})
		}, "false MixedPolicies: 192.0.2.7 is not spread: Services with both values of externalTrafficPolicy share it. Give all of them the same value"},
	} {
		all := said(spreadState(t, test.change))["default/web"]
		if len(all) != 1 {
			t.Fatalf("%s: %d speakers speak for the Service", name, len(all))
		}
		got := "<nil>"
		if status := all[0].Spread; status != nil {
			got = fmt.Sprintf("%v %s: %s", status.OK, status.Reason, status.Message)
		}
		if got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, test.want)
		}
	}
}
