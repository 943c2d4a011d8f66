package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/memberkey"
)

// memberProblems are about speakers that do not hear each other.
func (f *facts) memberProblems() []Problem {
	var deaf grouped
	for i := range f.Speakers {
		s := &f.Speakers[i]
		if s.Members == nil || s.Members.Problem != "" {
			continue
		}
		var absent, unheard []string
		for j := range f.Speakers {
			other := &f.Speakers[j]
			if other.Node() == s.Node() || !isReady(other.Pod) {
				continue
			}
			switch m := s.member(other.Node()); {
			case m == nil || m.Lost && !m.Alive:
				absent = append(absent, other.Node())
			case !m.Alive || m.Watched && !m.Heard:
				unheard = append(unheard, other.Node())
			}
		}
		if rejected := s.rejectedKeys(); len(absent)+len(unheard) > 0 && rejected != "" {
			deaf.add(s.Node(), Problem{Severity: Error, Reason: "KeyRejected", What: fmt.Sprintf("the speaker does not hear %s, and rejects packets with another key (%s)", nodes(slices.Concat(absent, unheard)), rejected),
				Do: fmt.Sprintf("All speakers must use the key of the Secret %s in namespace %s. Restart the speakers that have another one, and look for a second installation in this network", memberkey.Name, f.ConfigMap.Namespace)})
			continue
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
	return deaf.problems()
}

// member returns what the speaker knows about the speaker of another node; nil for nothing.
func (s *Speaker) member(node string) *debugapi.Member {
	i := slices.IndexFunc(s.Members.Members, func(m debugapi.Member) bool { return m.Name == node })
	if i < 0 {
		return nil
	}
	return &s.Members.Members[i]
}

// rejectedKeys says how many packets with another key the speaker has rejected; "" for none.
func (s *Speaker) rejectedKeys() string {
	var texts []string
	for _, subsystem := range []string{"members", "heartbeat"} {
		if n := s.Members.Rejected[subsystem+"/key"]; n > 0 {
			texts = append(texts, fmt.Sprintf("%s: %d", subsystem, n))
		}
	}
	return strings.Join(texts, ", ")
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
