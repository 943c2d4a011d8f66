package plan

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/election"
)

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

const routedPeers = `
peers:
- {my-asn: 64512, peer-asn: 64513, peer-address: 192.0.2.1}
- {name: edge, my-asn: 64512, peer-asn: 64513, peer-address: 192.0.2.2, node-selectors: [{match-labels: {edge: ""}}]}
`

const routed = routedPeers + `
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

const withdrawing = routedPeers + `
address-pools:
- {name: watched, protocol: bgp, addresses: [198.51.100.0/24], withdraw-without-endpoints: true, bgp-advertisements: [{}, {aggregation-length: 25}]}
- {name: both, protocol: both, addresses: [203.0.113.0/24], withdraw-without-endpoints: true}
`

func describeRoutes(routes []Route) (lines string) {
	for _, r := range routes {
		lines += fmt.Sprint(r.Prefix, " ", r.LocalPref, " ", r.Communities, " ", r.LargeCommunities, " ", r.Peers)
		if r.MED > 0 {
			lines += fmt.Sprint(" med ", r.MED)
		}
		lines += "\n"
	}
	return lines
}

func TestRoutesOfANode(t *testing.T) {
	both, withdraws := parse(t, routed), parse(t, withdrawing)
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
			name: "session affinity: routers are told which node is best, but not in an aggregate",
			change: func(s *State) {
				vips(s, "198.51.100.7")
				edge(s)
				s.Services[0].Sticky = true
			},
			plan:   "198.51.100.7 services=default/web pool=routed bgp=Advertised med=" + med + "\n",
			routes: "198.51.100.7/32 0 [4227858439] [[64512 1 2]] [] med " + med + "\n198.51.100.0/25 150 [] [] [edge]\n",
		},
		{
			name: "session affinity of one Service counts for all Services at the VIP",
			change: func(s *State) {
				vips(s, "198.51.100.7")
				s.Services = append(s.Services, Service{Name: "default/other", VIPs: s.Services[0].VIPs, Sticky: true})
			},
			plan:   "198.51.100.7 services=default/other,default/web pool=routed bgp=Advertised med=" + med + "\n",
			routes: "198.51.100.7/32 0 [4227858439] [[64512 1 2]] [] med " + med + "\n",
		},
		{
			name: "neither other members nor links matter",
			change: func(s *State) {
				vips(s, "198.51.100.7")
				s.Members, s.Fenced = nil, "no member is reached"
			},
			plan:   "fenced: no member is reached\n198.51.100.7 services=default/web pool=routed bgp=Advertised\n",
			routes: "198.51.100.7/32 0 [4227858439] [[64512 1 2]] []\n",
		},
		{
			name:   "an excluded node advertises nothing",
			change: func(s *State) { vips(s, "198.51.100.7"); s.Nodes[0].Excluded = "label" },
			plan:   "198.51.100.7 services=default/web pool=routed bgp=Excluded\n",
		},
		{
			name:   "a node that is not in the cluster advertises nothing",
			change: func(s *State) { vips(s, "198.51.100.7"); s.Nodes = s.Nodes[1:] },
			plan:   "198.51.100.7 services=default/web pool=routed bgp=Excluded\n",
		},
		{
			name:   "a node that the pool leaves out advertises nothing",
			change: func(s *State) { vips(s, "203.0.112.7") },
			plan:   "203.0.112.7 services=default/web pool=few bgp=NotSelected\n",
		},
		{
			name:   "without a peer nothing is advertised",
			change: func(s *State) { vips(s, "198.51.100.7"); s.Config = lonely },
			plan:   "198.51.100.7 services=default/web pool=p bgp=NoPeer\n",
		},
		{
			name:   "nothing is advertised if the advertisements are for peers of other nodes",
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
			name: "Local is not advertised from other nodes",
			change: func(s *State) {
				vips(s, "203.0.113.7")
				s.Services[0].Local, s.Services[0].EndpointNodes = true, []string{"node2"}
			},
			plan: "203.0.113.7 services=default/web pool=both owner=node2 candidates=node2 reason=OtherOwner bgp=NoLocalEndpoint\n",
		},
		{
			name: "no endpoint is ready, and the pool does not care",
			change: func(s *State) {
				vips(s, "203.0.113.7")
				s.Services[0].Endpointless, s.Members = true, alive("node2")
			},
			plan:   "203.0.113.7 services=default/web pool=both owner=node2 candidates=node2 reason=OtherOwner bgp=Advertised\n",
			routes: "203.0.113.7/32 0 [] [] []\n",
		},
		{
			name: "no endpoint is ready, and the pool withdraws; layer 2 goes on",
			change: func(s *State) {
				vips(s, "203.0.113.7")
				s.Config, s.Services[0].Endpointless, s.Members = withdraws, true, alive("node2")
			},
			plan: "203.0.113.7 services=default/web pool=both owner=node2 candidates=node2 reason=OtherOwner bgp=NoReadyEndpoint\n",
		},
		{
			name: "one Service at the VIP has an endpoint",
			change: func(s *State) {
				vips(s, "203.0.113.7")
				s.Config, s.Services[0].Endpointless, s.Members = withdraws, true, alive("node2")
				s.Services = append(s.Services, Service{Name: "default/other", VIPs: s.Services[0].VIPs})
			},
			plan:   "203.0.113.7 services=default/other,default/web pool=both owner=node2 candidates=node2 reason=OtherOwner bgp=Advertised\n",
			routes: "203.0.113.7/32 0 [] [] []\n",
		},
		{
			name: "an aggregate stays while one VIP in it has an endpoint",
			change: func(s *State) {
				vips(s, "198.51.100.7")
				s.Config, s.Services[0].Endpointless = withdraws, true
				s.Services = append(s.Services, Service{Name: "default/other", VIPs: []netip.Addr{addr("198.51.100.8")}})
			},
			plan:   "198.51.100.7 services=default/web pool=watched bgp=NoReadyEndpoint\n198.51.100.8 services=default/other pool=watched bgp=Advertised\n",
			routes: "198.51.100.8/32 0 [] [] []\n198.51.100.0/25 0 [] [] []\n",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := state(func(s *State) { s.Config = both })
			test.change(&s)
			plan := Make(s, Plan{})
			if got := strings.TrimPrefix(plan.Describe(), "node node1\n"); got != test.plan {
				t.Errorf("got  %s\nwant %s", got, test.plan)
			}
			if got := describeRoutes(plan.Routes); got != test.routes {
				t.Errorf("routes:\n%s\nwant:\n%s", got, test.routes)
			}
		})
	}
}

func TestOrphanIsAnnouncedAsItsPoolSaid(t *testing.T) {
	withPool := state(func(s *State) {
		s.Services[0].VIPs = []netip.Addr{addr("198.51.100.7")}
		s.Config, s.Orphans = parse(t, routed), nil
	})
	want := Make(withPool, Plan{})
	orphan := withPool
	orphan.Config = parse(t, routedPeers)
	pool, ok := withPool.Config.PoolOf(addr("198.51.100.7"))
	if !ok || len(want.Routes) == 0 {
		t.Fatalf("the pool is not what the test expects: %s", want.Describe())
	}
	published, behind := orphan, orphan
	published.Orphans = map[netip.Addr]*config.Pool{addr("198.51.100.7"): pool}
	behind.Earlier = withPool.Config
	for name, p := range map[string]Plan{
		"a speaker that knew the pool":                    Make(published, Make(withPool, Plan{})),
		"a speaker that has restarted":                    Make(published, Plan{}),
		"the cluster manager has not seen the change yet": Make(behind, Plan{}),
	} {
		if describeRoutes(p.Routes) != describeRoutes(want.Routes) || p.Decisions[0].BGP != Advertised {
			t.Errorf("%s: %s%s", name, p.Describe(), describeRoutes(p.Routes))
		}
	}
	first := orphan
	first.NothingPublished = true
	if p := Make(first, Plan{}); p.Decisions[0].BGP != Advertised || p.Decisions[0].Owner == "" || describeRoutes(p.Routes) != "198.51.100.7/32 0 [] [] []\n" {
		t.Errorf("while an older version is replaced: %s%s", p.Describe(), describeRoutes(p.Routes))
	}
	if p := Make(orphan, Make(withPool, Plan{})); len(p.Routes) > 0 || p.Decisions[0].Reason != Unpublished {
		t.Errorf("an address that nobody gave is announced: %s", p.Describe())
	}
}

func TestAddressOfANodeIsNeverAnnounced(t *testing.T) {
	s := state(func(s *State) {
		s.Config = parse(t, routed)
		s.Services[0].VIPs = []netip.Addr{addr("198.51.100.7")}
		s.NodeAddrs = map[netip.Addr]string{addr("198.51.100.7"): "node3"}
	})
	p := Make(s, Plan{})
	if len(p.Routes) > 0 || p.Decisions[0].Reason != NodeAddress || p.Decisions[0].BGP != "" {
		t.Errorf("%s%s", p.Describe(), describeRoutes(p.Routes))
	}
}

func TestSessionsStayWhileConfigOrNodeIsUnknown(t *testing.T) {
	for name, test := range map[string]struct {
		change     func(*State)
		keep       bool
		keepRoutes bool
	}{
		"all is known":              {func(*State) {}, false, true},
		"no configuration":          {func(s *State) { s.Config = nil }, true, true},
		"no Node object":            {func(s *State) { s.Nodes = s.Nodes[1:] }, true, false},
		"the node is shutting down": {func(s *State) { s.Nodes[0].ShuttingDown = true }, false, false},
		"the node is cordoned":      {func(s *State) { s.Nodes[0].Cordoned = true }, false, false},
		"the node is excluded":      {func(s *State) { s.Nodes[0].Excluded = "label" }, false, false},
	} {
		s := state(func(s *State) { s.Config = parse(t, routed) })
		test.change(&s)
		p := Make(s, Plan{})
		if p.KeepSessions != test.keep || p.KeepRoutes != test.keepRoutes || test.keep != (p.Peers == nil) {
			t.Errorf("%s: KeepSessions=%v KeepRoutes=%v peers=%d", name, p.KeepSessions, p.KeepRoutes, len(p.Peers))
		}
	}
}

func TestAddressThatIsWithheldIsNotAdvertised(t *testing.T) {
	c, err := config.Parse([]byte(`
peers: [{name: tor, my-asn: 64512, peer-asn: 64513, peer-address: 10.0.0.1}]
address-pools: [{name: default, protocol: both, addresses: [192.0.2.0/24]}]`))
	if err != nil {
		t.Fatal(err)
	}
	s := state(func(s *State) { s.Config, s.Node = c, "node3" })
	s.Services[0].Withheld = s.Services[0].VIPs
	if p := Make(s, Plan{}); p.Decisions[0].BGP != Withheld || len(p.Routes) > 0 || p.Decisions[0].Reason != Owner {
		t.Errorf("%+v, routes %v", p.Decisions[0], p.Routes)
	}
	s.Services = append(s.Services, Service{Name: "default/shares", VIPs: s.Services[0].VIPs})
	if p := Make(s, Plan{}); p.Decisions[0].BGP != Advertised {
		t.Errorf("while another Service has it in its status: %+v", p.Decisions[0])
	}
}

func TestNodeAdvertisesWhenItCanSendTrafficToPods(t *testing.T) {
	s := state(func(s *State) {
		s.Config = parse(t, `
peers: [{name: tor, my-asn: 64512, peer-asn: 64513, peer-address: 10.0.0.1}]
address-pools: [{name: default, protocol: bgp, addresses: [192.0.2.0/24]}]`)
		s.Unready = true
	})
	if p := Make(s, Plan{}); p.Decisions[0].BGP != NotReady || len(p.Routes) > 0 || p.KeepSessions || len(p.Peers) != 1 {
		t.Errorf("%+v, routes %v, peers %v", p.Decisions[0], p.Routes, p.Peers)
	}
	s.Unready = false
	if p := Make(s, Plan{}); p.Decisions[0].BGP != Advertised || len(p.Routes) != 1 {
		t.Errorf("%+v, routes %v", p.Decisions[0], p.Routes)
	}
}
