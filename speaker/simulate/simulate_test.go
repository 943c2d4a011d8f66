package simulate_test

import (
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/simulate"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/view"
)

// everything are Services of all pools.
func everything() []plan.Service {
	return []plan.Service{
		service("a", "10.0.1.1"), service("b", "10.0.1.2"), service("c", "10.0.1.3"), service("d", "10.0.1.4"),
		service("wide", "10.0.2.1"), local("widelocal", "10.0.2.2", "node1", "node2"), service("routed", "10.0.3.1"),
		service("always", "10.0.4.1"), service("always2", "10.0.4.2"), local("local", "10.0.1.9", "node2", "node3"),
	}
}

// served returns what the plans of the states do, by address.
func served(states []plan.State) map[netip.Addr]string {
	r := map[netip.Addr]string{}
	for _, s := range states {
		for _, d := range plan.Make(s, plan.Plan{}).Decisions {
			text := r[d.VIP]
			if d.Reason == plan.Owner {
				var carriers []simulate.Slots
				for _, c := range d.Carriers {
					carriers = append(carriers, simulate.Slots(c))
				}
				text = describe(simulate.Serving{Layer2: []string{s.Node}, Slots: carriers}) + text
			}
			if d.BGP == plan.Advertised {
				text += "+" + s.Node
			}
			r[d.VIP] = text
		}
	}
	return r
}

// simulated returns what a simulation says, in the form of served.
func simulated(r simulate.Result, before map[netip.Addr]string) map[netip.Addr]string {
	after := maps.Clone(before)
	for _, a := range r.Addresses {
		text := describe(simulate.Serving{Layer2: a.After.Layer2, Slots: a.After.Slots})
		for _, node := range a.After.BGP {
			text += "+" + node
		}
		after[a.Address] = text
	}
	return after
}

func TestSimulatedDrainIsThePlanAfterARealDrain(t *testing.T) {
	services := everything()
	drained := slices.Clone(services)
	for i := range drained { // the pods on node2 are gone
		drained[i].EndpointNodes = slices.DeleteFunc(slices.Clone(drained[i].EndpointNodes), func(n string) bool { return n == "node2" })
		drained[i].Endpoints = maps.Clone(drained[i].Endpoints)
		delete(drained[i].Endpoints, "node2")
	}
	var real []plan.State
	for _, node := range nodes {
		in := inputs(t, node, drained...)
		in.Nodes[1].Cordoned, in.Nodes[1].ExcludeLabel = true, true
		real = append(real, view.State(in, heartbeat.View{Ready: true}, healthy, nil))
	}
	today := states(t, services...)
	r := run(t, simulate.Cluster{States: today}, simulate.Change{Drained: []string{"node2"}})
	if got, want := simulated(r, served(today)), served(real); !reflect.DeepEqual(got, want) {
		t.Errorf("simulated %v\nreal      %v", got, want)
	}
	if len(r.Addresses) < 4 || r.Unchanged == 0 {
		t.Errorf("%d addresses change, %d do not: the test shows little", len(r.Addresses), r.Unchanged)
	}
}

func TestSimulatedDeathIsThePlanAfterARealDeath(t *testing.T) {
	services := everything()
	without := slices.Clone(services)
	for i := range without {
		without[i].EndpointNodes = slices.DeleteFunc(slices.Clone(without[i].EndpointNodes), func(n string) bool { return n == "node1" })
		without[i].Endpoints = maps.Clone(without[i].Endpoints)
		delete(without[i].Endpoints, "node1")
	}
	today := states(t, services...)
	r := run(t, simulate.Cluster{States: today}, simulate.Change{Lost: []string{"node1"}})
	for name, lost := range map[string]bool{"the kernel is silent": false, "the member list has lost it, too": true} {
		var real []plan.State
		for _, node := range nodes[1:] {
			in := inputs(t, node, without...)
			in.Others[0].Lost = lost // node1
			beats := heartbeat.View{Ready: true, KernelDead: []string{"node1"}, Dead: map[string][]netip.Addr{"node1": {addr("10.0.0.1")}}}
			real = append(real, view.State(in, beats, healthy, nil))
		}
		if got, want := simulated(r, served(today)), served(real); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: simulated %v\nreal      %v", name, got, want)
		}
	}
}

func TestDrainSaysWhatBecomesOfAnAddress(t *testing.T) {
	plain, other := owned(t, "10.0.1", "node2"), owned(t, "10.0.1", "node1")
	for name, tt := range map[string]struct {
		services  []plan.Service
		endpoints map[string]map[string]simulate.Endpoints
		change    simulate.Change
		before    string // "" if nothing changes
		after     string
		text      string // part of Connections, or of Why if the address is not served
		unserved  bool
	}{
		"the owner is drained":       {services: []plan.Service{service("a", plain)}, before: "node2", after: "node1|node3", text: "usually break"},
		"another node is drained":    {services: []plan.Service{service("a", other)}},
		"the owner dies":             {services: []plan.Service{service("a", plain)}, change: simulate.Change{Lost: []string{"node2"}}, before: "node2", after: "node1|node3", text: "are reset"},
		"the last endpoint is local": {services: []plan.Service{local("a", plain, "node2")}, before: "node2", unserved: true, text: "no node that may announce has a ready endpoint"},
		"the last endpoint is not local": {services: []plan.Service{service("a", other)}, before: "node1", after: "node1", unserved: true,
			endpoints: map[string]map[string]simulate.Endpoints{"default/a": {"node2": {Ready: 2}}}, text: "default/a would have no endpoint: all of its endpoints are on node2"},
		"the endpoint is of a DaemonSet":                                       {services: []plan.Service{service("a", other)}, endpoints: map[string]map[string]simulate.Endpoints{"default/a": {"node2": {Ready: 1, Staying: 1}}}},
		"the local endpoint is of a DaemonSet, and the pool ignores the label": {services: []plan.Service{local("a", owned(t, "10.0.4", "node2"), "node2")}, endpoints: map[string]map[string]simulate.Endpoints{"default/a": {"node2": {Ready: 2, Staying: 1}}}},
		"the local endpoint has just become ready":                             {services: []plan.Service{local("a", plain)}, endpoints: map[string]map[string]simulate.Endpoints{"default/a": {"node2": {Ready: 1, Staying: 1}}}},
		"it had no endpoint before":                                            {services: []plan.Service{service("a", other)}, endpoints: map[string]map[string]simulate.Endpoints{"default/a": {}}},
		"the pool selects one node": {services: []plan.Service{service("a", "10.0.5.1")}, change: simulate.Change{Drained: []string{"node1"}}, before: "node1", unserved: true,
			text: "no node may announce: node1: it has the label"},
		"all nodes are drained": {services: []plan.Service{service("a", other)}, change: simulate.Change{Drained: nodes}, before: "node1", unserved: true, text: "node3: it has the label"},
		"all nodes but one are lost": {services: []plan.Service{service("a", plain)}, change: simulate.Change{Lost: []string{"node2", "node3"}},
			before: "node2", after: "node1", text: "are reset"},
		"all nodes are lost":                {services: []plan.Service{service("a", plain)}, change: simulate.Change{Lost: nodes}, before: "node2", unserved: true, text: "every node whose speaker was asked would be lost"},
		"the pool ignores the label":        {services: []plan.Service{service("a", owned(t, "10.0.4", "node2"))}},
		"a route is withdrawn":              {services: []plan.Service{service("a", "10.0.3.1")}, before: "bgp=node1,node2,node3", after: "bgp=node1,node3", text: "the routers hash"},
		"the last route is withdrawn":       {services: []plan.Service{local("a", "10.0.3.1", "node2")}, before: "bgp=node2", unserved: true, text: "no node that may announce has a ready endpoint"},
		"the announcer gives its slots":     {services: []plan.Service{service("a", owned(t, "10.0.2", "node2"))}, before: "node2 spread=node1:82,node2:88,node3:86", after: "node1 spread|node3 spread", text: "they go on: "},
		"the announcer dies with its slots": {services: []plan.Service{service("a", owned(t, "10.0.2", "node2"))}, change: simulate.Change{Lost: []string{"node2"}}, before: "node2 spread", after: "node1 spread|node3 spread", text: "those of 88 of 256 slots are reset"},
		"a carrier dies":                    {services: []plan.Service{service("a", owned(t, "10.0.2", "node1"))}, change: simulate.Change{Lost: []string{"node2"}}, before: "node1 spread", after: "node1 spread", text: "those of 88 of 256 slots are reset"},
		"the announcer dies, without slots": {services: []plan.Service{local("a", owned(t, "10.0.2", "node2"), "node1", "node3")}, change: simulate.Change{Lost: []string{"node2"}}},
	} {
		t.Run(name, func(t *testing.T) {
			change := tt.change
			if change.Drained == nil && change.Lost == nil {
				change.Drained = []string{"node2"}
			}
			r := run(t, simulate.Cluster{States: states(t, tt.services...), Endpoints: tt.endpoints}, change)
			if tt.before == "" {
				if len(r.Addresses) != 0 || r.Unchanged != 1 || len(r.Unserved()) != 0 {
					t.Fatalf("%+v", r)
				}
				return
			}
			a := only(t, r)
			matches := slices.ContainsFunc(strings.Split(tt.after, "|"), func(want string) bool {
				return strings.HasPrefix(describe(a.After), want) && (want != "") == (describe(a.After) != "")
			})
			if !strings.HasPrefix(describe(a.Before), tt.before) || !matches || a.Unserved != tt.unserved || (len(r.Unserved()) > 0) != tt.unserved {
				t.Errorf("%q → %q, unserved %t", describe(a.Before), describe(a.After), a.Unserved)
			}
			said := a.Connections
			if tt.unserved {
				said = a.Why
			}
			if !strings.Contains(said, tt.text) {
				t.Errorf("it says %q, want %q", said, tt.text)
			}
		})
	}
}

func TestAddressOfAForeignHostIsNotServedByAnotherNode(t *testing.T) {
	vip := owned(t, "10.0.1", "node2")
	all := states(t, service("a", vip))
	all[1].Conflicts = map[netip.Addr]string{addr(vip): "02:00:00:00:00:99"}
	r := run(t, simulate.Cluster{States: all}, simulate.Change{Drained: []string{"node2"}})
	if len(r.Addresses) != 0 || r.Unchanged != 1 {
		t.Errorf("%+v", r)
	}
}

func TestNodesSayWhatTheyWithdraw(t *testing.T) {
	all := states(t, service("a", owned(t, "10.0.1", "node2")), service("b", "10.0.3.1"))
	r := run(t, simulate.Cluster{States: all}, simulate.Change{Drained: []string{"node2"}})
	i := slices.IndexFunc(r.Nodes, func(n simulate.Node) bool { return n.Node == "node2" })
	if i < 0 {
		t.Fatalf("%+v", r.Nodes)
	}
	want := simulate.Node{Node: "node2", Announces: simulate.Count{Before: 1, After: 0}, Withdrawn: []netip.Prefix{netip.MustParsePrefix("10.0.3.1/32")}}
	if !reflect.DeepEqual(r.Nodes[i], want) {
		t.Errorf("%+v", r.Nodes[i])
	}
}

func TestNotesNameWhatIsNotSeenInTheResult(t *testing.T) {
	always := service("a", owned(t, "10.0.4", "node2"))
	for name, tt := range map[string]struct {
		cluster simulate.Cluster
		change  simulate.Change
		want    string
	}{
		"a speaker was not asked":       {simulate.Cluster{States: states(t)[:2]}, simulate.Change{Drained: []string{"node2"}}, "speakers of node3 did not say"},
		"the label is ignored":          {simulate.Cluster{States: states(t), IgnoresLabel: true}, simulate.Change{Drained: []string{"node2"}}, "run with --ignore-exclude-label"},
		"the drained node goes on":      {simulate.Cluster{States: states(t, always)}, simulate.Change{Drained: []string{"node2"}}, "would still announce " + always.VIPs[0].String()},
		"one speaker is left":           {simulate.Cluster{States: states(t)}, simulate.Change{Lost: []string{"node1", "node3"}}, "Only the speaker of node2 would be left"},
		"routes of a node that is lost": {simulate.Cluster{States: states(t, service("a", "10.0.3.1"))}, simulate.Change{Lost: []string{"node1"}}, "use the 1 routes of lost nodes"},
	} {
		if r := run(t, tt.cluster, tt.change); !note(r, tt.want) {
			t.Errorf("%s: %q is missing in %q", name, tt.want, r.Notes)
		}
	}
}

func TestOwnerThatWasNotAskedIsNamed(t *testing.T) {
	vip := owned(t, "10.0.1", "node3")
	r := run(t, simulate.Cluster{States: states(t, service("a", vip))[:2]}, simulate.Change{Lost: []string{"node3"}})
	if a := only(t, r); describe(a.Before) != "node3" || a.After.Layer2 == nil || a.Unserved {
		t.Errorf("%+v", a)
	}
}

func TestSimulationRefusesWhatMakesNoSense(t *testing.T) {
	all := states(t)
	for name, tt := range map[string]struct {
		states []plan.State
		change simulate.Change
		want   string
	}{
		"no speaker":     {nil, simulate.Change{Lost: []string{"node1"}}, "no speaker has said"},
		"no change":      {all, simulate.Change{}, "no change to simulate"},
		"a typo":         {all, simulate.Change{Lost: []string{"nod1"}}, `there is no node "nod1"; the nodes are node1, node2, node3`},
		"both at a time": {all, simulate.Change{Lost: []string{"node1"}, Drained: []string{"node1"}}, "drained and lost"},
	} {
		if _, err := simulate.Run(simulate.Cluster{States: tt.states}, tt.change); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDrainedNodeGoesOnIfTheLabelIsIgnored(t *testing.T) {
	c := simulate.Cluster{States: states(t, service("a", owned(t, "10.0.1", "node2")), service("b", "10.0.3.1")), IgnoresLabel: true}
	if r := run(t, c, simulate.Change{Drained: []string{"node2"}}); len(r.Addresses) != 0 || r.Unchanged != 2 {
		t.Errorf("%+v", r.Addresses)
	}
}
