package members

import (
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
)

const (
	// missingPatience is how long a speaker may be missing before it is logged, and
	// missingAgain how long until it is logged again.
	missingPatience = 10 * time.Second
	missingAgain    = 10 * time.Minute
)

// absence is a node whose speaker cannot be reached.
type absence struct {
	since    time.Time
	reported time.Time
	addr     string
	err      error
}

// noteAbsence remembers that a node's speaker was not reached.
func (m *Members) noteAbsence(name, addr string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.absent[name]
	if a.since.IsZero() {
		a.since = time.Now()
	}
	a.addr, a.err = addr, err
	m.absent[name] = a
}

// reportMissing logs which speakers have been missing for long, and why.
func (m *Members) reportMissing() {
	missing := m.missing()
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, a := range m.absent {
		if _, ok := missing[name]; !ok {
			delete(m.absent, name)
			continue
		}
		if time.Since(a.since) < missingPatience || time.Since(a.reported) < missingAgain {
			continue
		}
		a.reported = time.Now()
		m.absent[name] = a
		m.options.Log.Info("a node has no speaker that can be reached", "node", name, "address", a.addr, "reason", diagnose(a.err), "hint", "ignore this if no speaker should run there", "error", a.err)
	}
}

// diagnose explains an error of memberlist. Most of these errors have lost their
// type, so the text decides.
func diagnose(err error) string {
	var timeout net.Error
	switch text := err.Error(); {
	case errors.Is(err, syscall.ECONNREFUSED), strings.Contains(text, "refused"):
		return "no process listens there: no speaker runs on the node, or it has another --members-port"
	case errors.As(err, &timeout) && timeout.Timeout(), strings.Contains(text, "timeout"), strings.Contains(text, "no route"):
		return "no answer: the node is down, or a firewall blocks the port, TCP or UDP"
	case errors.Is(err, io.EOF), strings.Contains(text, "EOF"), strings.Contains(text, "reset"), strings.Contains(text, "decrypt"):
		return "the other end closes the connection: it does not know this node's address yet, it has another key, or another program has the port; all speakers follow the Nodes and the Secret memberlist: check that the speaker there reaches the API server"
	}
	return "unknown, see the error"
}
