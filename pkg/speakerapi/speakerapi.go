// Package speakerapi is the protocol with which the cluster manager asks a speaker which
// nodes are dead.
//
// The speaker answers GET /dead-nodes?after=N on its port of the metrics. N is the number of
// the last change that the client knows; the speaker waits for a newer one, MaxWait at most.
//
// The certificate of a speaker is self-signed, so TLS alone proves nothing. Both sides have the
// speakers' key instead (package memberkey). Each signs with it what it sends, together with a
// secret that only the two ends of this TLS connection know (see Bind). So nobody without the
// key can ask or answer, and a recorded request or answer is worth nothing on another
// connection. No token is sent to the speaker.
package speakerapi

import (
	"encoding/json"
	"fmt"
	"time"
)

const (
	// Path is where a speaker answers, without the query.
	Path = "/dead-nodes"
	// MaxWait is how long a speaker waits for a change before it answers.
	MaxWait = 10 * time.Second
	// MaxAnswer is the length of the longest answer that is read, in bytes. It has room for
	// 1,000 nodes with the longest names.
	MaxAnswer = 300 << 10

	version = 1
	// maxName is the length of the longest name of a Node, in bytes (RFC 1123 subdomain).
	maxName = 253
)

// Answer is what a speaker knows about the other nodes.
type Answer struct {
	// Version is the version of this protocol.
	Version int `json:"version"`
	// Node is the name of the speaker's node.
	Node string `json:"node"`
	// Change is the number of this answer. It grows with every change, and begins again at 1
	// when the speaker is restarted.
	Change uint64 `json:"change"`
	// Fenced means that the speaker knows nothing about the other nodes: it has just started,
	// or it hears no other member.
	Fenced bool `json:"fenced"`
	// Dead are the names, sorted, of the nodes whose kernel is dead by the word of the
	// speakers. Empty if Fenced.
	Dead []string `json:"dead"`
}

// Equal reports whether two answers say the same about the nodes.
func (a Answer) Equal(b Answer) bool {
	if a.Fenced != b.Fenced || len(a.Dead) != len(b.Dead) {
		return false
	}
	for i := range a.Dead {
		if a.Dead[i] != b.Dead[i] {
			return false
		}
	}
	return true
}

// Format returns the text of an answer.
func (a Answer) Format() ([]byte, error) {
	a.Version = version
	if a.Dead == nil {
		a.Dead = []string{}
	}
	text, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("formatting the answer of node %s: %w", a.Node, err)
	}
	return text, nil
}

// Parse reads the answer of the speaker on a node. It refuses an answer that contradicts
// itself, because the pods of healthy nodes depend on it.
func Parse(text []byte, node string) (Answer, error) {
	var a Answer
	if len(text) > MaxAnswer {
		return a, fmt.Errorf("the answer has %d bytes, at most %d are allowed", len(text), MaxAnswer)
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return Answer{}, fmt.Errorf("reading the answer: %w", err)
	}
	switch {
	case a.Version != version:
		return Answer{}, fmt.Errorf("the answer has the version %d, this program knows only %d: run the same version of both programs", a.Version, version)
	case a.Node != node:
		return Answer{}, fmt.Errorf("the speaker says that its node is %.253q, not %q", a.Node, node)
	case a.Fenced && len(a.Dead) > 0:
		return Answer{}, fmt.Errorf("the speaker is fenced, but names %d dead nodes", len(a.Dead))
	}
	for i, name := range a.Dead {
		switch {
		case name == "" || len(name) > maxName:
			return Answer{}, fmt.Errorf("a dead node has a name of %d bytes", len(name))
		case name == node:
			return Answer{}, fmt.Errorf("the speaker says that its own node %q is dead", node)
		case i > 0 && name <= a.Dead[i-1]:
			return Answer{}, fmt.Errorf("the dead nodes are not sorted: %q stands after %q", name, a.Dead[i-1])
		}
	}
	return a, nil
}
