// Package plandoc turns plans into documents of the package debugapi, and states from and to
// documents. So a program on another machine can make the plan of a changed state.
package plandoc

import (
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

// MaxExcluded and MaxCandidates are how many excluded nodes and candidates a document names for each
// VIP. With a State, the package plan has all of them.
const (
	MaxExcluded   = 20
	MaxCandidates = 20
)

// Fill writes a plan, and the reasons for it, to a document. It does not write the header, the
// configuration and the state.
func Fill(d *debugapi.Plan, p plan.Plan, s plan.State) {
	d.Fenced, d.Suppressed, d.CannotSpread, d.KeepSessions = p.Fenced, p.Suppressed, p.CannotSpread, p.KeepSessions
	d.Decisions, d.Routes = Decisions(p, s), Routes(p.Routes)
}

// Decisions returns the decisions of a plan with their reasons.
func Decisions(p plan.Plan, s plan.State) []debugapi.Decision {
	explainer := plan.Explain(s)
	decisions := make([]debugapi.Decision, 0, len(p.Decisions))
	for _, d := range p.Decisions {
		doc := debugapi.Decision{
			VIP: d.VIP, Services: d.Services, Pool: d.Pool, Protocol: string(explainer.Protocol(d.VIP)),
			Owner: d.Owner, WhyOwner: explainer.WhyOwner(d), Reason: string(d.Reason),
			Withheld: d.Withheld, Network: d.Network, Links: d.Links, DespiteConflicts: d.DespiteConflicts, Foreign: d.Foreign,
			BGP: string(d.BGP), MED: d.MED, Spread: string(d.Spread), Carriers: Carriers(d.Carriers),
		}
		doc.CandidatesOmitted = max(0, len(d.Candidates)-MaxCandidates)
		doc.Candidates = d.Candidates[:len(d.Candidates)-doc.CandidatesOmitted]
		excluded := explainer.Excluded(d)
		doc.ExcludedOmitted = max(0, len(excluded)-MaxExcluded)
		for _, e := range excluded[:len(excluded)-doc.ExcludedOmitted] {
			doc.Excluded = append(doc.Excluded, debugapi.Excluded(e))
		}
		decisions = append(decisions, doc)
	}
	return decisions
}

// Carriers returns carriers in the form of a document.
func Carriers(all []plan.Carrier) (carriers []debugapi.Carrier) {
	for _, c := range all {
		carriers = append(carriers, debugapi.Carrier(c))
	}
	return carriers
}

// Routes returns routes in the form of a document.
func Routes(all []plan.Route) []debugapi.Route {
	routes := make([]debugapi.Route, 0, len(all))
	for _, r := range all {
		doc := debugapi.Route{Prefix: r.Prefix, LocalPref: r.LocalPref, MED: r.MED, Peers: r.Peers}
		for _, c := range r.Communities {
			doc.Communities = append(doc.Communities, config.Community(c).String())
		}
		for _, c := range r.LargeCommunities {
			doc.LargeCommunities = append(doc.LargeCommunities, config.LargeCommunity(c).String())
		}
		routes = append(routes, doc)
	}
	return routes
}
