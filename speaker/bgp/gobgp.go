package bgp

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// This file translates our values into GoBGP's.

const (
	// connectRetry is the time between two attempts to connect, in seconds. An attempt
	// lasts a second less.
	connectRetry = 5
	// afterReset is how long GoBGP waits after we have ended a session, in seconds.
	afterReset = 1
	// deferral is how long a restarted speaker waits for the peer's routes before it
	// advertises its own (RFC 4724, section 4.1), in seconds.
	deferral = 5
	// maxPrefixes is how many prefixes of a family a router may send. They are rejected, but
	// GoBGP keeps them, with some 500 bytes each. Most routers send each node the routes of
	// all other nodes, so the limit is far above the number of VIPs.
	maxPrefixes = 20000
)

// importOnlyOurOwn returns the policy that rejects the routes of routers. They must not
// compete with the routes that we advertise.
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

// neighbour returns the peer in GoBGP's form. It offers both families, so that a session
// carries those that the router accepts.
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
	if p.TTLSecurity {
		n.TtlSecurity = &api.TtlSecurity{Enabled: true, TtlMin: 255}
	}
	restart := p.GracefulRestart > 0
	if restart {
		// The first OPEN says that this node kept forwarding. That matters only for a peer
		// that remembers this node.
		n.GracefulRestart = &api.GracefulRestart{Enabled: true, RestartTime: uint32(p.GracefulRestart / time.Second), DeferralTime: deferral, LocalRestarting: true}
	}
	for _, afi := range []api.Family_Afi{api.Family_AFI_IP, api.Family_AFI_IP6} {
		family := &api.Family{Afi: afi, Safi: api.Family_SAFI_UNICAST}
		n.AfiSafis = append(n.AfiSafis, &api.AfiSafi{
			Config:            &api.AfiSafiConfig{Family: family, Enabled: true},
			PrefixLimits:      &api.PrefixLimit{Family: family, MaxPrefixes: maxPrefixes},
			MpGracefulRestart: &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: restart}},
		})
	}
	return n
}

// paths returns the prefixes in GoBGP's form.
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

// acceptedFamilies returns the families that a peer accepts. A peer that does not say so
// accepts IPv4 (RFC 4760, section 8).
func acceptedFamilies(capabilities []packet.ParameterCapabilityInterface) (ipv4, ipv6 bool) {
	listed := false
	for _, c := range capabilities {
		if mp, ok := c.(*packet.CapMultiProtocol); ok {
			listed = true
			ipv4 = ipv4 || mp.CapValue == packet.RF_IPv4_UC
			ipv6 = ipv6 || mp.CapValue == packet.RF_IPv6_UC
		}
	}
	return ipv4 || !listed, ipv6
}
