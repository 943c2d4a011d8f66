package reconcile

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/closedports"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

// refusedPackets returns which packets this node refuses: those for addresses that the plan
// announces from this node, by layer 2 or over BGP, or spreads over the nodes. before is the result for the last plan:
// while the routes stay as they are, so do the addresses in them.
func refusedPackets(p plan.Plan, services []plan.Service, ls []links.Link, before closedports.Wanted) (w closedports.Wanted) {
	for _, d := range p.Decisions {
		if d.Reason == plan.Owner || d.BGP == plan.Advertised {
			w.Addrs = append(w.Addrs, d.VIP)
		}
	}
	for _, s := range p.Spread { // other nodes forward packets to this one
		w.Addrs = append(w.Addrs, s.VIP)
	}
	for _, r := range p.Routes {
		if !r.Prefix.IsSingleIP() {
			w.Networks = append(w.Networks, r.Prefix)
		}
	}
	if p.KeepSessions {
		w.Addrs = append(w.Addrs, before.Addrs...)
		w.Networks = before.Networks
	}
	announced := make(map[netip.Addr]bool, len(w.Addrs))
	for _, a := range w.Addrs {
		announced[a] = true
	}
	for _, svc := range services {
		for _, vip := range svc.VIPs {
			for _, port := range svc.Ports {
				if announced[vip] {
					w.Taken = append(w.Taken, closedports.Port{Addr: vip, Protocol: port.Protocol, Number: port.Number})
				}
			}
		}
	}
	for _, l := range ls {
		w.Links = append(w.Links, l.Name)
	}
	// Equal results are equal values, so that nothing is done for them.
	w.Addrs = unique(w.Addrs, netip.Addr.Compare)
	w.Networks = unique(w.Networks, netip.Prefix.Compare)
	w.Taken = unique(w.Taken, func(a, b closedports.Port) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Number, b.Number))
	})
	w.Links = unique(w.Links, cmp.Compare)
	return w
}

// unique returns the values in order, each once. It does not change all.
func unique[T comparable](all []T, compare func(a, b T) int) []T {
	all = slices.Clone(all)
	slices.SortFunc(all, compare)
	return slices.Compact(all)
}
