package bgp

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// What is ours in the words of GoBGP.

const (
	// connectRetry is how often a connection is tried, in seconds; a try lasts a
	// second less.
	connectRetry = 5
	// afterReset is how long a session that we have ended rests, in seconds.
	afterReset = 1
	// deferral is how long a speaker that has restarted waits for the peer's routes
	// before it tells its own (RFC 4724, section 4.1), in seconds.
	deferral = 5
)

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
	if a.med > 0 {
		p.Attrs = append(p.Attrs, packet.NewPathAttributeMultiExitDisc(a.med))
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
