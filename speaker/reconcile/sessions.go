package reconcile

import (
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bfd"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bgp"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

// setSessions carries out what the plan says about BGP, and reports how the sessions
// have changed.
func (l *Loop) setSessions(p plan.Plan) {
	l.BGP.KeepRoutes(p.KeepRoutes)
	if p.KeepSessions {
		return
	}
	peers := make([]bgp.Peer, len(p.Peers))
	for i, peer := range p.Peers {
		peers[i] = bgpPeer(peer)
	}
	routes := make([]bgp.Route, len(p.Routes))
	for i, r := range p.Routes {
		routes[i] = bgp.Route(r)
	}
	l.BGP.Set(peers, routes)
	now := l.BGP.Status()
	if node := l.Cluster.Node(l.Node); node != nil {
		for _, e := range sessionEvents(l.sessions, now) {
			l.Events.Event(node, e.eventType, e.reason, e.text)
		}
	}
	l.sessions = now
}

// bgpPeer returns a peer of the plan in the form of package bgp.
func bgpPeer(p plan.Peer) bgp.Peer {
	c := p.Config
	peer := bgp.Peer{
		Name: c.Name, MyASN: c.MyASN, ASN: c.ASN, Address: c.Address, Port: c.Port, Source: c.SourceAddress,
		HoldTime: c.HoldTime, KeepaliveTime: c.KeepaliveTime, RouterID: p.RouterID, Password: p.Password,
		MultihopTTL: p.MultihopTTL, TTLSecurity: c.TTLSecurity, GracefulRestart: c.GracefulRestart, NextHop4: p.NextHop4, NextHop6: p.NextHop6, Unready: p.Unready,
	}
	if p.BFD != nil {
		peer.BFD = bfd.Session{
			Peer: c.Address, Local: c.SourceAddress, Multihop: p.BFD.Multihop, MinimumTTL: p.BFD.Profile.MinimumTTL,
			Receive: p.BFD.Profile.ReceiveInterval, Transmit: p.BFD.Profile.TransmitInterval, Multiplier: p.BFD.Profile.DetectMultiplier,
			Link: p.BFD.Link, Passive: p.BFD.Profile.PassiveMode,
		}
	}
	return peer
}

// sessionEvent is an Event on the Node.
type sessionEvent struct{ eventType, reason, text string }

// sessionEvents returns the Events for what has changed between two moments.
func sessionEvents(before, now []bgp.Status) (events []sessionEvent) {
	old := make(map[string]bgp.Status, len(before))
	for _, st := range before {
		old[st.Peer] = st
	}
	for _, st := range now {
		was, peer := old[st.Peer], nameOf(st)
		if st.Begun != was.Begun {
			if was.Up {
				events = append(events, sessionEvent{v1.EventTypeWarning, "BGPSessionDown", "The BGP session with " + nameOf(was) + " has ended: its configuration has changed"})
			}
			was = bgp.Status{}
		}
		delete(old, st.Peer)
		if st.Downs > was.Downs {
			why := ""
			if st.Problem != "" {
				why = ": " + st.Problem
			}
			events = append(events, sessionEvent{v1.EventTypeWarning, "BGPSessionDown", "The BGP session with " + peer + " is down" + why})
		} else if !st.Up && st.Problem != "" && st.Problem != was.Problem {
			events = append(events, sessionEvent{v1.EventTypeWarning, "BGPSessionFailed", "No BGP session with " + peer + ": " + st.Problem})
		}
		if st.Up && st.Ups > was.Ups {
			events = append(events, sessionEvent{v1.EventTypeNormal, "BGPSessionUp", "The BGP session with " + peer + " is up"})
		}
	}
	for _, was := range before { // in their order
		if _, removed := old[was.Peer]; removed && was.Up {
			events = append(events, sessionEvent{v1.EventTypeNormal, "BGPSessionDown", "The BGP session with " + nameOf(was) + " has ended: the peer was removed from the configuration, or is not for this node any more"})
		}
	}
	return events
}

// nameOf returns a peer's name, with its address unless that is the name.
func nameOf(st bgp.Status) string {
	if st.Peer == st.Address.String() {
		return st.Peer
	}
	return fmt.Sprintf("%s (%s)", st.Peer, st.Address)
}

// DescribeSessions returns the BGP sessions as text for people, one line for each peer.
func (l *Loop) DescribeSessions() string { return describeSessions(l.BGP.Status(), time.Now()) }

func describeSessions(sessions []bgp.Status, now time.Time) string {
	var b strings.Builder
	for _, st := range sessions {
		fmt.Fprintf(&b, "%s address=%s state=%s", st.Peer, st.Address, st.State)
		if !st.Since.IsZero() {
			fmt.Fprintf(&b, " for=%s", now.Sub(st.Since).Round(time.Second))
		}
		fmt.Fprintf(&b, " prefixes=%d", st.Prefixes)
		if st.Withheld > 0 {
			fmt.Fprintf(&b, " withheld=%d", st.Withheld)
		}
		if st.BFD != nil {
			fmt.Fprintf(&b, " bfd=%s", st.BFD.State)
			if st.Up && st.BFD.State != bfd.Up {
				fmt.Fprintf(&b, " (%s)", st.BFD.Why)
			}
		}
		if !st.Up && st.Problem != "" {
			fmt.Fprintf(&b, " problem=%q", st.Problem)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
