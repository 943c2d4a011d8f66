package reconcile

import (
	"fmt"
	"net/netip"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

// reportPlan reports what is different from the last plan: always in the log, and in an
// Event on the Service if this node has become the owner or cannot be the owner.
func (l *Loop) reportPlan(before, now plan.Plan) {
	old := make(map[netip.Addr]plan.Decision, len(before.Decisions))
	for _, d := range before.Decisions {
		old[d.VIP] = d
	}
	for _, d := range now.Decisions {
		was, existed := old[d.VIP]
		delete(old, d.VIP)
		if was.BGP != d.BGP {
			l.Log.Info("BGP decision changed", "vip", d.VIP, "services", d.Services, "reason", d.BGP, "before", was.BGP)
		}
		if was.Reason == d.Reason && was.Owner == d.Owner {
			continue
		}
		l.Log.Info("layer 2 decision changed", "vip", d.VIP, "services", d.Services, "reason", d.Reason, "owner", d.Owner, "before", was.Owner)
		switch {
		case d.Reason == plan.Conflict:
			l.event(d.Services, v1.EventTypeWarning, "AddressConflict", fmt.Sprintf("%s is not announced: a foreign host with the MAC address %s has it. Find that host and remove the address from it, or from the pool.", d.VIP, d.Foreign))
		case d.Reason == plan.Owner && existed && was.Reason == plan.OtherOwner: // a fenced speaker did not see whether another one announced
			l.event(d.Services, v1.EventTypeNormal, "Announced", fmt.Sprintf("%s is announced by %s, which has taken it over from %s", d.VIP, l.Node, was.Owner))
		case d.Reason == plan.Owner:
			l.event(d.Services, v1.EventTypeNormal, "Announced", fmt.Sprintf("%s is announced by %s", d.VIP, l.Node))
		}
	}
	for vip, d := range old {
		l.Log.Info("VIP is gone", "vip", vip, "services", d.Services, "before", d.Reason)
	}
}

// reportContested writes an Event for every VIP that this node announces and that a
// foreign host has begun to claim.
func (l *Loop) reportContested(p plan.Plan, conflicts []layer2.Conflict) {
	now := map[netip.Addr]bool{}
	for _, c := range conflicts {
		if c.Nowhere {
			continue // see reportPlan
		}
		if l.contested[c.Addr] {
			now[c.Addr] = true
			continue
		}
		if _, ok := l.contestedEvents.Allow(""); !ok {
			continue // a later pass reports it
		}
		now[c.Addr] = true
		what := "This node defends the address"
		if !c.Announced {
			what = "This node announces the address only on its other links"
		}
		for _, d := range p.Decisions {
			if d.VIP == c.Addr {
				l.event(d.Services, v1.EventTypeWarning, "AddressConflict", fmt.Sprintf("A foreign host with the MAC address %s also claims %s, on %s of %s. %s; find that host and remove the address from it.", c.MAC, c.Addr, c.Link, l.Node, what))
			}
		}
	}
	l.contested = now
}

// event writes an Event on each of the Services.
func (l *Loop) event(services []string, eventType, reason, text string) {
	for _, name := range services {
		if svc := l.Cluster.Service(name); svc != nil {
			l.Events.Event(svc, eventType, reason, text)
		}
	}
}
