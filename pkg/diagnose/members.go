package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/memberkey"
)

// memberProblems are about speakers that do not hear each other.
func (f *facts) memberProblems() []Problem {
	var keys, deaf grouped
	for i := range f.Speakers {
		s := &f.Speakers[i]
		if s.Members == nil || s.Members.Problem != "" {
			continue
		}
		var absent, unheard, rejected []string
		for j := range f.Speakers {
			other := &f.Speakers[j]
			if other.Node() == s.Node() || !isReady(other.Pod) || f.dead[other.Node()] {
				continue
			}
			m := s.member(other.Node())
			isAbsent, isUnheard := m == nil || m.Lost && !m.Alive, m != nil && (!m.Alive || m.Watched && !m.Heard)
			switch {
			case (isAbsent || isUnheard) && s.rejects(f.addressesOf(other, m)):
				rejected = append(rejected, other.Node())
			case (isAbsent || isUnheard) && other.Members != nil && other.rejects(f.addressesOf(s, other.member(s.Node()))):
				// It is the other speaker that says so.
			case isAbsent:
				absent = append(absent, other.Node())
			case isUnheard:
				unheard = append(unheard, other.Node())
			}
		}
		if len(rejected) > 0 {
			keys.add(s.Node(), Problem{Severity: Error, Reason: "KeyRejected", What: fmt.Sprintf("the speaker rejects what %s sends, because it is made with another key", nodes(rejected)),
				Do: fmt.Sprintf("All speakers must use the key of the Secret %s in namespace %s. Restart the speakers that have another one: their logs say that they cannot read the Secret", memberkey.Name, f.ConfigMap.Namespace)})
		}
		if len(absent) > 0 {
			deaf.add(s.Node(), Problem{Severity: Error, Reason: "MembersMissing", What: "the speaker does not find the speakers of " + nodes(absent),
				Do: "Open TCP and UDP port 7946 (--members-port) between the nodes"})
		}
		if len(unheard) > 0 {
			deaf.add(s.Node(), Problem{Severity: Error, Reason: "MembersNotHeard", What: "the speaker knows the speakers of " + nodes(unheard) + ", and hears no heartbeats of them",
				Do: "Open UDP and TCP port 7947 (--heartbeat-port) between the nodes"})
		}
	}
	return slices.Concat(keys.problems(), deaf.problems())
}

// member returns what the speaker knows about the speaker of another node; nil for nothing.
func (s *Speaker) member(node string) *debugapi.Member {
	i := slices.IndexFunc(s.Members.Members, func(m debugapi.Member) bool { return m.Name == node })
	if i < 0 {
		return nil
	}
	return &s.Members.Members[i]
}

// otherKeyFor is how long a packet with another key counts. Speakers look for missing members every
// 3 s.
const otherKeyFor = time.Minute

// rejects reports whether a host with one of the addresses has sent something with another key a short
// time ago, by the clock of the speaker. An older packet says nothing about now.
func (s *Speaker) rejects(addrs []netip.Addr) bool {
	return slices.ContainsFunc(s.Members.OtherKeys, func(k debugapi.OtherKey) bool {
		return k.From.IsValid() && s.Members.Time.Sub(k.Last) < otherKeyFor && slices.Contains(addrs, k.From)
	})
}

// addressesOf returns the addresses of a speaker's node. m is what another speaker knows about it; nil
// for nothing.
func (f *facts) addressesOf(s *Speaker, m *debugapi.Member) (addrs []netip.Addr) {
	add := func(text string) {
		if addr, err := netip.ParseAddr(text); err == nil { // a Node also has names
			addrs = append(addrs, addr.Unmap())
		}
	}
	add(s.Pod.Status.HostIP)
	for _, ip := range s.Pod.Status.HostIPs {
		add(ip.IP)
	}
	if n := f.node(s.Node()); n != nil {
		for _, a := range n.Status.Addresses {
			add(a.Address)
		}
	}
	if m != nil {
		addrs = append(addrs, m.Addr)
		for _, l := range m.Links {
			addrs = append(addrs, l.IPv4.Addr(), l.IPv6.Addr())
		}
	}
	return addrs
}

// heard returns how many of the other running speakers this one hears, and how many there are.
func (f *facts) heard(s *Speaker) (heard, all int) {
	for i := range f.Speakers {
		other := &f.Speakers[i]
		if other.Node() == s.Node() {
			continue
		}
		all++
		if m := s.member(other.Node()); m != nil && m.Alive {
			heard++
		}
	}
	return heard, all
}
