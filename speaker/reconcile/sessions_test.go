package reconcile

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bfd"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bgp"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestSessionEventsReportEachChangeOnce(t *testing.T) {
	begun := time.Unix(1000, 0)
	session := func(change func(*bgp.Status)) []bgp.Status {
		st := bgp.Status{Peer: "tor", Address: addr("192.0.2.1"), Begun: begun}
		change(&st)
		return []bgp.Status{st}
	}
	never := session(func(s *bgp.Status) { s.Problem = "no process listens" })
	up := session(func(s *bgp.Status) { s.Up, s.Ups = true, 1 })
	down := session(func(s *bgp.Status) { s.Ups, s.Downs, s.Problem = 1, 1, "no keepalive" })
	for _, test := range []struct {
		name        string
		before, now []bgp.Status
		want        []string
	}{
		{"it cannot be set up", nil, never, []string{"Warning BGPSessionFailed No BGP session with tor (192.0.2.1): no process listens"}},
		{"nothing new", never, never, nil},
		{"it comes up", never, up, []string{"Normal BGPSessionUp The BGP session with tor (192.0.2.1) is up"}},
		{"it stays up", up, up, nil},
		{"it goes down", up, down, []string{"Warning BGPSessionDown The BGP session with tor (192.0.2.1) is down: no keepalive"}},
		{"it stays down", down, down, nil},
		{"it cannot be set up again after it was down", down, session(func(s *bgp.Status) { s.Ups, s.Downs, s.Problem = 1, 1, "no answer" }),
			[]string{"Warning BGPSessionFailed No BGP session with tor (192.0.2.1): no answer"}},
		{"down and up between two passes", up, session(func(s *bgp.Status) { s.Up, s.Ups, s.Downs = true, 2, 1 }),
			[]string{"Warning BGPSessionDown The BGP session with tor (192.0.2.1) is down", "Normal BGPSessionUp The BGP session with tor (192.0.2.1) is up"}},
		{"another session of the same peer", up, session(func(s *bgp.Status) { s.Up, s.Ups, s.Begun = true, 1, begun.Add(time.Hour) }),
			[]string{"Warning BGPSessionDown The BGP session with tor (192.0.2.1) has ended: its configuration has changed", "Normal BGPSessionUp The BGP session with tor (192.0.2.1) is up"}},
		{"the peer is gone", up, nil, []string{"Normal BGPSessionDown The BGP session with tor (192.0.2.1) has ended: the peer was removed from the configuration, or is not for this node any more"}},
		{"a peer is gone that was never there", never, nil, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var got []string
			for _, e := range sessionEvents(test.before, test.now) {
				got = append(got, fmt.Sprint(e.eventType, " ", e.reason, " ", e.text))
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestPeerOfThePlanKeepsEveryField(t *testing.T) {
	c := config.Peer{
		Name: "tor", MyASN: 64512, ASN: 64513, Address: addr("192.0.2.1"), Port: 1179, SourceAddress: addr("192.0.2.9"),
		HoldTime: 9 * time.Second, KeepaliveTime: 3 * time.Second, GracefulRestart: time.Minute, Password: "not this one", TTLSecurity: true,
	}
	got := bgpPeer(plan.Peer{
		Config: c, RouterID: addr("10.0.0.7"), Password: "sesame", MultihopTTL: 4, NextHop4: addr("192.0.2.11"), NextHop6: addr("2001:db8::11"), Unready: "no Secret",
		BFD: &plan.BFD{Multihop: true, Link: 3, Profile: config.BFDProfile{
			ReceiveInterval: 100 * time.Millisecond, TransmitInterval: 50 * time.Millisecond, DetectMultiplier: 5, MinimumTTL: 250, PassiveMode: true}},
	})
	want := bgp.Peer{
		Name: "tor", MyASN: 64512, ASN: 64513, Address: addr("192.0.2.1"), Port: 1179, Source: addr("192.0.2.9"),
		HoldTime: 9 * time.Second, KeepaliveTime: 3 * time.Second, GracefulRestart: time.Minute, RouterID: addr("10.0.0.7"), Password: "sesame",
		MultihopTTL: 4, TTLSecurity: true, NextHop4: addr("192.0.2.11"), NextHop6: addr("2001:db8::11"), Unready: "no Secret",
		BFD: bfd.Session{Peer: addr("192.0.2.1"), Local: addr("192.0.2.9"), Multihop: true, MinimumTTL: 250, Link: 3,
			Receive: 100 * time.Millisecond, Transmit: 50 * time.Millisecond, Multiplier: 5, Passive: true},
	}
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := bgpPeer(plan.Peer{Config: c}); got.BFD.Peer.IsValid() {
		t.Errorf("a peer without a profile has BFD: %+v", got.BFD)
	}
}

func TestSessionsAreDescribedInOneLineEach(t *testing.T) {
	since := time.Unix(1000, 0)
	got := describeSessions([]bgp.Status{
		{Peer: "192.0.2.1", Address: addr("192.0.2.1"), State: "ESTABLISHED", Up: true, Since: since, Prefixes: 7, Withheld: 2, BFD: &bfd.Status{State: bfd.Up}},
		{Peer: "tor", Address: addr("192.0.2.2"), State: "ACTIVE", Since: since, Problem: "no process listens"},
	}, since.Add(90*time.Second))
	want := `192.0.2.1 address=192.0.2.1 state=ESTABLISHED for=1m30s prefixes=7 withheld=2 bfd=Up
tor address=192.0.2.2 state=ACTIVE for=1m30s prefixes=0 problem="no process listens"
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
