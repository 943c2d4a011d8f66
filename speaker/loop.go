package speaker

import (
	"context"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/heartbeat"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
)

const (
	// pace is the least time between two plans: a burst of events is one plan.
	pace = 50 * time.Millisecond
	// anyway is the most time between two plans, in case an event was missed and
	// to try again what failed.
	anyway = 10 * time.Second
	// told is how long it takes until all others know what a member says of itself.
	told = 500 * time.Millisecond
)

// loop plans and applies whenever something has changed, until ctx ends. It
// acts on an event at once, and then rests for pace.
func (s *Speaker) loop(ctx context.Context) {
	tick := time.NewTicker(anyway)
	defer tick.Stop()
	for ctx.Err() == nil {
		s.apply(ctx)
		select {
		case <-time.After(pace):
		case <-ctx.Done():
		}
		select {
		case <-s.kick:
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// apply makes a plan of the present state and carries it out.
func (s *Speaker) apply(ctx context.Context) {
	returned, thaws := s.members.Returned(), s.heartbeat.View().Thaws
	if thaws != s.thaws {
		// Others are the owners now, and there is nothing to hand over to them.
		s.layer2.Forget()
		s.heartbeat.Resume(ctx, thaws)
		s.thaws = thaws
	}
	services, nodes, err := s.watched.snapshot()
	if err != nil {
		s.log.Error("no plan could be made, the last one stays", "error", err)
		time.AfterFunc(pace, s.changed)
		return
	}
	ls, err := links.List(s.options.ExcludeInterfaces)
	if err != nil {
		s.log.Error("no plan could be made, the last one stays", "error", err)
		time.AfterFunc(pace, s.changed)
		return
	}
	n := s.neighbourhood(ctx, ls, nodes)
	conflicts := s.layer2.Conflicts()
	plan := s.planner.Plan(State{
		Node: s.options.Node, Config: s.config.State().Config, Services: services, Nodes: nodes,
		Members: n.speakers(), Lost: n.lost(), Silent: n.silent, Conflicts: unannounced(conflicts),
	})
	before := s.status.plan()
	s.layer2.Set(announceOn(ls), n.byMAC(), rows(plan, s.known))
	if returned != s.returned {
		// Who comes back may have believed itself the owner of everything, and
		// have said so.
		s.returned = returned
		s.layer2.Reannounce()
	}
	s.advertise(plan, ls, nodes)
	s.known = knownIn(plan, s.known)
	s.status.applied(plan)
	s.report(before, plan)
	s.reportContested(conflicts)
}

// neighbourhood finds out who is there, tells the others what there is to say
// of this node, and looks for those that have come back.
func (s *Speaker) neighbourhood(ctx context.Context, ls []links.Link, nodes []Node) neighbourhood {
	s.forget(nodes)
	n := neighbourhood{node: s.options.Node, addr: s.addr, links: ls, others: s.members.Others(), beats: s.heartbeat.View(), blind: s.config.State().Config == nil}
	if paths := n.paths(); !reflect.DeepEqual(paths, s.paths) || s.paths == nil {
		s.paths = paths
		s.heartbeat.Set(ctx, paths)
		n.beats = s.heartbeat.View()
	}
	n.silent = s.silence(ctx, len(ls) > 0, n.beats)
	n.held = s.stillHeld(n.beats.Held[s.options.Node])
	s.members.SetProfile(n.profile())
	if s.met.Swap(false) || len(n.beats.Returned) > 0 {
		s.rejoin(ctx)
	}
	return n
}

// stillHeld keeps this speaker behind others until they have heard that it need
// not be any more: they move first, and no two announce.
func (s *Speaker) stillHeld(held bool) bool {
	if held {
		s.heldUntil = time.Time{}
	} else if s.wasHeld {
		s.heldUntil = time.Now().Add(told)
		time.AfterFunc(told, s.changed)
	}
	s.wasHeld = held
	return held || time.Now().Before(s.heldUntil)
}

// silence says why this speaker must not announce, or "".
func (s *Speaker) silence(ctx context.Context, haveLink bool, beats heartbeat.View) string {
	open := s.fence.open(haveLink && beats.Silent == "", func() <-chan struct{} { return s.members.Rejoin(ctx) })
	switch {
	case !haveLink:
		return "it has no link that can be used"
	case beats.Silent != "":
		return beats.Silent
	case !open:
		return "it was cut off, and looks for the others"
	case !beats.Ready:
		return "it waits for the heartbeats of its neighbours"
	}
	return ""
}

// rejoin looks for members that are missing, unless that is being done.
func (s *Speaker) rejoin(ctx context.Context) {
	select {
	case <-s.rejoined:
		s.rejoined = nil
	default:
	}
	if s.rejoined == nil {
		s.rejoined = s.members.Rejoin(ctx)
	}
}

// forget drops members that are lost for good: their nodes are no more.
func (s *Speaker) forget(nodes []Node) {
	for _, o := range s.members.Others() {
		if o.Lost && !slices.ContainsFunc(nodes, func(n Node) bool { return n.Name == o.Name }) {
			s.members.Forget(o.Name)
		}
	}
}

func announceOn(ls []links.Link) []layer2.Link {
	converted := make([]layer2.Link, len(ls))
	for i, l := range ls {
		converted[i] = layer2.Link{Name: l.Name, Index: l.Index, MAC: l.MAC}
	}
	return converted
}

// rows is empty for a silent speaker: what cannot be announced is not handed
// over either, it stops at once. known are the addresses that somebody has
// announced before, as far as this speaker knows.
func rows(p Plan, known map[netip.Addr]bool) []layer2.Row {
	var rows []layer2.Row
	for _, d := range p.Decisions {
		switch d.Reason {
		case Owner, Conflict:
			rows = append(rows, layer2.Row{Addr: d.VIP, Role: layer2.Owner, Links: d.Links, Fresh: !known[d.VIP], Rivals: d.Rivals})
		case OtherOwner, NoEndpoint, NoLink, NoCandidate:
			rows = append(rows, layer2.Row{Addr: d.VIP, Role: layer2.Standby})
		case Silent, NotLayer2:
		}
	}
	return rows
}

// knownIn returns the addresses of the plan that somebody announces, or has.
func knownIn(p Plan, before map[netip.Addr]bool) map[netip.Addr]bool {
	known := make(map[netip.Addr]bool, len(p.Decisions))
	for _, d := range p.Decisions {
		if d.Reason != Conflict && (before[d.VIP] || d.Reason == Owner || d.Reason == OtherOwner) {
			known[d.VIP] = true
		}
	}
	return known
}

// unannounced are the addresses that are not announced since another host has them.
func unannounced(conflicts []layer2.Conflict) map[netip.Addr]string {
	foreign := map[netip.Addr]string{}
	for _, c := range conflicts {
		if !c.Announced {
			foreign[c.Addr] = c.MAC
		}
	}
	return foreign
}
