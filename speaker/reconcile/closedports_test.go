package reconcile

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/closedports"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

func TestRefusedPacketsAreForWhatThisNodeAnnounces(t *testing.T) {
	vip := addr("192.0.2.7")
	host, wide := plan.Route{Prefix: netip.PrefixFrom(vip, 32)}, plan.Route{Prefix: netip.MustParsePrefix("192.0.2.0/28")}
	for _, test := range []struct {
		name     string
		decision plan.Decision
		routes   []plan.Route
		addrs    []netip.Addr
		networks []netip.Prefix
	}{
		{name: "this node is the owner", decision: plan.Decision{Reason: plan.Owner}, addrs: []netip.Addr{vip}},
		{name: "another node is the owner", decision: plan.Decision{Reason: plan.OtherOwner}},
		{name: "a foreign host has the address", decision: plan.Decision{Reason: plan.Conflict}},
		{name: "fenced", decision: plan.Decision{Reason: plan.Fenced}},
		{name: "BGP", decision: plan.Decision{Reason: plan.NotLayer2, BGP: plan.Advertised}, routes: []plan.Route{host}, addrs: []netip.Addr{vip}},
		{name: "BGP, fenced", decision: plan.Decision{Reason: plan.Fenced, BGP: plan.Advertised}, routes: []plan.Route{host}, addrs: []netip.Addr{vip}},
		{name: "an aggregate, twice", decision: plan.Decision{Reason: plan.OtherOwner, BGP: plan.Advertised}, routes: []plan.Route{wide, host, wide}, addrs: []netip.Addr{vip}, networks: []netip.Prefix{wide.Prefix}},
		{name: "BGP, without an endpoint", decision: plan.Decision{Reason: plan.NotLayer2, BGP: plan.NoLocalEndpoint}},
	} {
		test.decision.VIP = vip
		got := refusedPackets(plan.Plan{Decisions: []plan.Decision{test.decision}, Routes: test.routes}, nil, nil, closedports.Wanted{Addrs: []netip.Addr{addr("192.0.2.99")}})
		if !slices.Equal(got.Addrs, test.addrs) || !slices.Equal(got.Networks, test.networks) {
			t.Errorf("%s: %v and %v, want %v and %v", test.name, got.Addrs, got.Networks, test.addrs, test.networks)
		}
	}
}

// Other nodes forward packets for spread addresses to this one.
func TestRefusedPacketsAreForSpreadAddressesToo(t *testing.T) {
	vip := addr("192.0.2.7")
	p := plan.Plan{Decisions: []plan.Decision{{VIP: vip, Reason: plan.OtherOwner}}, Spread: []plan.Spread{{VIP: vip, Link: "eth0"}}}
	if got := refusedPackets(p, nil, nil, closedports.Wanted{}); !slices.Equal(got.Addrs, []netip.Addr{vip}) {
		t.Errorf("%v", got.Addrs)
	}
}

func TestRefusedPacketsDoNotDependOnTheOrder(t *testing.T) {
	a, b := addr("192.0.2.7"), addr("2001:db8::7")
	services := []plan.Service{
		{VIPs: []netip.Addr{b, a}, Ports: []plan.Port{{Protocol: 17, Number: 53}, {Protocol: 6, Number: 80}}},
		{VIPs: []netip.Addr{a}, Ports: []plan.Port{{Protocol: 6, Number: 443}}},
		{VIPs: []netip.Addr{addr("192.0.2.8")}, Ports: []plan.Port{{Protocol: 6, Number: 80}}}, // announced by another node
	}
	p := plan.Plan{Decisions: []plan.Decision{{VIP: a, Reason: plan.Owner}, {VIP: b, Reason: plan.Owner}}}
	want := closedports.Wanted{
		Addrs: []netip.Addr{a, b},
		Taken: []closedports.Port{{Addr: a, Protocol: 6, Number: 80}, {Addr: a, Protocol: 6, Number: 443}, {Addr: a, Protocol: 17, Number: 53}, {Addr: b, Protocol: 6, Number: 80}, {Addr: b, Protocol: 17, Number: 53}},
		Links: []string{"eth0", "eth1"},
	}
	for range 2 {
		got := refusedPackets(p, services, []links.Link{{Name: "eth1"}, {Name: "eth0"}}, closedports.Wanted{})
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
		slices.Reverse(services)
	}
}

// Without a configuration the routes stay as they are, and Plan.Routes says nothing.
func TestRefusedPacketsStayWhileTheRoutesStay(t *testing.T) {
	a, b, wide := addr("192.0.2.7"), addr("192.0.2.8"), netip.MustParsePrefix("192.0.2.0/28")
	before := closedports.Wanted{Addrs: []netip.Addr{a}, Networks: []netip.Prefix{wide}}
	got := refusedPackets(plan.Plan{KeepSessions: true, Decisions: []plan.Decision{{VIP: a, BGP: plan.NoPeer}, {VIP: b, Reason: plan.Owner}}}, nil, nil, before)
	if !slices.Equal(got.Addrs, []netip.Addr{a, b}) || !slices.Equal(got.Networks, before.Networks) {
		t.Errorf("%+v", got)
	}
}
