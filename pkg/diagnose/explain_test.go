package diagnose_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
)

func TestExplainSaysWhoAnnouncesAndWhy(t *testing.T) {
	in := world()
	in.Events = []*v1.Event{
		{InvolvedObject: v1.ObjectReference{Kind: "Service", Namespace: "default", Name: "web"}, Reason: "Announced", Message: "by node1", LastTimestamp: metav1.NewTime(now.Add(-time.Minute))},
		{InvolvedObject: v1.ObjectReference{Kind: "Service", Namespace: "default", Name: "other"}, Reason: "No"},
	}
	e, err := diagnose.ExplainService(in, "default/web")
	if err != nil || len(e.Services) != 1 || len(e.Problems) != 0 {
		t.Fatalf("%+v %v", e, err)
	}
	s := e.Services[0]
	a := s.Addresses[0]
	if !a.InStatus || a.Owner != "node1" || !strings.Contains(a.WhyOwner, "highest weight") || a.Pool != "a" || len(a.Links) != 1 || a.Clients != "hosts of the segment send to node node1" {
		t.Errorf("%+v", a)
	}
	if s.Summary != "It works, as far as this shows: 192.0.2.1" || s.Endpoints.Ready != 1 || s.Endpoints.Nodes["node2"] != 1 || s.Wants.Ports[0] != "80/TCP" || len(s.Events) != 1 || s.Events[0] != "1m0s ago, Announced: by node1" {
		t.Errorf("%+v", s)
	}
	if _, err := diagnose.ExplainService(in, "default/nope"); err == nil || !strings.Contains(err.Error(), "there is no Service default/nope") {
		t.Errorf("a missing Service: %v", err)
	}
}

// The cause of each fault must be among the problems of the Service.
func TestExplainNamesTheCauseOfEachFault(t *testing.T) {
	notCauses := map[string]bool{"ManagerNotReady": true, "VersionsDiffer": true, "NotSpread": true, "CannotSpread": true, "SpreadRulesRefused": true}
	for name, test := range broken {
		in := world()
		test.fault(in)
		e, err := diagnose.ExplainService(in, "default/web")
		if err != nil {
			t.Fatal(err)
		}
		found := notCauses[test.reason]
		for _, p := range e.Problems {
			found = found || p.Reason == test.reason && strings.Contains(p.What, test.what)
		}
		if !found {
			t.Errorf("%s: %+v", name, e.Problems)
		}
	}
}

func TestExplainSaysOfEachPoolWhyAServiceWaits(t *testing.T) {
	in := world()
	pending(in, &debugapi.Waiting{Since: now, Why: "full", Pools: []debugapi.PoolReason{{Pool: "a", Why: "it is exhausted"}}})
	e, err := diagnose.ExplainService(in, "default/web")
	if err != nil {
		t.Fatal(err)
	}
	s := e.Services[0]
	if s.Waiting == nil || len(s.Waiting.Pools) != 1 || s.Summary != "It does not work: it waits for an address: full" || len(s.Addresses) != 0 {
		t.Errorf("%+v", s)
	}
}

func TestExplainSaysWhyAServiceIsNotServed(t *testing.T) {
	for name, test := range map[string]struct {
		change       func(*diagnose.Input, *v1.Service)
		reason, what string
	}{
		"another class":    {func(_ *diagnose.Input, s *v1.Service) { s.Spec.LoadBalancerClass = ptr("example.com/x") }, "OtherClass", `is "example.com/x", and the programs serve "lb.baremetal/default"`},
		"no class":         {func(in *diagnose.Input, _ *v1.Service) { in.Scope.Default = false }, "NoClass", "--default-load-balancer=false"},
		"another type":     {func(_ *diagnose.Input, s *v1.Service) { s.Spec.Type = v1.ServiceTypeClusterIP }, "NotALoadBalancer", "its type is ClusterIP"},
		"it is on its way": {func(_ *diagnose.Input, s *v1.Service) { s.DeletionTimestamp = ptr(metav1.NewTime(now)) }, "Deleted", "being deleted"},
	} {
		in := world()
		test.change(in, in.Services[0])
		e, err := diagnose.ExplainService(in, "default/web")
		if err != nil || len(e.Problems) != 1 || e.Problems[0].Reason != test.reason || !strings.Contains(e.Problems[0].What, test.what) || !strings.Contains(e.Services[0].Summary, "It is not served") {
			t.Errorf("%s: %+v %v", name, e, err)
		}
	}
}

func TestExplainAddressSaysWhatItIs(t *testing.T) {
	in := world()
	in.Managers[0].Allocations.Reserved = []debugapi.ReservedAddress{{Address: netip.MustParseAddr("192.0.2.2"), Why: "an address of node node2"}}
	for addr, want := range map[string]string{
		"192.0.2.1":    "one Service has it",
		"192.0.2.2":    "no Service has it; it is an address of node node2",
		"192.0.2.3":    "no Service has it; it is free",
		"198.51.100.1": "no Service has it, and no pool has it",
	} {
		e := diagnose.ExplainAddress(in, netip.MustParseAddr(addr))
		if e.Address.What != want || (len(e.Services) == 1) != (addr == "192.0.2.1") || len(e.Problems) != 0 {
			t.Errorf("%s: %+v, want %s", addr, e, want)
		}
	}
}

func TestClientsSeeWhatTheNodesDo(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*diagnose.Input)
		want   string
	}{
		"spread": {func(in *diagnose.Input) {
			decide(in, func(_ string, d *debugapi.Decision) {
				d.Spread, d.Carriers = "Spread", []debugapi.Carrier{{Node: "node1", Slots: 128}, {Node: "node2", Slots: 128}}
			})
		}, "hosts of the segment send to node node1, and nodes node1, node2 share the traffic"},
		"BGP": {func(in *diagnose.Input) {
			decide(in, func(_ string, d *debugapi.Decision) {
				d.Protocol, d.Reason, d.Owner, d.BGP = "bgp", "NotLayer2", "", "Advertised"
			})
		}, "routers send to nodes node1, node2, node3"},
		"nothing": {func(in *diagnose.Input) {
			decide(in, func(_ string, d *debugapi.Decision) { d.Reason, d.Owner = "NoCandidate", "" })
		}, "nothing: no node announces the address"},
		"no pods":     {func(in *diagnose.Input) { in.EndpointSlices = nil }, "hosts of the segment send to node node1; but no pod is ready, so connections fail"},
		"no speakers": {func(in *diagnose.Input) { in.Speakers = nil }, "not known: no speaker that was read knows the address"},
	} {
		in := world()
		test.change(in)
		e, err := diagnose.ExplainService(in, "default/web")
		if err != nil || e.Services[0].Addresses[0].Clients != test.want {
			t.Errorf("%s: %q, want %q", name, e.Services[0].Addresses[0].Clients, test.want)
		}
	}
}
