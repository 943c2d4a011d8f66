package reconcile

import (
	"net/netip"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

// assignments returns what the plan means for layer 2. A fenced speaker has none: it
// stops announcing at once and does not hand over. announced are the VIPs that any
// speaker has announced before, as far as this one knows.
func assignments(p plan.Plan, announced map[netip.Addr]bool) []layer2.Assignment {
	var all []layer2.Assignment
	for _, d := range p.Decisions {
		switch d.Reason {
		case plan.Owner, plan.Conflict:
			all = append(all, layer2.Assignment{Addr: d.VIP, Role: layer2.Owner, Links: d.Links, Fresh: !announced[d.VIP], DespiteConflicts: d.DespiteConflicts})
		case plan.OtherOwner, plan.NoEndpoint, plan.NoLink, plan.NoCandidate:
			all = append(all, layer2.Assignment{Addr: d.VIP, Role: layer2.Standby})
		case plan.Fenced, plan.NotLayer2, plan.NodeAddress, plan.Unpublished:
		}
	}
	return all
}

// announcedSoFar returns the VIPs of the plan that a speaker announces or has announced. A
// VIP that is withheld is none: its next owner must look for the foreign host, too.
func announcedSoFar(p plan.Plan, before map[netip.Addr]bool) map[netip.Addr]bool {
	announced := make(map[netip.Addr]bool, len(p.Decisions))
	for _, d := range p.Decisions {
		if d.Reason != plan.Conflict && !d.Withheld && (before[d.VIP] || d.Reason == plan.Owner || d.Reason == plan.OtherOwner) {
			announced[d.VIP] = true
		}
	}
	return announced
}

// unannounced returns the VIPs that this node does not announce because a foreign host
// has them, with the MAC addresses of these hosts.
func unannounced(conflicts []layer2.Conflict) map[netip.Addr]string {
	foreign := map[netip.Addr]string{}
	for _, c := range conflicts {
		if c.Nowhere {
			foreign[c.Addr] = c.MAC
		}
	}
	return foreign
}

func announcementLinks(ls []links.Link) []layer2.Link {
	converted := make([]layer2.Link, len(ls))
	for i, l := range ls {
		converted[i] = layer2.Link{Name: l.Name, Index: l.Index, MAC: l.MAC}
	}
	return converted
}
