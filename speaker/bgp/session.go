package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"
)

const (
	idle, openConfirm = "IDLE", "OPENCONFIRM"
	// settleTime is how long a session is left alone after it has come up.
	settleTime = 100 * time.Millisecond
)

// session is the session with one peer.
type session struct {
	peer    Peer // its sessionPart
	log     *slog.Logger
	changed func()
	server  *server.BgpServer
	cancel  context.CancelFunc // ends the watch of the server

	// For advertise alone: the routes that the peer has, and what they were made from.
	advertised   map[netip.Prefix]attributes
	advertisedOf *wanted

	mu                 sync.Mutex // guards the fields below
	now                Status
	accepts4, accepts6 bool      // the families that the peer accepts, while the session is up
	count4, count6     int       // the number of prefixes of each family
	noNextHop          int       // the number of prefixes without a next hop
	limited            time.Time // when the router sent too many prefixes; zero if the session may be up
	opened             time.Time // when the connection was made, while no OPEN has come; else zero
	closed             bool
}

// startSession begins to connect. The session runs until close.
func startSession(p Peer, log *slog.Logger, changed func()) (*session, error) {
	s := &session{peer: p.sessionPart(), log: log.With("peer", p.Name, "address", p.Address), changed: changed}
	begun := time.Now()
	s.now = Status{Peer: p.Name, Address: p.Address, State: idle, Begun: begun, Since: begun}
	s.server = server.NewBgpServer(server.LoggerOption(slog.New(&logReader{session: s}), nil))
	go s.server.Serve() // ends with Stop, which waits for it
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	if err := s.begin(ctx); err != nil {
		s.close(false)
		return nil, fmt.Errorf("BGP with %s: %w", p.Name, err)
	}
	return s, nil
}

func (s *session) begin(ctx context.Context) error {
	// The server does not listen. It connects to routers that only wait for a connection
	// and to those that also connect.
	global := &api.Global{Asn: s.peer.MyASN, RouterId: s.peer.RouterID.String(), ListenPort: -1}
	if err := s.server.StartBgp(ctx, &api.StartBgpRequest{Global: global}); err != nil {
		return err
	}
	policy, assignment := importOnlyOurOwn()
	if err := s.server.AddPolicy(ctx, &api.AddPolicyRequest{Policy: policy}); err != nil {
		return err
	}
	if err := s.server.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: assignment}); err != nil {
		return err
	}
	callbacks := server.WatchEventMessageCallbacks{OnPeerUpdate: s.peerChanged}
	if err := s.server.WatchEvent(ctx, callbacks, server.WatchPeer()); err != nil {
		return err
	}
	return s.server.AddPeer(ctx, &api.AddPeerRequest{Peer: s.peer.neighbour()})
}

// advertise tells the peer the routes in w. If it has to wait, it returns after which
// time to call it again, else 0.
func (s *session) advertise(p Peer, w *wanted) (later time.Duration, err error) {
	if s.advertisedOf == w {
		return 0, nil
	}
	// GoBGP sends the routes to a peer when the session comes up. It loses changes that are
	// made between that moment and the moment when it marks the session as up.
	st := s.status()
	if age := time.Since(st.Since); st.State == openConfirm || st.Up && age < settleTime {
		return settleTime, nil
	}
	advertised, noNextHop := routesFor(p, w.routes)
	announce, withdraw := change(s.advertised, advertised)
	added, err := paths(announce, advertised)
	if err != nil {
		return 0, err
	}
	gone, err := paths(withdraw, s.advertised)
	if err != nil {
		return 0, err
	}
	if len(added) > 0 {
		if _, err := s.server.AddPath(apiutil.AddPathRequest{Paths: added}); err != nil {
			return 0, fmt.Errorf("announcing %d prefixes to %s: %w", len(added), p.Name, err)
		}
	}
	if len(gone) > 0 {
		if err := s.server.DeletePath(apiutil.DeletePathRequest{Paths: gone}); err != nil {
			return 0, fmt.Errorf("withdrawing %d prefixes from %s: %w", len(gone), p.Name, err)
		}
	}
	if now := s.status(); now.State != st.State || now.Ups != st.Ups {
		return settleTime, nil // the session may have come up in between: try again
	}
	s.advertised, s.advertisedOf = advertised, w
	ipv4, ipv6 := count(advertised)
	s.mu.Lock()
	s.count4, s.count6, s.noNextHop = ipv4, ipv6, noNextHop
	s.mu.Unlock()
	return 0, nil
}

// count returns the number of prefixes of each family.
func count(routes map[netip.Prefix]attributes) (ipv4, ipv6 int) {
	for prefix := range routes {
		if prefix.Addr().Is4() {
			ipv4++
		} else {
			ipv6++
		}
	}
	return ipv4, ipv6
}

// peerChanged handles a change of the session's state. The server calls it.
func (s *session) peerChanged(e *apiutil.WatchEventMessage_PeerEvent, _ time.Time) {
	if e.Type != apiutil.PEER_EVENT_STATE {
		return
	}
	up := e.Peer.State.SessionState == packet.BGP_FSM_ESTABLISHED
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.opened = time.Time{}
	was, unconfirmed := s.now.Up, s.now.State == openConfirm && !up
	s.now.State, s.now.Up = stateName(e.Peer.State.SessionState), up
	switch {
	case up && !was:
		s.now.Since, s.now.Problem = time.Now(), ""
		s.now.Ups++
		s.accepts4, s.accepts6 = acceptedFamilies(e.Peer.State.RemoteCap)
	case was && !up:
		s.now.Since = time.Now()
		s.now.Downs++
		if !s.limited.IsZero() {
			s.now.Problem = s.peer.tooManyPrefixes()
		}
		if s.now.Problem == "" { // else the reason is known already
			s.now.Problem = s.peer.ended(e.Peer.State.DisconnectReason, e.Peer.State.DisconnectMessage)
		}
	}
	problem := s.now.Problem
	s.mu.Unlock()
	switch {
	case up && !was:
		s.log.Info("BGP session is up")
	case was && !up:
		s.log.Warn("BGP session is down", "reason", problem)
	case unconfirmed:
		s.failed(s.peer.unconfirmed())
	}
	s.changed()
}

// failed is called when an attempt to set up the session has failed.
func (s *session) failed(why string) {
	s.mu.Lock()
	s.opened = time.Time{}
	changed := s.now.Problem != why && !s.now.Up && !s.closed
	if changed {
		s.now.Problem = why
	}
	s.mu.Unlock()
	if changed {
		s.log.Warn("BGP session cannot be set up", "reason", why)
		s.changed()
	}
}

// noteReason notes why the session, which is up, is about to end.
func (s *session) noteReason(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.Up {
		s.now.Problem = why
	}
}

func (s *session) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// reset ends the session if it is up. GoBGP sets it up again as soon as possible.
func (s *session) reset(why string) {
	s.noteReason(why)
	if !s.status().Up || s.isClosed() {
		return
	}
	request := &api.ResetPeerRequest{Address: s.peer.Address.String(), Communication: why, Direction: api.ResetPeerRequest_DIRECTION_BOTH}
	if err := s.server.ResetPeer(context.Background(), request); err != nil {
		s.log.Error("resetting the BGP session failed", "reason", why, "error", err)
	}
}

func (s *session) status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.now
	st.Withheld = s.noNextHop
	if !st.Up {
		return st
	}
	for _, family := range []struct {
		accepted bool
		n        int
	}{{s.accepts4, s.count4}, {s.accepts6, s.count6}} {
		if family.accepted {
			st.Prefixes += family.n
		} else {
			st.Withheld += family.n
		}
	}
	return st
}

// close ends the session. With keep it does not tell the peer, and the peer keeps the
// routes if both have agreed on graceful restart.
func (s *session) close(keep bool) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	if keep {
		if err := s.server.StopBgp(context.Background(), &api.StopBgpRequest{AllowGracefulRestart: true}); err != nil {
			s.log.Error("ending the BGP session failed", "error", err)
		}
	}
	s.server.Stop()
}
