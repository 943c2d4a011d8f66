package deadnodes

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const (
	// reportEvery is the shortest time between two reports. A fault of many nodes at once is
	// left to Kubernetes.
	reportEvery = time.Minute
	// memory is how long a node counts that was reported dead. It is not reported again in this
	// time, and counts for the limit of a third.
	memory = 10 * time.Minute
	// asked is how many speakers are asked about a node, and agree how many must say that it is
	// dead.
	asked, agree = 3, 2
	// leaseAge is how old the Lease of a node must be that was dead already when this cluster
	// manager began to lead. A kubelet that lives renews its Lease every 10 s. If the leader
	// was on the dead node, the next one leads after 13 s at least, so the Lease is older then.
	leaseAge = 15 * time.Second
)

// Reason says in one word why a node is not reported. The reasons are label values of a metric.
type Reason string

// The reasons.
const (
	NoAgreement Reason = "no-agreement" // not enough speakers say it, or one contradicts
	TooMany     Reason = "too-many-nodes"
	TooOften    Reason = "too-often"
	Alive       Reason = "lease-renewed"
	NoNode      Reason = "no-node"
	NotReady    Reason = "not-ready" // Kubernetes knows it already
	Failed      Reason = "api-error"
)

// action is what to do about a node.
type action int

const (
	wait     action = iota // ask again
	report                 // mark its pods
	withhold               // do nothing until the node is alive again, and say so
	settle                 // ask again for a moment, because the reason can be gone then; then withhold
	ignore                 // do nothing until the node is alive again
)

// statement is the answer of one speaker about one node.
type statement struct {
	speaker string
	dead    bool
}

// past is a report of this process.
type past struct {
	node string
	at   time.Time
}

// situation is everything that the decision about a node depends on.
type situation struct {
	node string
	now  time.Time
	// said has the fresh answers of speakers on other nodes. Speakers that are fenced or do not
	// answer have said nothing.
	said []statement
	// exists and ready say what the Node object says.
	exists, ready bool
	// speakers is the number of nodes with a speaker, dead ones included.
	speakers int
	// dead are the nodes that any speaker reports dead now.
	dead []string
	// past are the reports of this process, the oldest first.
	past []past
	// seenAlive is set if a speaker has said that the node is alive since this process leads.
	seenAlive bool
	// renewed is when the kubelet renewed its Lease last; the zero Time if that is unknown. It
	// is needed only without seenAlive.
	renewed time.Time
}

// verdict is what is done about a node, and why.
type verdict struct {
	action action
	reason Reason // empty for report
	text   string // a sentence about the node, for an Event
}

// decide decides about a node that at least one speaker reports dead.
func decide(s situation) verdict {
	if v, ok := s.limits(); !ok {
		return v
	}
	if v, ok := s.agreement(); !ok {
		return v
	}
	if !s.seenAlive {
		switch age := s.now.Sub(s.renewed); {
		case s.renewed.IsZero():
			return verdict{wait, Alive, "It was reported dead already when this cluster manager began to lead, and its Lease in kube-node-lease cannot be read."}
		case age < leaseAge:
			return verdict{wait, Alive, fmt.Sprintf("It was reported dead already when this cluster manager began to lead, and its kubelet has renewed its Lease %v ago.", age.Round(time.Second))}
		}
	}
	return verdict{report, "", fmt.Sprintf("Its kernel is dead by the word of the speakers on %s.", list(s.speakersThatSay(true)))}
}

// limits reports whether the node may be reported, whatever the speakers say. If not, it returns
// the verdict. It needs no answer, so no speaker is asked about many nodes at once.
func (s situation) limits() (verdict, bool) {
	if !s.exists {
		return verdict{ignore, NoNode, "There is no Node object."}, false
	}
	if !s.ready {
		return verdict{ignore, NotReady, "The Node is not Ready, so Kubernetes knows it already."}, false
	}
	if concerned := s.concerned(); 3*len(concerned) > s.speakers {
		return verdict{settle, TooMany, fmt.Sprintf("%d of %d nodes with a speaker are reported dead, or were within %v (%s): more than a third.", len(concerned), s.speakers, memory, list(concerned))}, false
	}
	for _, p := range slices.Backward(s.past) {
		switch ago := s.now.Sub(p.at); {
		case p.node == s.node && ago < memory:
			return verdict{withhold, TooOften, fmt.Sprintf("It was reported dead %v ago. No node is reported twice within %v.", ago.Round(time.Second), memory)}, false
		case ago < reportEvery:
			return verdict{withhold, TooOften, fmt.Sprintf("Node %s was reported dead %v ago. At most one node is reported in %v.", p.node, ago.Round(time.Second), reportEvery)}, false
		}
	}
	return verdict{}, true
}

// agreement reports whether enough speakers say that the node is dead, and none contradicts. If
// not, it returns the verdict.
func (s situation) agreement() (verdict, bool) {
	dead, alive := s.speakersThatSay(true), s.speakersThatSay(false)
	if len(alive) > 0 {
		return verdict{wait, NoAgreement, fmt.Sprintf("The speakers disagree: dead by the word of %s, alive by the word of %s.", list(dead), list(alive))}, false
	}
	if len(dead) < agree {
		return verdict{wait, NoAgreement, fmt.Sprintf("%d of the other speakers say that its kernel is dead (%s), %d must say it.", len(dead), list(dead), agree)}, false
	}
	return verdict{}, true
}

// speakersThatSay returns the speakers, sorted, that say that the node is dead, or that it is
// alive. What the node says about itself does not count.
func (s situation) speakersThatSay(dead bool) (names []string) {
	for _, statement := range s.said {
		if statement.dead == dead && statement.speaker != s.node {
			names = append(names, statement.speaker)
		}
	}
	slices.Sort(names)
	return names
}

// concerned returns the nodes that count for the limit of a third, sorted.
func (s situation) concerned() (names []string) {
	names = append(slices.Clone(s.dead), s.node)
	for _, p := range s.past {
		if s.now.Sub(p.at) < memory {
			names = append(names, p.node)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// list returns names as one text, the first ten.
func list(names []string) string {
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > 10:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:10], ", "), len(names)-10)
	}
	return strings.Join(names, ", ")
}
