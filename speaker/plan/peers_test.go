package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestPeersOfANode(t *testing.T) {
	c := parse(t, `
bfd-profiles: [{name: fast, receive-interval: 100, transmit-interval: 50, detect-multiplier: 5, minimum-ttl: 250}]
peers:
- {name: near, my-asn: 64512, peer-asn: 64513, peer-address: 192.0.2.1, bfd-profile: fast}
- {name: far, my-asn: 64512, peer-asn: 64513, peer-address: 10.9.9.9, ebgp-multihop: true, bfd-profile: fast, router-id: 10.0.0.7, graceful-restart: 60s}
- {name: hops, my-asn: 64512, peer-asn: 64513, peer-address: 10.9.9.8, ebgp-multihop: true, ebgp-multihop-ttl: 4}
- {name: inside, my-asn: 64512, peer-asn: 64512, peer-address: 10.9.9.7, bfd-profile: fast}
- {name: bound, my-asn: 64512, peer-asn: 64513, peer-address: "2001:db8:9::1", source-address: "2001:db8:2::11"}
- {name: linklocal, my-asn: 64512, peer-asn: 64513, peer-address: "fe80::1%eth1", bfd-profile: fast}
- {name: secret, my-asn: 64512, peer-asn: 64513, peer-address: 192.0.2.3, password-secret: known}
- {name: unknown, my-asn: 64512, peer-asn: 64513, peer-address: 192.0.2.4, password-secret: unknown}
- {name: others, my-asn: 64512, peer-asn: 64513, peer-address: 192.0.2.2, node-selectors: [{match-labels: {edge: ""}}]}
`)
	s := State{
		Node: "node1", Nodes: []Node{{Name: "node1"}}, Config: c,
		Addrs: []netip.Addr{addr("172.16.0.11"), addr("fd00::11")},
		Interfaces: []Interface{
			{Name: "eth0", IPv4: netip.MustParsePrefix("192.0.2.11/24")},
			{Name: "eth1", IPv4: netip.MustParsePrefix("198.51.100.11/24"), IPv6: netip.MustParsePrefix("2001:db8:2::11/64")},
		},
		Routers: map[string]Router{
			"near":      {Link: 2, Direct: true},
			"far":       {Link: 2},
			"inside":    {Link: 2},
			"linklocal": {Link: 3, Direct: true},
			"secret":    {Password: "sesame"},
			"unknown":   {Unready: "there is no Secret"},
		},
	}
	var got []string
	for _, p := range Make(s, Plan{}).Peers {
		text := fmt.Sprintf("%s id=%s ttl=%d hops=%s,%s", p.Config.Name, p.RouterID, p.MultihopTTL, p.NextHop4, p.NextHop6)
		if p.BFD != nil {
			text += fmt.Sprintf(" bfd=%v/%v×%d", p.BFD.Profile.ReceiveInterval, p.BFD.Profile.TransmitInterval, p.BFD.Profile.DetectMultiplier)
			if p.BFD.Multihop {
				text += fmt.Sprintf(" multihop>=%d", p.BFD.Profile.MinimumTTL)
			} else {
				text += fmt.Sprintf(" link=%d", p.BFD.Link)
			}
		}
		if p.Password+p.Unready != "" || p.Config.GracefulRestart > 0 {
			text += fmt.Sprintf(" password=%q unready=%q restart=%v", p.Password, p.Unready, p.Config.GracefulRestart)
		}
		got = append(got, text)
	}
	want := []string{
		"near id=172.16.0.11 ttl=0 hops=192.0.2.11,fd00::11 bfd=100ms/50ms×5 link=2",
		`far id=10.0.0.7 ttl=255 hops=172.16.0.11,fd00::11 bfd=100ms/50ms×5 multihop>=250 password="" unready="" restart=1m0s`,
		"hops id=172.16.0.11 ttl=4 hops=172.16.0.11,fd00::11",
		"inside id=172.16.0.11 ttl=0 hops=172.16.0.11,fd00::11 bfd=100ms/50ms×5 multihop>=250",
		"bound id=172.16.0.11 ttl=0 hops=198.51.100.11,2001:db8:2::11",
		"linklocal id=172.16.0.11 ttl=0 hops=198.51.100.11,2001:db8:2::11 bfd=100ms/50ms×5 link=3",
		`secret id=172.16.0.11 ttl=0 hops=192.0.2.11,fd00::11 password="sesame" unready="" restart=0s`,
		`unknown id=172.16.0.11 ttl=0 hops=192.0.2.11,fd00::11 password="" unready="there is no Secret" restart=0s`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	s.Addrs = s.Addrs[1:]
	first := Make(s, Plan{}).Peers[0].RouterID
	s.Node, s.Nodes[0].Name = "node2", "node2"
	if second := Make(s, Plan{}).Peers[0].RouterID; !first.Is4() || first == second || first.IsUnspecified() {
		t.Errorf("without IPv4 two nodes have the router IDs %s and %s", first, second)
	}
}
