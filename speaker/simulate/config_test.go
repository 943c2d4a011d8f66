package simulate_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/simulate"
)

func TestConfigurationMovesWhatItSays(t *testing.T) {
	vip := owned(t, "10.0.1", "node2")
	for name, tt := range map[string]struct {
		service       plan.Service
		old, new      string // what is replaced in the text
		moved         []netip.Addr
		before, after string
		said          string
		unserved      bool
	}{
		"a comment": {service: service("a", vip), old: "address-pools:", new: "# pools\naddress-pools:"},
		"the pool is gone, and the address is an orphan": {service: service("a", vip), old: "- {name: plain, protocol: layer2, addresses: [10.0.1.0/24]}\n", new: "",
			before: "node2", after: "node2", said: "they go on"},
		"the pool becomes one of BGP": {service: service("a", vip), old: "plain, protocol: layer2", new: "plain, protocol: bgp",
			before: "node2", after: "bgp=node1,node2,node3", said: "those that come by layer 2 end"},
		"the pool becomes spread": {service: service("a", vip), old: "[10.0.1.0/24]", new: "[10.0.1.0/24], spread: true",
			before: "node2", after: "node2 spread=", said: "they go on"},
		"spread ends": {service: service("a", owned(t, "10.0.2", "node2")), old: ", spread: true", new: "",
			before: "node2 spread=", after: "node2", said: "only those go on that node2 carries already"},
		"another node is preferred": {service: service("a", vip), old: "[10.0.1.0/24]", new: "[10.0.1.0/24], preferred-nodes: [{match-labels: {rack: a}}]",
			before: "node2", after: "node1", said: "usually break"},
		"no node is selected": {service: service("a", vip), old: "[10.0.1.0/24]", new: "[10.0.1.0/24], node-selectors: [{match-labels: {rack: z}}]",
			before: "node2", unserved: true, said: "the node-selectors of the pool select no node"},
		"the Service would lose the address": {service: service("a", vip), moved: []netip.Addr{}, before: "node2", unserved: true, said: "no Service would have the address"},
		"the routers are gone": {service: service("a", "10.0.3.1"), old: text[:strings.Index(text, "address-pools")], new: "\n",
			before: "bgp=node1,node2,node3", unserved: true, said: "no node has an established session"},
	} {
		t.Run(name, func(t *testing.T) {
			change := simulate.Change{Config: parse(t, strings.Replace(text, tt.old, tt.new, 1))}
			if tt.moved != nil {
				change.Addresses = map[string]simulate.Addresses{tt.service.Name: {Before: tt.service.VIPs, After: tt.moved}}
			}
			r := run(t, simulate.Cluster{States: states(t, tt.service)}, change)
			if tt.before == "" {
				if len(r.Addresses)+len(r.Nodes)+len(r.Notes) != 0 || r.Unchanged != 1 {
					t.Fatalf("%+v", r)
				}
				return
			}
			a := only(t, r)
			said := a.Connections
			if tt.unserved {
				said = a.Why
			}
			if !strings.HasPrefix(describe(a.Before), tt.before) || !strings.HasPrefix(describe(a.After), tt.after) || a.Unserved != tt.unserved || !strings.Contains(said, tt.said) {
				t.Errorf("%q → %q, unserved %t: %q", describe(a.Before), describe(a.After), a.Unserved, said)
			}
		})
	}
}

func TestServiceThatMovesIsServedAtItsNewAddress(t *testing.T) {
	change := simulate.Change{Config: parse(t, text), Addresses: map[string]simulate.Addresses{"default/a": {Before: []netip.Addr{addr("10.0.1.1")}, After: []netip.Addr{addr("10.0.1.7")}}}}
	r := run(t, simulate.Cluster{States: states(t, service("a", "10.0.1.1"))}, change)
	if len(r.Addresses) != 2 || !r.Addresses[0].Unserved || r.Addresses[1].Unserved || len(r.Addresses[1].After.Layer2) != 1 || r.Addresses[1].Before.Layer2 != nil {
		t.Errorf("%+v", r.Addresses)
	}
}

func TestConfigurationChangesSessionsAndRoutes(t *testing.T) {
	for name, tt := range map[string]struct {
		old, new string
		want     string // of node1, which is in rack a, and of node2
	}{
		"only BFD and selectors":       {"peer-asn: 64500, my-asn: 64501, password", "bfd-profile: f, peer-asn: 64500, my-asn: 64501, node-selectors: [{match-labels: {rack: a}}, {match-expressions: [{key: rack, operator: DoesNotExist}]}], password", " / "},
		"another hold time":            {"name: tor,", "name: tor, hold-time: 9s,", "tor restarts / tor restarts"},
		"a router for some is gone":    {"- {name: spine, peer-address: 10.0.0.253, peer-asn: 64500, my-asn: 64501, node-selectors: [{match-labels: {rack: a}}]}\n", "", "spine ends / "},
		"a router for some is for all": {", node-selectors: [{match-labels: {rack: a}}]}\naddress", "}\naddress", " / spine begins"},
		"communities":                  {"routed, protocol: bgp,", "routed, protocol: bgp, bgp-advertisements: [{communities: [no-export]}],", "10.0.3.1/32 changes / 10.0.3.1/32 changes"},
		"aggregation":                  {"routed, protocol: bgp,", "routed, protocol: bgp, bgp-advertisements: [{aggregation-length: 24}],", "10.0.3.0/24 begins 10.0.3.1/32 ends / 10.0.3.0/24 begins 10.0.3.1/32 ends"},
	} {
		changed := strings.Replace(text, tt.old, tt.new, 1)
		if changed == text {
			t.Fatalf("%s: %q is not in the text", name, tt.old)
		}
		changed += "bfd-profiles: [{name: f}]\n"
		r := run(t, simulate.Cluster{States: states(t, service("b", "10.0.3.1"))}, simulate.Change{Config: parse(t, changed)})
		describe := func(node string) string {
			var parts []string
			for _, n := range r.Nodes {
				if n.Node != node {
					continue
				}
				for _, s := range n.Sessions {
					parts = append(parts, s.Peer+" "+s.Change)
				}
				for what, prefixes := range map[string][]netip.Prefix{"begins": n.Added, "ends": n.Withdrawn, "changes": n.Changed} {
					for _, p := range prefixes {
						parts = append(parts, p.String()+" "+what)
					}
				}
			}
			slices.Sort(parts)
			return strings.Join(parts, " ")
		}
		if got := describe("node1") + " / " + describe("node2"); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
		if got, want := note(r, "sessions with changed routers"), strings.Contains(tt.want, "restarts") || strings.Contains(tt.want, "spine"); got != want {
			t.Errorf("%s: notes %q", name, r.Notes)
		}
	}
}

func TestSessionsWithNewRoutersAreExpectedToComeUp(t *testing.T) {
	const spine = "- {name: spine, peer-address: 10.0.0.253, peer-asn: 64500, my-asn: 64501, node-selectors: [{match-labels: {rack: a}}]}\n"
	vip := owned(t, "10.0.1", "node2")
	routed := strings.Replace(text, "plain, protocol: layer2", "plain, protocol: bgp", 1)
	for name, tt := range map[string]struct{ text, after string }{
		"no new router":              {routed, ""},
		"a new router for all":       {strings.Replace(routed, "peers:\n", "peers:\n- {name: new, peer-address: 10.0.0.252, peer-asn: 64500, my-asn: 64501}\n", 1), "bgp=node1,node2,node3"},
		"an old router for more":     {strings.Replace(routed, spine, strings.Replace(spine, ", node-selectors: [{match-labels: {rack: a}}]", "", 1), 1), "bgp=node2,node3"},
		"a changed router of a rack": {strings.Replace(routed, "name: spine,", "name: spine, hold-time: 9s,", 1), "bgp=node1"},
	} {
		all := states(t, service("a", vip))
		for i := range all {
			for j := range all[i].Members {
				all[i].Members[j].Advertises = false // no session is up today
			}
		}
		r := run(t, simulate.Cluster{States: all}, simulate.Change{Config: parse(t, tt.text)})
		if a := only(t, r); describe(a.After) != tt.after || a.Unserved != (tt.after == "") {
			t.Errorf("%s: %q → %q, unserved %t", name, describe(a.Before), describe(a.After), a.Unserved)
		}
	}
}
