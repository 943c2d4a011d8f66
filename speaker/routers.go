package speaker

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bfd"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bgp"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
)

// advertise carries out what a plan says of BGP, and tells what has become of the
// sessions.
func (s *Speaker) advertise(plan Plan, ls []links.Link, nodes []Node) {
	c := s.config.State().Config
	if c == nil {
		return // there was none yet
	}
	here := surroundings{links: ls, addrs: s.ownAddrs(), password: s.passwords.of, path: s.routerPaths.to}
	for _, n := range nodes {
		if n.Name == s.options.Node {
			here.node = n
		}
	}
	if here.node.Name == "" {
		return // as long as the Node is away, the sessions stay as they are
	}
	s.bgp.Set(bgpPeers(c, here), plan.Routes)
	now := s.bgp.Status()
	s.reportSessions(s.sessions, now)
	s.sessions = now
}

// ownAddrs are this node's addresses as the API server has said them last: a Node
// that is without for a moment is no reason to end sessions.
func (s *Speaker) ownAddrs() []netip.Addr {
	node, err := s.watched.nodes.Get(s.options.Node)
	if err != nil {
		return s.addrs // gone meanwhile
	}
	var addrs []netip.Addr
	for _, a := range node.Status.Addresses {
		if addr, err := netip.ParseAddr(a.Address); err == nil && a.Type == v1.NodeInternalIP {
			addrs = append(addrs, addr.Unmap())
		}
	}
	if len(addrs) > 0 {
		s.addrs = addrs
	}
	return s.addrs
}

// routerPaths are the ways to routers, as the kernel has said them last: one that
// knows none at the moment does not make a router on the link one far away.
type routerPaths map[[2]netip.Addr]routerPath

type routerPath struct {
	link   int
	direct bool
}

func (known routerPaths) to(addr, source netip.Addr) (link int, direct bool) {
	key := [2]netip.Addr{addr, source}
	if link, direct, err := links.PathTo(addr, source); err == nil {
		known[key] = routerPath{link, direct}
	}
	return known[key].link, known[key].direct
}

// reportSessions writes Events on the Node, each once for each change.
func (s *Speaker) reportSessions(before, now []bgp.Status) {
	node, err := s.watched.nodes.Get(s.options.Node)
	if err != nil {
		return // gone meanwhile
	}
	for _, e := range sessionEvents(before, now) {
		s.events.Event(node, e.kind, e.reason, e.text)
	}
}

type sessionEvent struct{ kind, reason, text string }

// sessionEvents are what there is to say of the sessions since the last time.
func sessionEvents(before, now []bgp.Status) (events []sessionEvent) {
	was := make(map[string]bgp.Status, len(before))
	for _, st := range before {
		was[st.Peer] = st
	}
	for _, st := range now {
		old, peer := was[st.Peer], name(st)
		if st.Begun != old.Begun {
			if old.Up {
				events = append(events, sessionEvent{v1.EventTypeWarning, "BGPSessionDown", "The BGP session with " + name(old) + " has ended: its configuration has changed"})
			}
			old = bgp.Status{}
		}
		delete(was, st.Peer)
		if st.Downs > old.Downs {
			why := ""
			if st.Problem != "" {
				why = ": " + st.Problem
			}
			events = append(events, sessionEvent{v1.EventTypeWarning, "BGPSessionDown", "The BGP session with " + peer + " is down" + why})
		} else if !st.Up && st.Problem != "" && st.Problem != old.Problem {
			events = append(events, sessionEvent{v1.EventTypeWarning, "BGPSessionFailed", "No BGP session with " + peer + ": " + st.Problem})
		}
		if st.Up && st.Ups > old.Ups {
			events = append(events, sessionEvent{v1.EventTypeNormal, "BGPSessionUp", "The BGP session with " + peer + " is up"})
		}
	}
	for _, old := range before { // in their order
		if _, gone := was[old.Peer]; gone && old.Up {
			events = append(events, sessionEvent{v1.EventTypeNormal, "BGPSessionDown", "The BGP session with " + name(old) + " has ended: the peer is not wanted any more"})
		}
	}
	return events
}

// name is a peer's name, with its address unless that is the name.
func name(st bgp.Status) string {
	if st.Peer == st.Address.String() {
		return st.Peer
	}
	return fmt.Sprintf("%s (%s)", st.Peer, st.Address)
}

// describeSessions returns the sessions for people, one line a peer.
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

// keepRoutes reports whether peers with graceful restart shall keep this node's
// routes when its speaker ends: not if the node itself is about to go.
func (s *Speaker) keepRoutes() bool {
	node, err := s.watched.nodes.Get(s.options.Node)
	return err == nil && !node.Spec.Unschedulable && excluded(node) == ""
}
