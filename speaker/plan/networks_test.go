package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// on returns a member with links on networks: "eth0 10.0.0.0/24", "eth1" for a link without
// an address, "-eth0 10.0.0.0/24" for a link on which the member is not heard.
func on(name string, links ...string) Member {
	m := Member{Name: name}
	for _, text := range links {
		var seg Segment
		var network string
		_, _ = fmt.Sscan(text, &seg.Link, &network)
		if network != "" {
			seg.Networks = nets(network)
		}
		if seg.Link[0] == '-' {
			seg.Link, seg.Dead = seg.Link[1:], true
		}
		m.Segments = append(m.Segments, seg)
	}
	return m
}

// The VIP is 192.0.2.7. Without a rule its owner would be node3.
func TestOnlyLinksOnTheAddressesNetworkCount(t *testing.T) {
	const lan, mgmt = "192.0.2.0/24", "10.0.0.0/24"
	tests := []struct {
		name   string
		change func(*State)
		want   string // owner and candidates
		links  string // of the owner
	}{
		{
			name: "the owner's data link has lost its carrier, and its management link lives",
			change: func(s *State) {
				s.Members = []Member{on("node1", "mgmt "+mgmt, "data "+lan), on("node2", "mgmt "+mgmt, "data "+lan), on("node3", "mgmt "+mgmt)}
			},
			want: "node1 [node1 node2]", links: "[data]",
		},
		{
			name: "the owner is not heard on its data link",
			change: func(s *State) {
				s.Members = []Member{on("node1", "mgmt "+mgmt, "data "+lan), on("node2", "mgmt "+mgmt, "data "+lan), on("node3", "mgmt "+mgmt, "-data "+lan)}
			},
			want: "node1 [node1 node2]", links: "[data]",
		},
		{
			name: "all data links are gone, and the nodes have told their networks",
			change: func(s *State) {
				s.Members = []Member{on("node1", "mgmt "+mgmt), on("node2", "mgmt "+mgmt), on("node3", "mgmt "+mgmt)}
				s.Networks = map[string][]NodeNetwork{"node2": {{"data", netip.MustParsePrefix(lan)}}}
			},
			want: " []", links: "[]",
		},
		{
			name: "networks of a node that may not announce do not count",
			change: func(s *State) {
				s.Members = []Member{on("node1", "mgmt "+mgmt), on("node2", "mgmt "+mgmt), on("node3", "mgmt "+mgmt)}
				s.Networks = map[string][]NodeNetwork{"node2": {{"data", netip.MustParsePrefix(lan)}}, "gone": {{"data", netip.MustParsePrefix(lan)}}}
				s.Nodes[1].Excluded = "it has the taint"
			},
			want: "node3 [node1 node3]", links: "[mgmt]",
		},
		{
			name: "only one node has a link on the network, and it is its only link",
			change: func(s *State) {
				s.Members = []Member{on("node1", "eth0 "+lan), on("node2", "eth0 "+mgmt), on("node3", "eth0 "+mgmt)}
			},
			want: "node1 [node1]", links: "[eth0]",
		},
		{
			name: "two links in one broadcast domain: only the one with the network announces",
			change: func(s *State) {
				s.Members = []Member{on("node1", "eth0 "+lan, "eth1 "+mgmt), on("node2", "eth0 "+lan, "eth1"), on("node3", "eth0 "+lan, "eth1")}
			},
			want: "node3 [node1 node2 node3]", links: "[eth0]",
		},
		{
			name:   "no node has a link on the network: all links count",
			change: func(s *State) { s.Members = []Member{on("node1", "eth0 "+mgmt), on("node3", "eth0 "+mgmt, "eth1")} },
			want:   "node3 [node1 node3]", links: "[eth0 eth1]",
		},
		{
			name: "an overlay network with a prefix for each node pushes nothing out",
			change: func(s *State) {
				for i := range 200 {
					name := fmt.Sprint("worker", i)
					s.Nodes = append(s.Nodes, Node{Name: name, Excluded: "it has the taint"})
					m := on(name, "eth0 "+mgmt)
					m.Segments[0].Networks = append(m.Segments[0].Networks, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, byte(i), 0}), 25))
					s.Members = append(s.Members, m)
				}
				s.Members = append(s.Members[3:], on("node1", "eth0 "+mgmt, "eth1 "+lan), on("node2", "eth0 "+mgmt))
			},
			want: "node1 [node1]", links: "[eth1]",
		},
		{
			name: "a wider network of another node holds the address, too",
			change: func(s *State) {
				s.Members = []Member{on("node1", "eth0 192.0.2.0/28"), on("node2", "eth0 192.0.0.0/16"), on("node3", "eth0 192.0.3.0/24")}
			},
			want: "node1 [node1 node2]", links: "[eth0]",
		},
		{
			name: "a wider network of the same node does not count, also when its own link is gone",
			change: func(s *State) {
				s.Members = []Member{on("node1", "mgmt 192.0.0.0/8", "data "+lan), on("node2", "mgmt 192.0.0.0/8", "-data "+lan), on("node3", "mgmt 192.0.0.0/8")}
				s.Networks = map[string][]NodeNetwork{"node3": {{"data", netip.MustParsePrefix(lan)}}}
			},
			want: "node1 [node1]", links: "[data]",
		},
		{
			name: "the pool names a link of the network over which the kernel does not send",
			change: func(s *State) {
				s.Orphans = map[netip.Addr]*config.Pool{addr("192.0.2.7"): {Protocol: config.Layer2, Interfaces: []string{"eth1"}}}
				s.Members = []Member{on("node1", "eth0 "+lan, "eth1"), on("node2", "eth0 "+lan), on("node3", "eth0 "+lan, "eth1")}
				for _, name := range []string{"node1", "node3"} {
					s.Networks = map[string][]NodeNetwork{name: {{"eth0", netip.MustParsePrefix(lan)}, {"eth1", netip.MustParsePrefix(lan)}}}
				}
			},
			want: "node3 [node3]", links: "[eth1]",
		},
		{
			name: "interfaces of the pool are asked first",
			change: func(s *State) {
				s.Orphans = map[netip.Addr]*config.Pool{addr("192.0.2.7"): {Protocol: config.Layer2, Interfaces: []string{"vlan7"}}}
				s.Members = []Member{on("node1", "eth0 "+lan), on("node2", "eth0 "+lan, "vlan7"), on("node3", "vlan7 "+mgmt)}
			},
			want: "node3 [node2 node3]", links: "[vlan7]",
		},
	}
	for _, tt := range tests {
		s := state(tt.change)
		d := Make(s, Plan{}).Decisions[0]
		s.Node = d.Owner
		links := Make(s, Plan{}).Decisions[0].Links
		if got := fmt.Sprint(d.Owner, " ", d.Candidates); got != tt.want || fmt.Sprint(links) != tt.links {
			t.Errorf("%s: %s on %v, want %s on %s", tt.name, got, links, tt.want, tt.links)
		}
	}
}

func TestPreferredNodeOwnsWhileItCan(t *testing.T) {
	edge := map[string]string{"edge": ""}
	c, err := config.Parse([]byte(`address-pools: [{name: default, protocol: layer2, addresses: [192.0.2.0/24], preferred-nodes: [{match-labels: {edge: ""}}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*State)
		want   string
	}{
		{"the pool prefers a node", func(s *State) { s.Nodes[1].Labels = edge }, "node2"},
		{"the pool's node is dead", func(s *State) { s.Nodes[1].Labels, s.Members = edge, alive("node1", "node3") }, "node3"},
		{"the pool's node is suppressed", func(s *State) { s.Nodes[1].Labels, s.Members[1].Suppressed = edge, true }, "node3"},
		{"the pool's node has no endpoint", func(s *State) {
			s.Nodes[1].Labels, s.Services[0].Local, s.Services[0].EndpointNodes = edge, true, []string{"node1"}
		}, "node1"},
		{"the Service prefers a node", func(s *State) { s.Services[0].Preferred = "node1" }, "node1"},
		{"the Service prefers another node than the pool", func(s *State) { s.Nodes[1].Labels, s.Services[0].Preferred = edge, "node1" }, "node1"},
		{"the Service prefers another node than the pool, with policy Local", func(s *State) {
			s.Nodes[1].Labels, s.Services[0].Preferred, s.Services[0].Local, s.Services[0].EndpointNodes = edge, "node1", true, []string{"node1", "node2"}
		}, "node1"},
		{"the Service's node is dead", func(s *State) { s.Members, s.Services[0].Preferred = alive("node2", "node3"), "node1" }, "node3"},
		{"the Service's node is suppressed", func(s *State) { s.Members[0].Suppressed, s.Services[0].Preferred = true, "node1" }, "node3"},
		{"the Service's node has no endpoint", func(s *State) {
			s.Services[0].Preferred, s.Services[0].Local, s.Services[0].EndpointNodes = "node1", true, []string{"node2"}
		}, "node2"},
	} {
		s := state(func(s *State) { s.Config = c; tt.change(s) })
		if d := Make(s, Plan{}).Decisions[0]; d.Owner != tt.want || !slices.Contains(d.Candidates, d.Owner) {
			t.Errorf("%s: %s of %v, want %s", tt.name, d.Owner, d.Candidates, tt.want)
		}
	}
}

func TestExcludeLabelCountsUnlessThePoolIgnoresIt(t *testing.T) {
	labelled := state(func(s *State) {
		s.Nodes, s.Members = []Node{{Name: "node1", ExcludeLabel: true}}, alive("node1")
	})
	p := Make(labelled, Plan{})
	if d := p.Decisions[0]; d.Reason != NoCandidate {
		t.Errorf("%+v", d)
	}
	if got := Announcements(labelled, p); len(got) > 0 && got[0].OK {
		t.Errorf("%+v", got)
	}
	if why := labelled.whyNoNode(labelled.Orphans[addr("192.0.2.7")]); why != "no node may announce: node1: "+excludeLabelReason {
		t.Errorf("%q", why)
	}
	labelled.Orphans = map[netip.Addr]*config.Pool{addr("192.0.2.7"): {Protocol: config.Layer2, IgnoreExcludeLabel: true}}
	if d := Make(labelled, Plan{}).Decisions[0]; d.Reason != Owner {
		t.Errorf("with a pool that ignores the label: %+v", d)
	}
}
