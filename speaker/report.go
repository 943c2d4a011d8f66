package speaker

import (
	"fmt"
	"net/netip"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/layer2"
)

// report tells what is different from the last plan: in the log always, in an
// Event on the Service when this node has become the owner, or cannot be.
func (s *Speaker) report(before, now Plan) {
	was := make(map[netip.Addr]Decision, len(before.Decisions))
	for _, d := range before.Decisions {
		was[d.VIP] = d
	}
	for _, d := range now.Decisions {
		old, known := was[d.VIP]
		delete(was, d.VIP)
		if old.BGP != d.BGP {
			s.log.Info("BGP", "vip", d.VIP, "services", d.Services, "reason", d.BGP, "before", old.BGP)
		}
		if old.Reason == d.Reason && old.Owner == d.Owner {
			continue
		}
		s.log.Info("decision", "vip", d.VIP, "services", d.Services, "reason", d.Reason, "owner", d.Owner, "before", old.Owner)
		switch {
		case d.Reason == Conflict:
			s.event(d.Services, v1.EventTypeWarning, "AddressConflict", fmt.Sprintf("%s is not announced: the host with the MAC address %s has it. Find that host and take the address from it, or from the pool.", d.VIP, d.Foreign))
		case d.Reason == Owner && known && old.Owner != "" && old.Owner != d.Owner:
			s.event(d.Services, v1.EventTypeNormal, "Announced", fmt.Sprintf("%s is announced by %s, which has taken it over from %s", d.VIP, s.options.Node, old.Owner))
		case d.Reason == Owner:
			s.event(d.Services, v1.EventTypeNormal, "Announced", fmt.Sprintf("%s is announced by %s", d.VIP, s.options.Node))
		}
	}
	for vip, d := range was {
		s.log.Info("address gone", "vip", vip, "services", d.Services, "reasonBefore", d.Reason)
	}
}

// reportContested writes an Event for every address that is announced and that
// another host has begun to claim.
func (s *Speaker) reportContested(conflicts []layer2.Conflict) {
	now := map[netip.Addr]string{}
	for _, c := range conflicts {
		if !c.Announced {
			continue
		}
		now[c.Addr] = c.MAC
		if s.contested[c.Addr] == c.MAC {
			continue
		}
		for _, d := range s.status.plan().Decisions {
			if d.VIP == c.Addr {
				s.event(d.Services, v1.EventTypeWarning, "AddressConflict", fmt.Sprintf("%s is also claimed by the host with the MAC address %s, on %s of %s. The address is defended; find that host and take the address from it.", c.Addr, c.MAC, c.Link, s.options.Node))
			}
		}
	}
	s.contested = now
}

// event writes an Event on each of the Services.
func (s *Speaker) event(services []string, eventType, reason, text string) {
	for _, name := range services {
		if svc := s.service(name); svc != nil {
			s.events.Event(svc, eventType, reason, text)
		}
	}
}
