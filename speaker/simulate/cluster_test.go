package simulate_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plandoc"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/simulate"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/view"
)

// text has a pool of each kind.
const text = `
peers:
- {name: tor, peer-address: 10.0.0.254, peer-asn: 64500, my-asn: 64501, password: redacted}
- {name: spine, peer-address: 10.0.0.253, peer-asn: 64500, my-asn: 64501, node-selectors: [{match-labels: {rack: a}}]}
address-pools:
- {name: plain, protocol: layer2, addresses: [10.0.1.0/24]}
- {name: wide, protocol: layer2, addresses: [10.0.2.0/24], spread: true}
- {name: routed, protocol: bgp, addresses: [10.0.3.0/24]}
- {name: always, protocol: layer2, addresses: [10.0.4.0/24], ignore-exclude-label: true}
- {name: racked, protocol: layer2, addresses: [10.0.5.0/24], node-selectors: [{match-labels: {rack: a}}]}
`

func parse(t testing.TB, text string) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

var nodes = []string{"node1", "node2", "node3"}

// service returns a Service of the policy Cluster with addresses.
func service(name string, vips ...string) plan.Service {
	s := plan.Service{Name: "default/" + name}
	for _, vip := range vips {
		s.VIPs = append(s.VIPs, addr(vip))
	}
	return s
}

// local returns a Service of the policy Local with an endpoint on each of the nodes.
func local(name, vip string, on ...string) plan.Service {
	s := service(name, vip)
	s.Local, s.EndpointNodes, s.Endpoints = true, on, map[string]int{}
	for _, node := range on {
		s.Endpoints[node] = 1
	}
	return s
}

// inputs are what the speaker of a node reads in a cluster of three nodes with a link each. node1
// is in rack a.
func inputs(t *testing.T, node string, services ...plan.Service) view.Inputs {
	t.Helper()
	in := view.Inputs{Node: node, Config: parse(t, text), Services: services, Routers: map[string]plan.Router{}}
	for i, name := range nodes {
		address := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)}), 8)
		n := plan.Node{Name: name, Labels: map[string]string{}}
		if name == "node1" {
			n.Labels["rack"] = "a"
		}
		in.Nodes = append(in.Nodes, n)
		if name == node {
			link := links.Link{Name: "eth0", IPv4: address, Networks: []netip.Prefix{address.Masked()}, Addrs: []netip.Prefix{address}}
			in.Addr, in.AllLinks, in.Links = address.Addr(), []links.Link{link}, []links.Link{link}
			continue
		}
		in.Others = append(in.Others, members.Member{Name: name, Addr: address.Addr(), Profile: members.Profile{Advertises: true, Spreads: true, HandsOn: true, Version: 1,
			Links: []members.Link{{Name: "eth0", MAC: [6]byte{2, 0, 0, 0, 0, byte(i)}, IPv4: address, Networks: []netip.Prefix{address.Masked()}}}}})
	}
	return in
}

var healthy = view.Self{Advertises: true, SaysSpreads: true}

// states returns the states of all speakers, as their documents have them.
func states(t *testing.T, services ...plan.Service) (all []plan.State) {
	t.Helper()
	for _, node := range nodes {
		all = append(all, throughJSON(t, view.State(inputs(t, node, services...), heartbeat.View{Ready: true}, healthy, nil)))
	}
	return all
}

func throughJSON(t *testing.T, s plan.State) plan.State {
	t.Helper()
	doc, err := plandoc.FromState(s, text, "")
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	var decoded debugapi.State
	if err := json.Unmarshal(encoded, &decoded); err != nil {
		t.Fatal(err)
	}
	state, err := plandoc.ToState(&decoded)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func run(t *testing.T, c simulate.Cluster, change simulate.Change) simulate.Result {
	t.Helper()
	r, err := simulate.Run(c, change)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// describe returns how an address is served, as "node1 spread=node1:100 bgp=node1,node2".
func describe(s simulate.Serving) string {
	text := strings.Join(s.Layer2, ",")
	if len(s.Slots) > 0 {
		var carriers []string
		for _, c := range s.Slots {
			carriers = append(carriers, fmt.Sprintf("%s:%d", c.Node, c.Slots))
		}
		text += " spread=" + strings.Join(carriers, ",")
	}
	if len(s.BGP) > 0 {
		text += " bgp=" + strings.Join(s.BGP, ",")
	}
	return strings.TrimSpace(text)
}

// only returns the one address that changes.
func only(t *testing.T, r simulate.Result) simulate.Address {
	t.Helper()
	if len(r.Addresses) != 1 {
		t.Fatalf("%d addresses change: %+v", len(r.Addresses), r.Addresses)
	}
	return r.Addresses[0]
}

// owned returns an address of a /24 that the node owns.
func owned(t *testing.T, prefix, node string) string {
	t.Helper()
	for i := 1; i < 255; i++ {
		vip := fmt.Sprintf("%s.%d", prefix, i)
		p := plan.Make(states(t, service("probe", vip))[0], plan.Plan{})
		if p.Decisions[0].Owner == node {
			return vip
		}
	}
	t.Fatalf("%s owns nothing in %s", node, prefix)
	return ""
}

func note(r simulate.Result, part string) bool {
	return slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, part) })
}
