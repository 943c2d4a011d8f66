package ui

import (
	"net/netip"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

var (
	noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	vip1 = netip.MustParseAddr("192.0.2.1")
	vip2 = netip.MustParseAddr("192.0.2.2")
)

// answers returns the speaker of a node that hears the other nodes, with the decisions of its plan.
func answers(node string, others []string, decisions ...debugapi.Decision) Speaker {
	s := Speaker{
		Node: node, Plan: &debugapi.Plan{Decisions: append([]debugapi.Decision{}, decisions...)},
		BGP: &debugapi.BGP{}, Members: &debugapi.Members{},
	}
	for _, other := range others {
		s.Members.Members = append(s.Members.Members, debugapi.Member{Name: other, Alive: true})
	}
	return s
}

func addrs(all ...netip.Addr) []netip.Addr { return all }

// silent returns the speaker of a node that does not answer.
func silent(node string) Speaker { return Speaker{Node: node, Err: "no answer in 5s"} }

// layer2 returns what the speaker of a node says about an address with an owner.
func layer2(node string, vip netip.Addr, owner string, carriers ...debugapi.Carrier) debugapi.Decision {
	d := debugapi.Decision{VIP: vip, Services: []string{"shop/web"}, Pool: "lan", Protocol: "layer2", Owner: owner, Reason: "OtherOwner", Carriers: carriers}
	if owner == node {
		d.Reason = "Owner"
	}
	if owner == "" {
		d.Reason = "NoEndpoint"
	}
	return d
}
