package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// SpreadStatus says in words whether several nodes carry the flows of the VIPs of a Service.
type SpreadStatus struct {
	// OK is set if all VIPs that should be spread are spread.
	OK bool
	// Reason is one of the SpreadReasons. Message says over how many nodes the VIPs are spread,
	// or why they are not, and what to do.
	Reason, Message string
}

// spreadStatus returns what the Service's condition should say; nil if none of its VIPs should
// be spread.
func (s *State) spreadStatus(svc Service, byVIP map[netip.Addr]*Decision) *SpreadStatus {
	status := SpreadStatus{OK: true, Reason: string(Spreading)}
	var texts []string
	for _, vip := range svc.VIPs {
		d := byVIP[vip]
		if d == nil || d.Spread == "" {
			continue
		}
		if d.Spread == Spreading {
			texts = append(texts, fmt.Sprintf("%s is spread over %d nodes", vip, len(d.Carriers)))
			continue
		}
		if status.OK {
			status.OK, status.Reason = false, string(d.Spread)
		}
		texts = append(texts, fmt.Sprintf("%s is not spread: %s", vip, s.whyNotSpread(d, svc)))
	}
	if len(texts) == 0 {
		return nil
	}
	status.Message = strings.Join(texts, "; ")
	return &status
}

func (s *State) whyNotSpread(d *Decision, svc Service) string {
	switch d.Spread {
	case NoOwner:
		return "no node announces it by layer 2; the condition lb.baremetal/Announced says why"
	case SpreadNotLayer2:
		return "its pool is announced over BGP alone, and the routers spread the flows. Nothing more is needed"
	case MixedPolicies:
		return "Services with both values of externalTrafficPolicy share it. Give all of them the same value"
	case OneCandidate:
		if svc.Local {
			return fmt.Sprintf("the traffic policy is Local, and only node %s has ready endpoints and can spread. Run pods on more nodes", d.Carriers[0].Node)
		}
		return fmt.Sprintf("only node %s may announce it and can spread. The page /debug/plan of the other speakers says why they cannot", d.Carriers[0].Node)
	}
	if s.CannotSpread != "" {
		return fmt.Sprintf("no node that may announce it can spread; node %s: %s", s.Node, s.CannotSpread)
	}
	if slices.ContainsFunc(s.Holders, func(m Member) bool { return m.Name == s.Node && !m.Spreads }) {
		return fmt.Sprintf("no node that may announce it can spread; the kernel of node %s does not have the rules yet. If this stays, the page /debug/spread of the node says why", s.Node)
	}
	family := "IPv4"
	if d.VIP.Is6() {
		family = "IPv6"
	}
	return fmt.Sprintf("no node that may announce it can spread, and has an %s address on the link. Give the nodes such addresses in one network", family)
}
