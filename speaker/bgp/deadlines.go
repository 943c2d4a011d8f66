package bgp

import (
	"context"
	"time"

	"github.com/osrg/gobgp/v4/api"
)

// This file has what happens to a session because time has passed. The Announcer calls
// checkOpen and reopen.

const (
	// limitPause is how long a session stays down after the router has sent too many
	// prefixes.
	limitPause = 5 * time.Minute
	// openTimeout is how long a router may take to send its OPEN, before that is reported as
	// a problem. GoBGP goes on waiting, for four minutes.
	openTimeout = 10 * time.Second
)

// connected is called when there is a connection and the router should send its OPEN.
func (s *session) connected() {
	s.mu.Lock()
	s.opened = time.Now()
	s.mu.Unlock()
	s.changed() // so that checkOpen is called
}

// checkOpen reports a router that sends no OPEN. If there is still time, it returns after
// which time to call it again, else 0.
func (s *session) checkOpen(now time.Time) (later time.Duration) {
	s.mu.Lock()
	left := s.opened.Add(openTimeout).Sub(now)
	waits := !s.opened.IsZero()
	s.mu.Unlock()
	switch {
	case !waits:
		return 0
	case left > 0:
		return left
	}
	s.failed(s.peer.silent())
	return 0
}

// limit is called when the router has sent too many prefixes. GoBGP then ends the session.
func (s *session) limit() {
	s.mu.Lock()
	s.limited = time.Now()
	s.mu.Unlock()
	s.changed() // so that reopen is called
}

// reopen lets a session begin again that has ended because of too many prefixes. If it has
// to wait, it returns after which time to call it again, else 0.
func (s *session) reopen(now time.Time) (later time.Duration) {
	s.mu.Lock()
	left := s.limited.Add(limitPause).Sub(now)
	if s.limited.IsZero() || left > 0 {
		s.mu.Unlock()
		return max(left, 0)
	}
	s.limited = time.Time{}
	s.mu.Unlock()
	if err := s.server.EnablePeer(context.Background(), &api.EnablePeerRequest{Address: s.peer.Address.String()}); err != nil {
		s.log.Error("beginning the BGP session again failed", "error", err)
	}
	return 0
}
