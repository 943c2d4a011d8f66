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
	// settling is how long a session is left alone when it has come up.
	settling = 100 * time.Millisecond
)

// session is the session with one peer.
type session struct {
	peer    Peer // its sessionPart
	log     *slog.Logger
	changed func()
	server  *server.BgpServer
	cancel  context.CancelFunc // of what watches the server

	// For advertise alone: what the peer knows, and of which wish and peer.
	told   map[netip.Prefix]attributes
	toldOf *wanted

	mu             sync.Mutex // for what follows
	now            Status
	takes4, takes6 bool // the families that the peer takes, while the session is up
	told4, told6   int  // how many prefixes of each there are
	hopless        int  // and how many that have no next hop
	closed         bool
}

// newSession begins to connect.
func newSession(p Peer, log *slog.Logger, changed func()) (*session, error) {
	s := &session{peer: p.sessionPart(), log: log.With("peer", p.Name, "address", p.Address), changed: changed}
	begun := time.Now()
	s.now = Status{Peer: p.Name, Address: p.Address, State: idle, Begun: begun, Since: begun}
	s.server = server.NewBgpServer(server.LoggerOption(slog.New(&listener{session: s}), nil))
	go s.server.Serve() // until Stop, which waits for it
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	if err := s.begin(ctx); err != nil {
		s.close(false)
		return nil, fmt.Errorf("BGP with %s: %w", p.Name, err)
	}
	return s, nil
}

func (s *session) begin(ctx context.Context) error {
	// Nobody can connect to us: a router that only waits is met, and so is one
	// that does both.
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

// advertise makes the routes that the peer is told those that are wanted. If this is
// no time for it, it returns after how long to call it again, else 0.
func (s *session) advertise(p Peer, w *wanted) (later time.Duration, err error) {
	if s.toldOf == w {
		return 0, nil
	}
	// GoBGP tells a peer its routes in the moment in which the session comes up, and
	// forgets changes that are made between that and when it notes that it is up.
	st := s.status()
	if age := time.Since(st.Since); st.State == openConfirm || st.Up && age < settling {
		return settling, nil
	}
	told, hopless := tell(p, w.routes)
	announce, withdraw := change(s.told, told)
	added, err := paths(announce, told)
	if err != nil {
		return 0, err
	}
	gone, err := paths(withdraw, s.told)
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
		return settling, nil // it may have come up meanwhile: once more
	}
	s.told, s.toldOf = told, w
	ipv4, ipv6 := count(told)
	s.mu.Lock()
	s.told4, s.told6, s.hopless = ipv4, ipv6, hopless
	s.mu.Unlock()
	return 0, nil
}

// count returns how many prefixes are of which family.
func count(told map[netip.Prefix]attributes) (ipv4, ipv6 int) {
	for prefix := range told {
		if prefix.Addr().Is4() {
			ipv4++
		} else {
			ipv6++
		}
	}
	return ipv4, ipv6
}

// peerChanged is called by the server for every change of the session's state.
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
	was, unconfirmed := s.now.Up, s.now.State == openConfirm && !up
	s.now.State, s.now.Up = stateName(e.Peer.State.SessionState), up
	switch {
	case up && !was:
		s.now.Since, s.now.Problem = time.Now(), ""
		s.now.Ups++
		s.takes4, s.takes6 = taken(e.Peer.State.RemoteCap)
	case was && !up:
		s.now.Since = time.Now()
		s.now.Downs++
		if s.now.Problem == "" { // else it has been said
			s.now.Problem = s.peer.ended(e.Peer.State.DisconnectReason, e.Peer.State.DisconnectMessage)
		}
	}
	problem := s.now.Problem
	s.mu.Unlock()
	switch {
	case up && !was:
		s.log.Info("BGP session up")
	case was && !up:
		s.log.Warn("BGP session down", "reason", problem)
	case unconfirmed:
		s.failed(s.peer.unconfirmed())
	}
	s.changed()
}

// failed is called when a try to set up the session has failed.
func (s *session) failed(why string) {
	s.mu.Lock()
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

// silent notes why the session, which is up, is about to end.
func (s *session) silent(why string) {
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

// reset ends the session if it is up; it is set up again as soon as it can be.
func (s *session) reset(why string) {
	s.silent(why)
	if !s.status().Up || s.isClosed() {
		return
	}
	request := &api.ResetPeerRequest{Address: s.peer.Address.String(), Communication: why, Direction: api.ResetPeerRequest_DIRECTION_BOTH}
	if err := s.server.ResetPeer(context.Background(), request); err != nil {
		s.log.Error("the session cannot be ended", "reason", why, "error", err)
	}
}

func (s *session) status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.now
	st.Withheld = s.hopless
	if !st.Up {
		return st
	}
	for _, family := range []struct {
		taken bool
		n     int
	}{{s.takes4, s.told4}, {s.takes6, s.told6}} {
		if family.taken {
			st.Prefixes += family.n
		} else {
			st.Withheld += family.n
		}
	}
	return st
}

// close ends the session for good. With keep it is not said to the peer, which
// keeps the routes then if graceful restart was agreed.
func (s *session) close(keep bool) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	if keep {
		if err := s.server.StopBgp(context.Background(), &api.StopBgpRequest{AllowGracefulRestart: true}); err != nil {
			s.log.Error("ending the session", "error", err)
		}
	}
	s.server.Stop()
}
