package speaker

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
)

const (
	// pace is the least time between two plans: a burst of events is one plan.
	pace = 50 * time.Millisecond
	// anyway is the most time between two plans, in case an event was missed and
	// to try again what failed.
	anyway = 10 * time.Second
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
	arrived := s.members.Arrived()
	services, nodes, err := s.watched.snapshot()
	if err != nil {
		s.log.Error("no plan could be made, the last one stays", "error", err)
		return
	}
	ls, err := links.List(s.options.ExcludeInterfaces)
	if err != nil {
		s.log.Error("no plan could be made, the last one stays", "error", err)
		return
	}
	usable := s.linksFor(ctx, ls)
	plan := MakePlan(State{
		Node: s.options.Node, Config: s.config.State().Config,
		Services: services, Nodes: nodes, Alive: s.members.Announcing(), Silent: len(usable) == 0,
	})
	before := s.status.plan()
	s.layer2.Set(usable, rows(plan))
	if arrived != s.arrived {
		// Who comes back may have believed itself the owner of everything, and
		// have said so.
		s.arrived = arrived
		s.layer2.Reannounce()
	}
	s.status.applied(plan)
	s.report(before, plan)
}

// linksFor returns the links to announce on, and tells the other speakers if
// there are none, so that they elect somebody else.
func (s *Speaker) linksFor(ctx context.Context, ls []links.Link) []layer2.Link {
	was := s.fence.cutOff
	open := s.fence.open(len(ls) > 0, func() <-chan struct{} { return s.members.Rejoin(ctx) })
	if s.fence.cutOff && !was {
		s.log.Warn("no link can be used, nothing is announced")
	}
	s.members.SetAnnouncing(open)
	if !open {
		return nil
	}
	converted := make([]layer2.Link, len(ls))
	for i, l := range ls {
		converted[i] = layer2.Link{Name: l.Name, Index: l.Index, MAC: l.MAC}
	}
	return converted
}

// rows is empty for a silent speaker: what cannot be announced is not handed
// over either, it stops at once.
func rows(p Plan) []layer2.Row {
	var rows []layer2.Row
	for _, d := range p.Decisions {
		switch d.Reason {
		case Owner:
			rows = append(rows, layer2.Row{Addr: d.VIP, Role: layer2.Owner})
		case OtherOwner, NoEndpoint, NoCandidate:
			rows = append(rows, layer2.Row{Addr: d.VIP, Role: layer2.Standby})
		case Silent:
		}
	}
	return rows
}

// report tells what is different from the last plan: in the log always, in an
// Event on the Service when this node has become the owner.
func (s *Speaker) report(before, now Plan) {
	was := map[netip.Addr]Decision{}
	for _, d := range before.Decisions {
		was[d.VIP] = d
	}
	for _, d := range now.Decisions {
		old, known := was[d.VIP]
		delete(was, d.VIP)
		if old.Reason == d.Reason && old.Owner == d.Owner {
			continue
		}
		s.log.Info("decision", "vip", d.VIP, "services", d.Services, "reason", d.Reason, "owner", d.Owner, "before", old.Owner)
		if d.Reason == Owner {
			s.announced(d, known && old.Owner != "")
		}
	}
	for vip, d := range was {
		s.log.Info("address gone", "vip", vip, "services", d.Services, "reasonBefore", d.Reason)
	}
}

func (s *Speaker) announced(d Decision, takenOver bool) {
	text := fmt.Sprintf("%s is announced by %s", d.VIP, s.options.Node)
	if takenOver {
		text += ", which has taken it over"
	}
	for _, name := range d.Services {
		if svc := s.service(name); svc != nil {
			s.events.Event(svc, v1.EventTypeNormal, "Announced", text)
		}
	}
}
