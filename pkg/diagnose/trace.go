package diagnose

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

// Trace says who answers for an address, and who should.
type Trace struct {
	Address netip.Addr `json:"address"`
	// Services, Pool and Protocol are as in a Decision of a plan.
	Services []string `json:"services"`
	Pool     string   `json:"pool,omitempty"`
	Protocol string   `json:"protocol,omitempty"`
	// Owners are the nodes that announce the address by layer 2. There should be one at most.
	Owners []string `json:"owners"`
	// Nodes are in the order of their names.
	Nodes    []TracedNode `json:"nodes"`
	Problems []Problem    `json:"problems"`
}

// TracedNode is what one node has found out.
type TracedNode struct {
	Node string `json:"node"`
	// Problem says why nothing was found out; empty if something was.
	Problem string          `json:"problem,omitempty"`
	Found   *debugapi.Trace `json:"found,omitempty"`
}

// The reasons of the problems of a Trace.
const (
	notTraced        = "NotTraced"
	linkNotAsked     = "LinkNotAsked"
	severalOwners    = "TwoOwners"
	noAnnouncement   = "NoAnnouncement"
	secondAnswerer   = "SecondAnswerer"
	foreignHost      = "ForeignHost"
	noAnswer         = "NoAnswer"
	staleNeighbor    = "StaleNeighbor"
	failedConnection = "FailedConnection"
)

// ipvsInterface is the interface on which kube-proxy with ipvs has the addresses of all Services.
const ipvsInterface = "kube-ipvs0"

// NewTrace compares what the nodes have found out about an address with what should be the case.
func NewTrace(addr netip.Addr, nodes []TracedNode) Trace {
	t := tracer{Trace: Trace{Address: addr, Services: []string{}, Owners: []string{}, Nodes: nodes}, macs: map[string]string{}}
	t.read()
	t.checkSpeakers()
	t.checkOwners()
	t.checkAnswers()
	t.checkOwnerAnswers()
	t.checkNeighbors()
	t.checkConnections()
	t.Problems = byUrgency(t.Problems)
	return t.Trace
}

// tracer makes a Trace.
type tracer struct {
	Trace
	macs map[string]string // the node of each MAC address
}

func (t *tracer) add(p Problem) { t.Problems = append(t.Problems, p) }

// found returns what a node has found out; nil for nothing.
func (t *tracer) found(node string) *debugapi.Trace {
	for _, n := range t.Nodes {
		if n.Node == node {
			return n.Found
		}
	}
	return nil
}

// answered returns the documents.
func (t *tracer) answered() (all []*debugapi.Trace) {
	for _, n := range t.Nodes {
		if n.Found != nil {
			all = append(all, n.Found)
		}
	}
	return all
}

// read fills what the documents agree on, and the owners. A speaker that does not answer may be
// the owner; then the other speakers say so.
func (t *tracer) read() {
	said := map[string]bool{}
	for _, d := range t.answered() {
		if len(d.Services) > 0 {
			t.Services = d.Services
		}
		if t.Pool == "" {
			t.Pool = d.Pool
		}
		if t.Protocol == "" {
			t.Protocol = d.Protocol
		}
		if len(d.Announces) > 0 {
			t.Owners = append(t.Owners, d.Node)
		} else if d.Owner != "" && t.found(d.Owner) == nil {
			said[d.Owner] = true
		}
		for _, l := range d.Links {
			t.macs[l.MAC] = d.Node
		}
	}
	for owner := range said {
		t.Owners = append(t.Owners, owner)
	}
	slices.Sort(t.Owners)
	for _, d := range t.answered() { // a speaker that does not answer is known to the others
		for _, l := range d.Links {
			for _, a := range l.Answers {
				if t.macs[a.MAC] == "" {
					t.macs[a.MAC] = a.Node
				}
			}
		}
		for _, n := range d.Neighbors {
			if t.macs[n.MAC] == "" {
				t.macs[n.MAC] = n.Node
			}
		}
	}
}

func (t *tracer) isOwner(node string) bool { return slices.Contains(t.Owners, node) }

func (t *tracer) isLayer2() bool { return t.Protocol == "layer2" || t.Protocol == "both" }

func (t *tracer) checkSpeakers() {
	var missing grouped
	for _, n := range t.Nodes {
		switch {
		case n.Found == nil:
			missing.add(n.Node, Problem{Severity: Warning, Reason: notTraced, What: "the speaker found out nothing: " + n.Problem, Do: "kubectl baremetal status says what is wrong with the speaker"})
			continue
		case n.Found.NeighborsProblem != "":
			missing.add(n.Node, Problem{Severity: Warning, Reason: notTraced, What: "the kernel's tables could not be read: " + n.Found.NeighborsProblem, Do: "run the command again"})
		}
		for _, l := range n.Found.Links {
			if l.Problem != "" {
				missing.add(n.Node, Problem{Severity: Warning, Reason: linkNotAsked, What: "the speaker could not ask on the link: " + l.Problem, Do: "look at the link: ip link show " + l.Link})
			}
		}
	}
	t.Problems = append(t.Problems, missing.problems()...)
}

func (t *tracer) checkOwners() {
	switch {
	case len(t.Owners) > 1:
		t.add(Problem{Error, severalOwners, "address " + t.Address.String(), fmt.Sprintf("%s announce it at the same time", nodes(t.Owners)),
			"if the address has just moved, run the command again. Otherwise these speakers do not hear each other: look at kubectl baremetal status, and open the ports 7946 and 7947 between the nodes"})
	case len(t.Owners) == 0 && t.isLayer2() && len(t.answered()) > 0:
		t.add(Problem{Error, noAnnouncement, "address " + t.Address.String(), "no node announces it: " + t.reasons(), "kubectl baremetal explain " + t.Address.String() + " says why"})
	}
}

// reasons returns what the nodes say, each reason once.
func (t *tracer) reasons() string {
	by := map[string][]string{}
	var order []string
	for _, d := range t.answered() {
		if by[d.Reason] == nil {
			order = append(order, d.Reason)
		}
		by[d.Reason] = append(by[d.Reason], d.Node)
	}
	var texts []string
	for _, reason := range order {
		text := reason
		if text == "" {
			text = "unknown"
		}
		texts = append(texts, fmt.Sprintf("%s (%s)", text, nodes(by[reason])))
	}
	return strings.Join(texts, ", ")
}
