package reconcile

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bfd"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bgp"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/members"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plandoc"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/view"
)

// The documents of the last pass. The caller adds the headers. They may be called from any
// goroutine.

// noPass is the problem of a document before the first pass.
const noPass = "the speaker has made no plan yet: it waits for the API server or for other speakers, see its log"

// PlanDocument returns what this node announces and why, with the state.
func (l *Loop) PlanDocument() debugapi.Plan {
	last := l.last.Load()
	if last == nil {
		return debugapi.Plan{Header: debugapi.Header{Problem: noPass}}
	}
	d := debugapi.Plan{Config: ConfigDocument(last.in.Source.State)}
	plandoc.Fill(&d, last.plan, last.state)
	state, err := plandoc.FromState(last.state, last.in.Source.State.Text, last.in.Source.Earlier)
	if err != nil {
		d.Problem = fmt.Sprintf("the state is left out: %v", err)
		return d
	}
	d.State = state
	return d
}

// ConfigDocument says which configuration is in use.
func ConfigDocument(state configmap.State) debugapi.Config {
	d := debugapi.Config{ResourceVersion: state.ResourceVersion, Hash: state.Hash}
	if state.Problem != nil {
		d.Problem = state.Problem.Error()
	}
	return d
}

// BGPDocument returns the sessions of this node.
func (l *Loop) BGPDocument() debugapi.BGP {
	last := l.last.Load()
	if last == nil {
		return debugapi.BGP{Header: debugapi.Header{Problem: noPass}}
	}
	return debugapi.BGP{Sessions: sessionDocuments(l.BGP.Status()), Routes: plandoc.Routes(last.plan.Routes)}
}

func sessionDocuments(all []bgp.Status) []debugapi.Session {
	sessions := make([]debugapi.Session, 0, len(all))
	for _, st := range all {
		s := debugapi.Session{
			Peer: st.Peer, Address: st.Address, State: st.State, Up: st.Up, Since: st.Since, Ups: st.Ups, Downs: st.Downs,
			Prefixes: st.Prefixes, Withheld: st.Withheld,
		}
		if !st.Up {
			s.Problem = st.Problem
		}
		if st.BFD != nil {
			s.BFD = &debugapi.BFD{State: st.BFD.State.String(), Since: st.BFD.Since, Failures: st.BFD.Failures}
			if st.BFD.State != bfd.Up {
				s.BFD.Problem = st.BFD.Why
			}
		}
		sessions = append(sessions, s)
	}
	return sessions
}

// SpreadDocument returns which nodes carry the flows of VIPs.
func (l *Loop) SpreadDocument() debugapi.Spread {
	last := l.last.Load()
	if last == nil {
		return debugapi.Spread{Header: debugapi.Header{Problem: noPass}}
	}
	d := spreadDocument(last.plan)
	if l.Spread != nil {
		status := l.Spread.Status()
		d.Rules, d.RulesProblem = status.HasRules, status.Problem
	}
	return d
}

func spreadDocument(p plan.Plan) debugapi.Spread {
	d := debugapi.Spread{Obstacle: p.CannotSpread, VIPs: []debugapi.SpreadVIP{}}
	flows := p.Spread // in the order of the VIPs, like the decisions
	for _, decision := range p.Decisions {
		if decision.Spread == "" {
			continue
		}
		v := debugapi.SpreadVIP{
			VIP: decision.VIP, Services: decision.Services, Reason: string(decision.Spread), Owner: decision.Owner,
			Carriers: plandoc.Carriers(decision.Carriers),
		}
		for len(flows) > 0 && flows[0].VIP.Compare(decision.VIP) <= 0 {
			if flows[0].VIP == decision.VIP {
				v.Links = append(v.Links, debugapi.SpreadLink{Link: flows[0].Link, ByAddress: flows[0].ByAddress, Ring: flows[0].Slots.Ring})
			}
			flows = flows[1:]
		}
		d.VIPs = append(d.VIPs, v)
	}
	return d
}

// MembersDocument returns what this speaker knows about the speakers.
func (l *Loop) MembersDocument() debugapi.Members {
	last := l.last.Load()
	if last == nil {
		return debugapi.Members{Header: debugapi.Header{Problem: noPass}}
	}
	return membersDocument(last.in, last.beats, last.self)
}

func membersDocument(in view.Inputs, beats heartbeat.View, self view.Self) debugapi.Members {
	d := debugapi.Members{
		Self: debugapi.Self{
			Addr: in.Addr, Fenced: self.Fenced, Suppressed: self.Suppressed, Starting: self.Starting, Rejoining: self.Rejoining,
			Returned: self.Returned, Unready: self.Unready, Advertises: self.Advertises, Spreads: self.SaysSpreads, CannotSpread: self.CannotSpread,
			Deaths: beats.Deaths, Freezes: beats.Freezes, ProfileVersion: beats.Known,
			FencedLinks: slices.Sorted(maps.Keys(beats.FencedLinks)), Links: linkDocuments(view.Profile(in, beats, self).Links),
		},
		Members: make([]debugapi.Member, 0, len(in.Others)),
	}
	var names []string
	for _, o := range in.Others {
		if !o.Profile.Leaving && (!o.Lost || slices.Contains(beats.Returned, o.Name)) {
			names = append(names, o.Name)
		}
	}
	watched := heartbeat.Neighbours(in.Node, names)
	for _, o := range in.Others {
		profile := o.Profile
		d.Members = append(d.Members, debugapi.Member{
			Name: o.Name, Addr: o.Addr, Alive: view.IsAlive(in, o, beats), Lost: o.Lost,
			KernelDead: slices.Contains(beats.KernelDead, o.Name), DeadAt: beats.Dead[o.Name], Watched: slices.Contains(watched, o.Name), Heard: beats.Profiles[o.Name].Version > 0,
			Fenced: profile.Fenced, Suppressed: profile.Suppressed, Returned: profile.Returned, Starting: profile.Starting, Leaving: profile.Leaving,
			Advertises: profile.Advertises, Spreads: profile.Spreads, ProfileVersion: profile.Version, Links: linkDocuments(profile.Links),
		})
	}
	return d
}

func linkDocuments(all []members.Link) []debugapi.Link {
	links := make([]debugapi.Link, 0, len(all))
	for _, l := range all {
		links = append(links, debugapi.Link{Name: l.Name, MAC: net.HardwareAddr(l.MAC[:]).String(), IPv4: l.IPv4, IPv6: l.IPv6, Networks: l.Networks})
	}
	return links
}

// DescribeSpread returns a document as text for people, one line for each VIP.
func DescribeSpread(d debugapi.Spread) string {
	var b strings.Builder
	fmt.Fprintf(&b, "node %s rules=%t\n", d.Node, d.Rules)
	if d.Obstacle != "" {
		fmt.Fprintf(&b, "cannot spread: %s\n", d.Obstacle)
	}
	if d.RulesProblem != "" {
		fmt.Fprintf(&b, "the kernel did not take the rules: %s\n", d.RulesProblem)
	}
	for _, v := range d.VIPs {
		fmt.Fprintf(&b, "%s services=%s owner=%s reason=%s", v.VIP, strings.Join(v.Services, ","), cmp.Or(v.Owner, "none"), v.Reason)
		for i, c := range v.Carriers {
			fmt.Fprintf(&b, "%s%s:%d", separator(i, " slots="), c.Node, c.Slots)
		}
		for i, link := range v.Links {
			fmt.Fprintf(&b, "%s%s", separator(i, " links="), link.Link)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// DescribeMembers returns a document as text for people, one line for each speaker.
func DescribeMembers(d debugapi.Members) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s address=%s self version=%s", d.Node, d.Self.Addr, d.ProgramVersion)
	for _, flag := range []struct {
		name, why string
	}{{"fenced", d.Self.Fenced}, {"suppressed", d.Self.Suppressed}, {"cannot-spread", d.Self.CannotSpread}} {
		if flag.why != "" {
			fmt.Fprintf(&b, " %s=%q", flag.name, flag.why)
		}
	}
	b.WriteByte('\n')
	for _, m := range d.Members {
		fmt.Fprintf(&b, "%s address=%s", m.Name, m.Addr)
		for _, flag := range []struct {
			name string
			set  bool
		}{
			{"alive", m.Alive}, {"lost", m.Lost}, {"kernel-dead", m.KernelDead}, {"never-heard", m.Watched && !m.Heard}, {"fenced", m.Fenced}, {"suppressed", m.Suppressed},
			{"returned", m.Returned}, {"starting", m.Starting}, {"leaving", m.Leaving}, {"advertises", m.Advertises}, {"spreads", m.Spreads},
		} {
			if flag.set {
				b.WriteString(" " + flag.name)
			}
		}
		b.WriteByte('\n')
	}
	for _, reason := range slices.Sorted(maps.Keys(d.Rejected)) {
		fmt.Fprintf(&b, "rejected %s=%d\n", reason, d.Rejected[reason])
	}
	for _, k := range d.OtherKeys {
		fmt.Fprintf(&b, "another-key to=%s from=%s last=%s\n", k.To, k.From, k.Last.Format(time.RFC3339))
	}
	return b.String()
}

// separator returns what stands before element i of a list.
func separator(i int, first string) string {
	if i == 0 {
		return first
	}
	return ","
}
