package diagnose

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says how bad a problem is.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // traffic is missing, or a Service waits
	Warning Severity = "warning" // something is not as it should be, and traffic goes on
)

// Problem is something that is wrong.
type Problem struct {
	Severity Severity `json:"severity"`
	// Reason is one constant word for programs.
	Reason string `json:"reason"`
	// Where is the object that the problem is about, for example "node node1".
	Where string `json:"where"`
	// What is wrong, in a sentence without its end. Do is what to do.
	What string `json:"what"`
	Do   string `json:"do"`
}

// The reasons of a Decision of the package plan that matter here. See the reference of the page
// /debug/plan.
const (
	reasonOwner       = "Owner"
	reasonOtherOwner  = "OtherOwner"
	reasonConflict    = "Conflict"
	reasonNoEndpoint  = "NoEndpoint"
	reasonNoLink      = "NoLink"
	reasonNoCandidate = "NoCandidate"
	reasonFenced      = "Fenced"
	reasonNotLayer2   = "NotLayer2"
	reasonNodeAddress = "NodeAddress"
	reasonUnpublished = "Unpublished"

	bgpAdvertised = "Advertised"

	spreading = "Spread"
	noOwner   = "NoOwner"
)

// byUrgency sorts dead nodes first, because they cause other problems, and then errors before
// warnings. It keeps the order otherwise, which is that of causes and effects. It never returns nil.
func byUrgency(all []Problem) []Problem {
	if all == nil {
		return []Problem{}
	}
	slices.SortStableFunc(all, func(a, b Problem) int { return cmp.Compare(urgency(a), urgency(b)) })
	return all
}

func urgency(p Problem) int {
	switch {
	case p.Reason == "NodeDead":
		return 0
	case p.Severity == Error:
		return 1
	}
	return 2
}

// maxNamed is how many names a sentence has.
const maxNamed = 5

// names joins names for a sentence: all if they are few, and how many more there are.
func names(all []string) string {
	if len(all) > maxNamed {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:maxNamed], ", "), len(all)-maxNamed)
	}
	return strings.Join(all, ", ")
}

// nodes returns "node a" or "nodes a, b".
func nodes(all []string) string {
	if len(all) == 1 {
		return "node " + all[0]
	}
	return "nodes " + names(all)
}

// grouped collects the nodes that have the same problem, in the order of the first one.
type grouped struct {
	keys  []Problem
	nodes map[Problem][]string
}

// add adds a node to a problem whose Where is empty.
func (g *grouped) add(node string, p Problem) {
	if g.nodes == nil {
		g.nodes = map[Problem][]string{}
	}
	if g.nodes[p] == nil {
		g.keys = append(g.keys, p)
	}
	g.nodes[p] = append(g.nodes[p], node)
}

// problems returns each problem once, with its nodes.
func (g *grouped) problems() (problems []Problem) {
	for _, p := range g.keys {
		where := nodes(g.nodes[p])
		p.Where = where
		problems = append(problems, p)
	}
	return problems
}
