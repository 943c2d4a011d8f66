package bgp

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/osrg/gobgp/v4/api"
)

var (
	v4, wide4 = netip.MustParsePrefix("203.0.113.7/32"), netip.MustParsePrefix("203.0.113.0/24")
	v6, wide6 = netip.MustParsePrefix("2001:db8::7/128"), netip.MustParsePrefix("2001:db8::/64")
	here4     = netip.MustParseAddr("192.0.2.11")
	here6     = netip.MustParseAddr("2001:db8:2::11")
)

func describe(advertised map[netip.Prefix]attributes) string {
	var lines []string
	for _, prefix := range slices.SortedFunc(maps.Keys(advertised), netip.Prefix.Compare) {
		a := advertised[prefix]
		med := ""
		if a.med > 0 {
			med = fmt.Sprint(" med ", a.med)
		}
		lines = append(lines, fmt.Sprint(prefix, " via ", a.nextHop, " pref ", a.localPref, " ", a.communities, a.largeCommunities, med))
	}
	return strings.Join(lines, "\n")
}

func TestRoutesOfAPeer(t *testing.T) {
	over4, over6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8:2::1")
	for _, test := range []struct {
		name     string
		peer     Peer
		routes   []Route
		want     string
		withheld int
	}{
		{name: "the session's own address is the next hop of its family", peer: Peer{Address: over4, NextHop6: here6},
			routes: []Route{{Prefix: v4}, {Prefix: v6}}, want: "203.0.113.7/32 via 0.0.0.0 pref 0 [] []\n2001:db8::7/128 via 2001:db8:2::11 pref 0 [] []"},
		{name: "IPv6 session: the node's IPv4 address is the next hop of IPv4", peer: Peer{Address: over6, NextHop4: here4},
			routes: []Route{{Prefix: v4}, {Prefix: v6}}, want: "203.0.113.7/32 via 192.0.2.11 pref 0 [] []\n2001:db8::7/128 via :: pref 0 [] []"},
		{name: "link-local session: the global address is the next hop", peer: Peer{Address: netip.MustParseAddr("fe80::1%eth0"), NextHop4: here4, NextHop6: here6},
			routes: []Route{{Prefix: v4}, {Prefix: v6}}, want: "203.0.113.7/32 via 192.0.2.11 pref 0 [] []\n2001:db8::7/128 via 2001:db8:2::11 pref 0 [] []"},
		{name: "link-local session without a global address", peer: Peer{Address: netip.MustParseAddr("fe80::1%eth0")},
			routes: []Route{{Prefix: v6}}, want: "2001:db8::7/128 via :: pref 0 [] []"},
		{name: "without a next hop there is no route", peer: Peer{Address: over4},
			routes: []Route{{Prefix: v4}, {Prefix: v6}, {Prefix: v6, LocalPref: 1}}, want: "203.0.113.7/32 via 0.0.0.0 pref 0 [] []", withheld: 1},
		{name: "routes for other peers are not advertised", peer: Peer{Name: "a", Address: over4},
			routes: []Route{{Prefix: v4, Peers: []string{"b"}}, {Prefix: wide4, Peers: []string{"b", "a"}}}, want: "203.0.113.0/24 via 0.0.0.0 pref 0 [] []"},
		{name: "routes to one prefix become one", peer: Peer{Address: over4},
			routes: []Route{{Prefix: wide4, LocalPref: 5, Communities: []uint32{9, 1}}, {Prefix: wide4, LocalPref: 200, MED: 7, Communities: []uint32{1, 2}, LargeCommunities: [][3]uint32{{1, 2, 3}}}, {Prefix: wide4, LargeCommunities: [][3]uint32{{1, 2, 3}}}},
			want:   "203.0.113.0/24 via 0.0.0.0 pref 200 [1 2 9] [[1 2 3]] med 7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			advertised, withheld := routesFor(test.peer, test.routes)
			if describe(advertised) != test.want || withheld != test.withheld {
				t.Errorf("%d withheld, and advertised:\n%s\nwant %d and:\n%s", withheld, describe(advertised), test.withheld, test.want)
			}
		})
	}
}

func TestChangeAnnouncesOnlyTheDifference(t *testing.T) {
	other4 := netip.MustParsePrefix("203.0.113.8/32")
	before := map[netip.Prefix]attributes{v4: {localPref: 1}, wide4: {communities: []uint32{1}}, v6: {nextHop: here6}, wide6: {med: 1}}
	after := map[netip.Prefix]attributes{v4: {localPref: 1}, wide4: {communities: []uint32{2}}, other4: {}, wide6: {med: 2}}
	announce, withdraw := change(before, after)
	if !slices.Equal(announce, []netip.Prefix{wide4, other4, wide6}) || !slices.Equal(withdraw, []netip.Prefix{v6}) {
		t.Errorf("announced %v, withdrawn %v", announce, withdraw)
	}
	if announce, withdraw = change(after, after); announce != nil || withdraw != nil {
		t.Errorf("announced %v, withdrawn %v, and nothing has changed", announce, withdraw)
	}
}

func TestSessionEndsOnlyWhenItsPeerHasChanged(t *testing.T) {
	p := Peer{Name: "a", ASN: 1, Address: here4, HoldTime: 90 * time.Second}
	sessions := map[string]*session{"a": {peer: p.sessionPart()}, "b": {peer: Peer{Name: "b"}}}
	stays := p
	stays.NextHop6, stays.BFD.Peer = here6, here4
	if got := unwanted(sessions, []Peer{stays, {Name: "b"}}); got != nil {
		t.Errorf("%v end", got)
	}
	changed := p
	changed.Password = "new"
	if got := unwanted(sessions, []Peer{changed, {Name: "b"}}); !slices.Equal(got, []string{"a"}) {
		t.Errorf("%v end, want a", got)
	}
	if got := unwanted(sessions, []Peer{p}); !slices.Equal(got, []string{"b"}) {
		t.Errorf("%v end, want b", got)
	}
}

func TestProblemsAreExplained(t *testing.T) {
	p := Peer{Name: "a", MyASN: 64512, ASN: 64513, Address: netip.MustParseAddr("192.0.2.1"), Port: 179, HoldTime: 90 * time.Second, Source: here4, RouterID: here4}
	for want, got := range map[string]string{
		"no process listens at 192.0.2.1 port 179: check that BGP runs there":                                                           p.unconnected("dial tcp 192.0.2.1:179: connect: connection refused"),
		"192.0.2.1 port 179 is unreachable: no route to host":                                                                           p.unconnected("dial tcp 192.0.2.1:179: connect: no route to host"),
		"connecting to 192.0.2.1 port 179: something else":                                                                              p.unconnected("something else"),
		"192.0.2.1 is not in AS 64513: correct peer-asn, or the AS of the router":                                                       p.refused(2, 2),
		"192.0.2.1 has the same router ID as this node, 192.0.2.11: change one of them":                                                 p.refused(2, 3),
		"192.0.2.1 ended the session: Cease, administrative shutdown (code 6, subcode 2): this neighbour is switched off on the router": p.ended(api.PeerState_DISCONNECT_REASON_NOTIFICATION_RECEIVED, "notification-received code 6(cease) subcode 2(administrative shutdown)"),
		"192.0.2.11 is no address of this node: change source-address, or limit the peer to some nodes with node-selectors":             p.unconnected("dial tcp: bind: cannot assign requested address"),
	} {
		if got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}
