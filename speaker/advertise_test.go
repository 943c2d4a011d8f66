package speaker

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bgp"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
)

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const routed = `
peers:
- {my-asn: 64512, peer-asn: 64513, peer-address: 192.0.2.1}
- {name: edge, my-asn: 64512, peer-asn: 64513, peer-address: 192.0.2.2, node-selectors: [{match-labels: {edge: ""}}]}
address-pools:
- name: routed
  protocol: bgp
  addresses: [198.51.100.0/24, "2001:db8::/64"]
  bgp-advertisements:
  - {communities: [64512:7, 64512:1:2]}
  - {aggregation-length: 25, aggregation-length-v6: 64, localpref: 150, peers: [edge]}
- {name: both, protocol: both, addresses: [203.0.113.0/24]}
- {name: few, protocol: bgp, addresses: [203.0.112.0/24], node-selectors: [{match-labels: {edge: ""}}]}
`

func describeRoutes(routes []bgp.Route) (lines string) {
	for _, r := range routes {
		lines += fmt.Sprint(r.Prefix, " ", r.LocalPref, " ", r.Communities, " ", r.LargeCommunities, " ", r.Peers)
		if r.MED > 0 {
			lines += fmt.Sprint(" med ", r.MED)
		}
		lines += "\n"
	}
	return lines
}

func TestEveryNodeAdvertises(t *testing.T) {
	both := parse(t, routed)
	lonely := parse(t, "address-pools: [{name: p, protocol: bgp, addresses: [198.51.100.0/24]}]")
	vips := func(s *State, addrs ...string) {
		s.Services[0].VIPs = nil
		for _, a := range addrs {
			s.Services[0].VIPs = append(s.Services[0].VIPs, addr(a))
		}
	}
	med := fmt.Sprint(election.Cost(addr("198.51.100.7"), "node1"))
	edge := func(s *State) { s.Nodes[0].Labels = map[string]string{"edge": ""} }
	onlyEdge := parse(t, strings.Replace(routed, "- {name: both, protocol: both, addresses: [203.0.113.0/24]}", `- {name: both, protocol: bgp, addresses: [203.0.113.0/24], bgp-advertisements: [{peers: [edge]}]}`, 1))
	for _, test := range []struct {
		name   string
		change func(*State)
		plan   string
		routes string
	}{
		{
			name:   "a route for each advertisement, and not on the link",
			change: func(s *State) { vips(s, "198.51.100.7"); edge(s) },
			plan:   "198.51.100.7 services=default/web pool=routed bgp=Advertised\n",
			routes: "198.51.100.7/32 0 [4227858439] [[64512 1 2]] []\n198.51.100.0/25 150 [] [] [edge]\n",
		},
		{
			name:   "addresses of one aggregate have one route",
			change: func(s *State) { vips(s, "2001:db8::7", "2001:db8::8"); edge(s) },
			plan:   "2001:db8::7 services=default/web pool=routed bgp=Advertised\n2001:db8::8 services=default/web pool=routed bgp=Advertised\n",
			routes: "2001:db8::7/128 0 [4227858439] [[64512 1 2]] []\n2001:db8::/64 150 [] [] [edge]\n2001:db8::8/128 0 [4227858439] [[64512 1 2]] []\n",
		},
		{
			name:   "a pool of both is announced in both ways",
			change: func(s *State) { vips(s, "203.0.113.7"); s.Members = alive("node2") },
			plan:   "203.0.113.7 services=default/web pool=both owner=node2 candidates=node2 reason=OtherOwner bgp=Advertised\n",
			routes: "203.0.113.7/32 0 [] [] []\n",
		},
		{
			name: "if a client's connections belong together, routers are told which node is best, but not in an aggregate",
			change: func(s *State) {
				vips(s, "198.51.100.7")
				edge(s)
				s.Services[0].Sticky = true
			},
			plan:   "198.51.100.7 services=default/web pool=routed bgp=Advertised med=" + med + "\n",
			routes: "198.51.100.7/32 0 [4227858439] [[64512 1 2]] [] med " + med + "\n198.51.100.0/25 150 [] [] [edge]\n",
		},
		{
			name: "so it is if only one of the Services at an address asks for it",
			change: func(s *State) {
				vips(s, "198.51.100.7")
				s.Services = append(s.Services, Service{Name: "default/other", VIPs: s.Services[0].VIPs, Sticky: true})
			},
			plan:   "198.51.100.7 services=default/other,default/web pool=routed bgp=Advertised med=" + med + "\n",
			routes: "198.51.100.7/32 0 [4227858439] [[64512 1 2]] [] med " + med + "\n",
		},
		{
			name:   "neither other speakers nor links matter",
			change: func(s *State) { vips(s, "198.51.100.7"); s.Members, s.Silent = nil, "it is cut off" },
			plan:   "silent: it is cut off\n198.51.100.7 services=default/web pool=routed bgp=Advertised\n",
			routes: "198.51.100.7/32 0 [4227858439] [[64512 1 2]] []\n",
		},
		{
			name:   "an excluded node advertises nothing",
			change: func(s *State) { vips(s, "198.51.100.7"); s.Nodes[0].Excluded = "label" },
			plan:   "198.51.100.7 services=default/web pool=routed bgp=Excluded\n",
		},
		{
			name:   "nor does one that is no node of the cluster",
			change: func(s *State) { vips(s, "198.51.100.7"); s.Nodes = s.Nodes[1:] },
			plan:   "198.51.100.7 services=default/web pool=routed bgp=Excluded\n",
		},
		{
			name:   "nor one that the pool leaves out",
			change: func(s *State) { vips(s, "203.0.112.7") },
			plan:   "203.0.112.7 services=default/web pool=few bgp=NotSelected\n",
		},
		{
			name:   "without a peer there is nobody to tell",
			change: func(s *State) { vips(s, "198.51.100.7"); s.Config = lonely },
			plan:   "198.51.100.7 services=default/web pool=p bgp=NoPeer\n",
		},
		{
			name:   "nor if the advertisements are for peers of other nodes",
			change: func(s *State) { vips(s, "203.0.113.7"); s.Config = onlyEdge },
			plan:   "203.0.113.7 services=default/web pool=both bgp=NoPeer\n",
		},
		{
			name: "Local is advertised from where an endpoint is",
			change: func(s *State) {
				vips(s, "203.0.113.7")
				s.Services[0].Local, s.Services[0].EndpointNodes = true, []string{"node1", "node2"}
			},
			plan:   "203.0.113.7 services=default/web pool=both owner=node1 candidates=node1,node2 reason=Owner bgp=Advertised links=eth0\n",
			routes: "203.0.113.7/32 0 [] [] []\n",
		},
		{
			name: "and from nowhere else",
			change: func(s *State) {
				vips(s, "203.0.113.7")
				s.Services[0].Local, s.Services[0].EndpointNodes = true, []string{"node2"}
			},
			plan: "203.0.113.7 services=default/web pool=both owner=node2 candidates=node2 reason=OtherOwner bgp=NoLocalEndpoint\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := state(func(s *State) { s.Config = both })
			test.change(&s)
			plan := MakePlan(s)
			if got := strings.TrimPrefix(plan.Describe(), "node node1\n"); got != test.plan {
				t.Errorf("got  %s\nwant %s", got, test.plan)
			}
			if got := describeRoutes(plan.Routes); got != test.routes {
				t.Errorf("routes:\n%s\nwant:\n%s", got, test.routes)
			}
		})
	}
}

func TestAnAddressWhosePoolIsGoneIsAdvertisedAsBefore(t *testing.T) {
	s := state(func(s *State) { s.Services[0].VIPs = []netip.Addr{addr("198.51.100.7")} })
	s.Config = parse(t, routed)
	var p Planner
	before := p.Plan(s)
	s.Config = parse(t, "peers: [{my-asn: 64512, peer-asn: 64513, peer-address: 192.0.2.1}]")
	for range 2 {
		after := p.Plan(s)
		if describeRoutes(after.Routes) != describeRoutes(before.Routes) || after.Decisions[0].Reason != NotLayer2 {
			t.Errorf("%s%s", after.Describe(), describeRoutes(after.Routes))
		}
	}
	s.Config = parse(t, "address-pools: [{name: other, protocol: layer2, addresses: [198.51.100.0/24]}]")
	if after := p.Plan(s); len(after.Routes) > 0 || after.Decisions[0].Reason == NotLayer2 {
		t.Errorf("the address has a pool of layer 2 now: %s", after.Describe())
	}
}

func TestPeersOfANode(t *testing.T) {
	c := parse(t, `
bfd-profiles: [{name: fast, receive-interval: 100, transmit-interval: 50, detect-multiplier: 5, minimum-ttl: 250}]
peers:
- {name: near, my-asn: 64512, peer-asn: 64513, peer-address: 192.0.2.1, bfd-profile: fast}
- {name: far, my-asn: 64512, peer-asn: 64513, peer-address: 10.9.9.9, ebgp-multihop: true, bfd-profile: fast, router-id: 10.0.0.7, graceful-restart: 60s}
- {name: hops, my-asn: 64512, peer-asn: 64513, peer-address: 10.9.9.8, ebgp-multihop: true, ebgp-multihop-ttl: 4}
- {name: inside, my-asn: 64512, peer-asn: 64512, peer-address: 10.9.9.7, bfd-profile: fast}
- {name: bound, my-asn: 64512, peer-asn: 64513, peer-address: "2001:db8:9::1", source-address: "2001:db8:2::11"}
- {name: linklocal, my-asn: 64512, peer-asn: 64513, peer-address: "fe80::1%eth1", bfd-profile: fast}
- {name: secret, my-asn: 64512, peer-asn: 64513, peer-address: 192.0.2.3, password-secret: known}
- {name: unknown, my-asn: 64512, peer-asn: 64513, peer-address: 192.0.2.4, password-secret: unknown}
- {name: others, my-asn: 64512, peer-asn: 64513, peer-address: 192.0.2.2, node-selectors: [{match-labels: {edge: ""}}]}
`)
	here := surroundings{
		node:  Node{Name: "node1"},
		addrs: []netip.Addr{addr("172.16.0.11"), addr("fd00::11")},
		links: []links.Link{
			{Name: "eth0", IPv4: netip.MustParsePrefix("192.0.2.11/24")},
			{Name: "eth1", IPv4: netip.MustParsePrefix("198.51.100.11/24"), IPv6: netip.MustParsePrefix("2001:db8:2::11/64")},
		},
		path: func(addr, _ netip.Addr) (int, bool) {
			switch {
			case addr.Zone() == "eth1":
				return 3, true
			case netip.MustParsePrefix("192.0.2.0/24").Contains(addr):
				return 2, true
			}
			return 2, false
		},
		password: func(name string) (string, error) {
			if name == "known" {
				return "sesame", nil
			}
			return "", errors.New("there is no Secret")
		},
	}
	var got []string
	for _, p := range bgpPeers(c, here) {
		text := fmt.Sprintf("%s id=%s ttl=%d hops=%s,%s", p.Name, p.RouterID, p.MultihopTTL, p.NextHop4, p.NextHop6)
		if p.BFD.Peer.IsValid() {
			text += fmt.Sprintf(" bfd=%v/%v×%d", p.BFD.Receive, p.BFD.Transmit, p.BFD.Multiplier)
			if p.BFD.Multihop {
				text += fmt.Sprintf(" multihop>=%d", p.BFD.MinimumTTL)
			} else {
				text += fmt.Sprintf(" link=%d", p.BFD.Link)
			}
		}
		if p.Password+p.Unready != "" || p.GracefulRestart > 0 {
			text += fmt.Sprintf(" password=%q unready=%q restart=%v", p.Password, p.Unready, p.GracefulRestart)
		}
		got = append(got, text)
	}
	want := []string{
		"near id=172.16.0.11 ttl=0 hops=192.0.2.11,fd00::11 bfd=100ms/50ms×5 link=2",
		`far id=10.0.0.7 ttl=255 hops=172.16.0.11,fd00::11 bfd=100ms/50ms×5 multihop>=250 password="" unready="" restart=1m0s`,
		"hops id=172.16.0.11 ttl=4 hops=172.16.0.11,fd00::11",
		"inside id=172.16.0.11 ttl=0 hops=172.16.0.11,fd00::11 bfd=100ms/50ms×5 multihop>=250",
		"bound id=172.16.0.11 ttl=0 hops=198.51.100.11,2001:db8:2::11",
		"linklocal id=172.16.0.11 ttl=0 hops=198.51.100.11,2001:db8:2::11 bfd=100ms/50ms×5 link=3",
		`secret id=172.16.0.11 ttl=0 hops=192.0.2.11,fd00::11 password="sesame" unready="" restart=0s`,
		`unknown id=172.16.0.11 ttl=0 hops=192.0.2.11,fd00::11 password="" unready="there is no Secret" restart=0s`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if d := bgpPeers(c, here)[0].HoldTime; d != 90*time.Second {
		t.Errorf("hold-time %v", d)
	}

	here.addrs = here.addrs[1:]
	first := bgpPeers(c, here)[0].RouterID
	here.node.Name = "node2"
	if second := bgpPeers(c, here)[0].RouterID; !first.Is4() || first == second || first.IsUnspecified() {
		t.Errorf("without IPv4 two nodes have the router IDs %s and %s", first, second)
	}
}
