package diagnose

import (
	"fmt"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

// sessionProblems are about BGP sessions.
func (f *facts) sessionProblems() []Problem {
	var down grouped
	for _, s := range f.Speakers {
		if s.BGP == nil {
			continue
		}
		for _, session := range s.BGP.Sessions {
			if p, bad := sessionProblem(session); bad {
				down.add(s.Node(), p)
			}
		}
	}
	return down.problems()
}

func sessionProblem(s debugapi.Session) (p Problem, bad bool) {
	peer := s.Peer
	if s.Peer != s.Address.String() {
		peer = fmt.Sprintf("%s (%s)", s.Peer, s.Address)
	}
	switch {
	case !s.Up:
		what := fmt.Sprintf("no BGP session with %s, state %s", peer, s.State)
		if s.Problem != "" {
			what += ": " + s.Problem
		}
		return Problem{Severity: Error, Reason: "BGPSessionDown", What: what, Do: whatToDoSession(s.Problem)}, true
	case s.BFD != nil && s.BFD.Problem != "":
		return Problem{Severity: Warning, Reason: "BFDDown", What: fmt.Sprintf("the BGP session with %s is up, but BFD is %s: %s", peer, s.BFD.State, s.BFD.Problem),
			Do: "Turn BFD on for this neighbour at the router, and let UDP 3784 (4784 for a router further away) through. Or remove bfd-profile from the peer"}, true
	case s.Withheld > 0:
		return Problem{Severity: Warning, Reason: "RoutesWithheld", What: fmt.Sprintf("%d routes are not advertised to %s: the node has no address of their family, or the router does not accept the family", s.Withheld, peer),
			Do: "Turn the address family on for this neighbour at the router, or give the node an address of it"}, true
	}
	return Problem{}, false
}

func whatToDoSession(problem string) string {
	switch {
	case strings.Contains(problem, "password"):
		return "Compare the password of the peer (password, password-secret) with that at the router, and check that the router reaches the node"
	case strings.Contains(problem, "Secret"):
		return "Create the Secret, and allow the speakers to read it (rbac-speaker.yaml; with the chart bgp.passwordSecrets)"
	case problem == "":
		return "Wait some seconds. If it stays down, read the log of the router"
	}
	return "Compare the peer in the ConfigMap with the neighbour at the router, and read the log of the router"
}

// spreadProblems are about VIPs that should be spread and are not.
func (f *facts) spreadProblems() (problems []Problem) {
	seen := map[string]bool{}
	var obstacles grouped
	for _, s := range f.Speakers {
		if s.Spread == nil || len(s.Spread.VIPs) == 0 {
			continue
		}
		if s.Spread.Obstacle != "" {
			obstacles.add(s.Node(), Problem{Severity: Warning, Reason: "CannotSpread", What: "the node cannot share the traffic of addresses: " + s.Spread.Obstacle,
				Do: "Remove what prevents it, or let the other nodes share the traffic"})
		} else if s.Spread.RulesProblem != "" {
			obstacles.add(s.Node(), Problem{Severity: Warning, Reason: "SpreadRulesRefused", What: "the kernel did not take the rules that share the traffic of addresses, and the speaker tries again: " + s.Spread.RulesProblem,
				Do: "Read the log of the speaker: it says what to change on the node"})
		}
		for _, v := range s.Spread.VIPs {
			if v.Reason == spreading || v.Reason == noOwner || seen[v.VIP.String()] || v.Owner != "" && v.Owner != s.Node() {
				continue // without an owner there is another problem; the owner knows best
			}
			seen[v.VIP.String()] = true
			what := "one node carries all its traffic: "
			problems = append(problems, Problem{Warning, "NotSpread", "address " + v.VIP.String() + " of " + names(v.Services), what + whyNotSpread(v.Reason), whatToDoSpread(v.Reason)})
		}
	}
	return append(problems, obstacles.problems()...)
}

func whyNotSpread(reason string) string {
	switch reason {
	case "NotCapable":
		return "no candidate can spread"
	case "OneCandidate":
		return "only one node may announce it and can spread"
	case "MixedPolicies":
		return "Services with both values of externalTrafficPolicy share it"
	case reasonNotLayer2:
		return "its pool is announced over BGP alone, and the routers share the traffic"
	}
	return reason
}

func whatToDoSpread(reason string) string {
	switch reason {
	case "MixedPolicies":
		return "Give all Services that share the address the same externalTrafficPolicy"
	case "OneCandidate":
		return "Run pods on more nodes if the policy is Local. Otherwise see why the other nodes are no candidates: kubectl baremetal explain ADDRESS"
	case reasonNotLayer2:
		return "Remove spread from the pool or the Service"
	}
	return "Give the speakers the capability NET_ADMIN, and the nodes addresses of the family in one network"
}
