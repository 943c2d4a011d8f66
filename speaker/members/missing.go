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
	// missingPatience is how long a speaker may be missing until that is said, and
	// missingAgain how long it is not said again.
	missingPatience = 10 * time.Second
	missingAgain    = 10 * time.Minute
)

// absence is a peer that cannot be reached.
type absence struct {
	since, said time.Time
	addr        string
	err         error
}

// missed remembers that a peer was not reached.
func (m *Members) missed(name, addr string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.absent[name]
	if a.since.IsZero() {
		a.since = time.Now()
	}
	a.addr, a.err = addr, err
	m.absent[name] = a
}

// sayMissing says who has been missing for long, and why, as far as can be known.
func (m *Members) sayMissing() {
	missing := m.missing()
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, a := range m.absent {
		if _, ok := missing[name]; !ok {
			delete(m.absent, name)
			continue
		}
		if time.Since(a.since) < missingPatience || time.Since(a.said) < missingAgain {
			continue
		}
		a.said = time.Now()
		m.absent[name] = a
		m.options.Log.Info("no speaker is found on a node; that is right if none shall run there", "node", name, "addr", a.addr, "why", why(a.err), "error", a.err)
	}
}

// why explains an error of memberlist, most of which have lost their type.
func why(err error) string {
	var timeout net.Error
	switch text := err.Error(); {
	case errors.Is(err, syscall.ECONNREFUSED), strings.Contains(text, "refused"):
		return "nobody listens there: no speaker runs on the node, or it has another --members-port"
	case errors.As(err, &timeout) && timeout.Timeout(), strings.Contains(text, "timeout"), strings.Contains(text, "no route"):
		return "nothing comes back: the node is down, or a firewall blocks the port, TCP or UDP"
	case errors.Is(err, io.EOF), strings.Contains(text, "EOF"), strings.Contains(text, "reset"), strings.Contains(text, "decrypt"):
		return "it hangs up: it has another key, or another program has the port; all speakers need the same Secret, restart those that are older than it"
	}
	return "see the error"
}
