package plan

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

func TestExclusionsNameTheRuleThatLeavesANodeOut(t *testing.T) {
	const vip = "192.0.2.1"
	link := func(name, network string, dead bool) []Segment {
		p := netip.MustParsePrefix(network)
		return []Segment{{Link: name, IPv4: p, Networks: []netip.Prefix{p.Masked()}, Dead: dead}}
	}
	for name, test := range map[string]struct {
		pool   string
		change func(*State)
		why    string // of node2
	}{
		"node-selectors":   {"node-selectors: [{match-labels: {role: edge}}]", func(*State) {}, `the node-selectors of pool "a" do not select it`},
		"excluded":         {"", func(s *State) { s.Nodes[1].Excluded = "its network is unavailable" }, "its network is unavailable"},
		"no speaker":       {"", func(s *State) { s.Members = s.Members[:1] }, "its speaker does not run, is not heard, or is fenced"},
		"another network":  {"", func(s *State) { s.Members[1].Segments = link("eth0", "198.51.100.2/24", false) }, "it has no link that can be used in the network 192.0.2.0/24 of the address"},
		"a dead link":      {"", func(s *State) { s.Members[1].Segments = link("eth0", "192.0.2.102/24", true) }, "it is not heard on its link eth0"},
		"other interfaces": {"interfaces: [eth0]", func(s *State) { s.Members[1].Segments[0].Link = "eth7" }, "it has none of the pool's interfaces eth0"},
		"suppressed":       {"", func(s *State) { s.Members[1].Suppressed = true }, "it is suppressed"},
		"cannot spread":    {"spread: true", func(s *State) { s.Members[1].Spreads, s.Holders[1].Spreads = false, false }, "it cannot spread flows, and other nodes can"},
		"preferred nodes":  {"preferred-nodes: [{match-labels: {name: node1}}]", func(*State) {}, "the pool prefers other nodes (preferred-nodes)"},
		"policy Local":     {"", func(s *State) { s.Services[0].Local, s.Services[0].EndpointNodes = true, []string{"node1"} }, "the traffic policy is Local"},
		"BGP session":      {"protocol: bgp", func(*State) {}, "it has no established BGP session"},
		"a candidate":      {"", func(*State) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			text := "peers: [{peer-address: 192.0.2.254, peer-asn: 64500, my-asn: 64501}]\naddress-pools: [{name: a, addresses: [192.0.2.0/28]"
			if !strings.HasPrefix(test.pool, "protocol") {
				text += ", protocol: layer2"
			}
			if test.pool != "" {
				text += ", " + test.pool
			}
			c, err := config.Parse([]byte(text + "}]"))
			if err != nil {
				t.Fatal(err)
			}
			s := State{Node: "node1", Config: c, Services: []Service{{Name: "default/web", VIPs: []netip.Addr{netip.MustParseAddr(vip)}}}}
			for i, node := range []string{"node1", "node2"} {
				s.Nodes = append(s.Nodes, Node{Name: node, Labels: map[string]string{"name": node, "role": map[int]string{0: "edge"}[i]}})
				m := Member{Name: node, Spreads: true, Advertises: i == 0, Segments: link("eth0", "192.0.2.10"+string(rune('1'+i))+"/24", false)}
				s.Members, s.Holders = append(s.Members, m), append(s.Holders, m)
			}
			test.change(&s)
			p := Make(s, Plan{})
			got := ""
			for _, e := range Explain(s).Excluded(p.Decisions[0]) {
				if e.Node == "node2" {
					got = e.Why
				}
			}
			if test.why == "" && got != "" || !strings.Contains(got, test.why) {
				t.Errorf("%q, want %q", got, test.why)
			}
		})
	}
}
