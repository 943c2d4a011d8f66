package reconcile

import (
	"net/netip"
	"slices"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/spread"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/view"
)

// spreadFlows returns which flows this node forwards, and to whom. announced are the VIPs that any
// speaker has announced before.
func spreadFlows(p plan.Plan, in view.Inputs, members map[[6]byte]layer2.Member, announced map[netip.Addr]bool) spread.Wanted {
	w := spread.Wanted{Links: map[string]int{}, Nodes: map[netip.Addr]string{}}
	if len(p.Spread) == 0 {
		return w
	}
	for _, s := range p.Spread {
		w.VIPs = append(w.VIPs, spread.VIP{Addr: s.VIP, Link: s.Link, ByAddress: s.ByAddress, New: !announced[s.VIP], Table: (*spread.Table)(s.Slots)})
	}
	for _, l := range in.AllLinks {
		w.Links[l.Name] = l.Index
	}
	for mac, m := range members {
		if !m.Self {
			w.Members = append(w.Members, mac)
		}
	}
	for _, o := range slices.Concat(in.Departed, in.Others) {
		for _, l := range o.Profile.Links {
			w.Members = append(append(w.Members, l.MAC), l.Ports...)
			for _, p := range []netip.Prefix{l.IPv4, l.IPv6} {
				if p.IsValid() {
					w.Nodes[p.Addr()] = o.Name
				}
			}
		}
	}
	w.Members = unique(w.Members, func(a, b [6]byte) int { return slices.Compare(a[:], b[:]) })
	return w
}

// spreadNow returns the VIPs for which nodes have rules by the last plan; nil if there is none that says it. It
// does not matter whether this node has a link for them.
func (l *Loop) spreadNow() map[netip.Addr]bool {
	p := l.last.Load()
	if p == nil || p.plan.KeepSpread {
		return nil
	}
	return spreadVIPs(p.plan)
}

func spreadVIPs(p plan.Plan) map[netip.Addr]bool {
	vips := map[netip.Addr]bool{}
	for _, d := range p.Decisions {
		switch d.Spread {
		case plan.Spreading, plan.OneCandidate, plan.NotCapable: // with NotCapable, the rules of the speakers before may be there
			vips[d.VIP] = true
		}
	}
	return vips
}

// setSpread notes what this node can do, and what its kernel does. It tells the other nodes that it spreads when
// its kernel has the rules: before that, they should forward no flows to it, because it would not hand on the
// connections that it does not know.
func (l *Loop) setSpread(self *view.Self) {
	if l.Spread == nil {
		self.CannotSpread = "the speaker runs with --spread=off"
		return
	}
	status := l.Spread.Status()
	self.CannotSpread = status.Obstacle
	self.SaysSpreads = status.Obstacle == "" && status.HasRules
	self.HandsOn = status.Obstacle == "" && status.HandsOn
}
