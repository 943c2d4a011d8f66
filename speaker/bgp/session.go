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
	// connectRetry is how often a connection is tried, in seconds; a try lasts a
	// second less.
	connectRetry = 5
	// afterReset is how long a session that we have ended rests, in seconds.
	afterReset = 1
	// deferral is how long a speaker that has restarted waits for the peer's routes
	// before it tells its own (RFC 4724, section 4.1), in seconds.
	deferral = 5
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

// importOnlyOurOwn is the policy that what a router tells us does not compete with
// what we tell it.
func importOnlyOurOwn() (*api.Policy, *api.PolicyAssignment) {
	own := &api.Policy{Name: "own", Statements: []*api.Statement{{
		Name:       "own",
		Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL},
		Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
	}}}
	return own, &api.PolicyAssignment{
		Name: "global", Direction: api.PolicyDirection_POLICY_DIRECTION_IMPORT,
		Policies: []*api.Policy{own}, DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT,
	}
}

// neighbour is the peer as GoBGP has it. Both families are offered, so that a
// session carries whatever the router takes.
func (p Peer) neighbour() *api.Peer {
	n := &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: p.Address.String(), PeerAsn: p.ASN, LocalAsn: p.MyASN, AuthPassword: p.Password},
		Transport: &api.Transport{RemotePort: uint32(p.Port)},
		Timers: &api.Timers{Config: &api.TimersConfig{
			HoldTime: uint64(p.HoldTime / time.Second), KeepaliveInterval: uint64(p.KeepaliveTime / time.Second),
			ConnectRetry: connectRetry, IdleHoldTimeAfterReset: afterReset,
		}},
	}
	if p.Source.IsValid() {
		n.Transport.LocalAddress = p.Source.String()
	}
	if p.MultihopTTL > 0 {
		n.EbgpMultihop = &api.EbgpMultihop{Enabled: true, MultihopTtl: uint32(p.MultihopTTL)}
	}
	restart := p.GracefulRestart > 0
	if restart {
		// To a peer that knows us from before, it is told with the first OPEN that we
		// have kept forwarding; for others it means nothing.
		n.GracefulRestart = &api.GracefulRestart{Enabled: true, RestartTime: uint32(p.GracefulRestart / time.Second), DeferralTime: deferral, LocalRestarting: true}
	}
	for _, afi := range []api.Family_Afi{api.Family_AFI_IP, api.Family_AFI_IP6} {
		n.AfiSafis = append(n.AfiSafis, &api.AfiSafi{
			Config:            &api.AfiSafiConfig{Family: &api.Family{Afi: afi, Safi: api.Family_SAFI_UNICAST}, Enabled: true},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: restart}},
		})
	}
	return n
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
	s.told, s.toldOf = told, w
	ipv4, ipv6 := count(told)
	s.mu.Lock()
	s.told4, s.told6, s.hopless = ipv4, ipv6, hopless
	s.mu.Unlock()
	return 0, nil
}

// paths are the prefixes as GoBGP has them.
func paths(prefixes []netip.Prefix, of map[netip.Prefix]attributes) (paths []*apiutil.Path, err error) {
	for _, prefix := range prefixes {
		p, err := path(prefix, of[prefix])
		if err != nil {
			return nil, err
		}
		paths = append(paths, p)
	}
	return paths, nil
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

func path(prefix netip.Prefix, a attributes) (*apiutil.Path, error) {
	nlri, err := packet.NewIPAddrPrefix(prefix)
	if err != nil {
		return nil, fmt.Errorf("route to %s: %w", prefix, err)
	}
	p := &apiutil.Path{Family: packet.RF_IPv4_UC, Nlri: nlri, Attrs: []packet.PathAttributeInterface{packet.NewPathAttributeOrigin(0)}} // IGP
	if prefix.Addr().Is4() {
		hop, err := packet.NewPathAttributeNextHop(a.nextHop)
		if err != nil {
			return nil, fmt.Errorf("route to %s: %w", prefix, err)
		}
		p.Attrs = append(p.Attrs, hop)
	} else {
		p.Family = packet.RF_IPv6_UC
		reach, err := packet.NewPathAttributeMpReachNLRI(p.Family, []packet.PathNLRI{{NLRI: nlri}}, a.nextHop)
		if err != nil {
			return nil, fmt.Errorf("route to %s: %w", prefix, err)
		}
		p.Attrs = append(p.Attrs, reach)
	}
	if a.localPref > 0 {
		p.Attrs = append(p.Attrs, packet.NewPathAttributeLocalPref(a.localPref))
	}
	if len(a.communities) > 0 {
		p.Attrs = append(p.Attrs, packet.NewPathAttributeCommunities(a.communities))
	}
	var large []*packet.LargeCommunity
	for _, c := range a.largeCommunities {
		large = append(large, &packet.LargeCommunity{ASN: c[0], LocalData1: c[1], LocalData2: c[2]})
	}
	if len(large) > 0 {
		p.Attrs = append(p.Attrs, packet.NewPathAttributeLargeCommunities(large))
	}
	return p, nil
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

// taken returns the families that a peer takes: IPv4 if it does not say (RFC 4760,
// section 8).
func taken(capabilities []packet.ParameterCapabilityInterface) (ipv4, ipv6 bool) {
	said := false
	for _, c := range capabilities {
		if mp, ok := c.(*packet.CapMultiProtocol); ok {
			said = true
			ipv4 = ipv4 || mp.CapValue == packet.RF_IPv4_UC
			ipv6 = ipv6 || mp.CapValue == packet.RF_IPv6_UC
		}
	}
	return ipv4 || !said, ipv6
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
