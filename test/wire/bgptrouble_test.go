package wire

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bfd"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bgp"
)

// Every trouble is with one router, while another one must not notice.
func TestTroubleWithAPeerIsSaidInWords(t *testing.T) {
	for _, daemon := range []string{"BIRD", "FRR"} {
		for _, test := range []struct {
			name string
			// router is what the router believes of itself and of the node.
			router func(p *bgp.Peer)
			// speaker is what the speaker believes, internal whether of one AS.
			speaker  func(p *bgp.Peer)
			internal bool
			words    []string
			// once is set where the router has no part in it.
			once bool
		}{
			{name: "the router is of another AS", router: func(p *bgp.Peer) { p.ASN = 64599 }, words: []string{"is not of AS 64513", "peer-asn"}},
			{name: "the router expects another AS", router: func(p *bgp.Peer) { p.MyASN = 64598 }, words: []string{"another AS than our 64512"}},
			{name: "passwords differ", router: func(p *bgp.Peer) { p.Password = "a" }, speaker: func(p *bgp.Peer) { p.Password = "b" }, words: []string{"does not answer", "password differs"}},
			{name: "only the router has a password", router: func(p *bgp.Peer) { p.Password = "a" }, words: []string{"does not answer", "password differs"}},
			{name: "nobody listens", speaker: func(p *bgp.Peer) { p.Port = 1179 }, words: []string{"nobody listens at", "port 1179"}, once: true},
			{name: "nobody is there", speaker: func(p *bgp.Peer) { p.Address = netip.MustParseAddr("198.51.100.99") }, words: []string{"198.51.100.99", "unreachable"}, once: true},
			{name: "the source is not ours", speaker: func(p *bgp.Peer) { p.Source = netip.MustParseAddr("198.51.100.77") }, words: []string{"198.51.100.77 is no address of this node", "source-address"}, once: true},
			{name: "the router has our router ID", speaker: func(p *bgp.Peer) { p.RouterID = p.Address }, internal: true, words: []string{"router ID"}},
		} {
			if test.once && daemon != "BIRD" {
				continue
			}
			t.Run(daemon+": "+test.name, func(t *testing.T) {
				r, other := wireRouter(t, 0), wireRouter(t, 1)
				p, o := r.peer("troubled", test.internal, true), other.peer("other", false, true)
				theirs := p
				if test.router != nil {
					test.router(&theirs)
				}
				r.start(daemon, theirs)
				other.start("BIRD", o)
				if test.speaker != nil {
					test.speaker(&p)
				}
				a := advertise(t)
				a.Set([]bgp.Peer{p, o}, fullRoutes)
				a.waitUp(o)
				a.problem(p.Name, test.words...)
				if st := a.status(o.Name); st.Downs != 0 || st.Ups != 1 {
					t.Errorf("the other peer has noticed: %+v", st)
				}
			})
		}
	}
}

func TestARouterThatRestartsIsMetAgain(t *testing.T) {
	for _, daemon := range []string{"BIRD", "FRR"} {
		t.Run(daemon, func(t *testing.T) {
			r, other := wireRouter(t, 0), wireRouter(t, 1)
			p, o := r.peer("restarting", false, true), other.peer("other", false, true)
			r.start(daemon, p)
			other.start("FRR", o)
			a := advertise(t)
			a.Set([]bgp.Peer{p, o}, fullRoutes)
			a.waitUp(p, o)
			r.kill()
			eventually(t, "the session is down", func() bool { st := a.status(p.Name); return st.Downs == 1 && !st.Up })
			if why := a.status(p.Name).Problem; why == "" {
				t.Error("nothing says why")
			}
			r.start(daemon, p)
			a.waitUp(p)
			r.hasRoute(prefix4)
			if st := a.status(o.Name); st.Downs != 0 || st.Ups != 1 {
				t.Errorf("the other peer has noticed: %+v", st)
			}
			other.hasRoute(prefix4)
		})
	}
}

func TestOnlyTheChangedPeerIsTouched(t *testing.T) {
	r, other := wireRouter(t, 0), wireRouter(t, 1)
	p, o := r.peer("changed", false, true), other.peer("other", false, true)
	r.start("BIRD", p)
	other.start("BIRD", o)
	a := advertise(t)
	a.Set([]bgp.Peer{p, o}, fullRoutes)
	a.waitUp(p, o)
	before := a.status(o.Name)

	p.RouterID = netip.MustParseAddr("192.0.2.99")
	a.Set([]bgp.Peer{p, o}, fullRoutes)
	r.says("show protocols all node", "Neighbor ID:      192.0.2.99")
	a.waitUp(p)
	r.hasRoute(prefix4)

	routes := []bgp.Route{{Prefix: prefix4, Peers: []string{"other"}}, {Prefix: wide4, Peers: []string{"changed"}}}
	a.Set([]bgp.Peer{p, o}, routes)
	r.hasNoRoute(prefix4)
	r.hasRoute(wide4)
	other.hasNoRoute(wide4)
	other.hasRoute(prefix4)

	a.Set([]bgp.Peer{o}, routes)
	r.hasNoRoute(wide4)
	other.hasRoute(prefix4)
	if after := a.status(o.Name); after.Since != before.Since || after.Ups != 1 || len(a.Status()) != 1 {
		t.Errorf("the other peer has noticed: %+v", after)
	}
}

// withBFD makes both ends watch the path with packets every 100 ms.
func (r *router) withBFD(p *bgp.Peer) {
	p.BFD = bfd.Session{Peer: p.Address, Receive: 100 * time.Millisecond, Transmit: 100 * time.Millisecond, Multiplier: 3}
}

func (r *router) startWithBFD(daemon string, p bgp.Peer) {
	r.t.Helper()
	switch daemon {
	case "BIRD":
		r.bird(fmt.Sprintf(`protocol bfd { interface "node" { interval 100 ms; multiplier 3; }; }
protocol bgp node {
	local %s as %d; neighbor %s as %d; bfd graceful;
	ipv4 { import all; export none; };
	ipv6 { import all; export none; };
}
`, p.Address, p.ASN, r.node4, p.MyASN))
	case "FRR":
		r.frr(fmt.Sprintf(`router bgp %d
 bgp router-id %s
 no bgp ebgp-requires-policy
 neighbor %[3]s remote-as %d
 neighbor %[3]s bfd 3 100 100
 neighbor %[3]s bfd check-control-plane-failure
 address-family ipv6 unicast
  neighbor %[3]s activate
`, p.ASN, r.addr4, r.node4, p.MyASN))
	}
}

// watched is a router with the routes of a speaker, of which each watches the other.
func watched(t *testing.T, daemon string) (*router, *advertiser, bgp.Peer) {
	t.Helper()
	r := wireRouter(t, 0)
	p := r.peer("router", false, true)
	p.HoldTime, p.KeepaliveTime = 90*time.Second, 30*time.Second
	r.withBFD(&p)
	r.startWithBFD(daemon, p)
	a := advertise(t)
	a.Set([]bgp.Peer{p}, fullRoutes)
	a.waitUp(p)
	eventually(t, "BFD is up", func() bool { return a.status(p.Name).BFD.State == bfd.Up })
	r.hasRoute(prefix4)
	return r, a, p
}

func TestBFDEndsTheSessionLongBeforeTheHoldTime(t *testing.T) {
	for _, daemon := range []string{"BIRD", "FRR"} {
		t.Run(daemon, func(t *testing.T) {
			r, a, p := watched(t, daemon)

			r.run("ip", "link", "set", "node", "down")
			eventually(t, "the session is down", func() bool { return !a.status(p.Name).Up })
			a.problem(p.Name, "BFD: the peer was silent for 300ms")
			r.run("ip", "link", "set", "node", "up")
			a.waitUp(p)
			r.hasRoute(prefix4)
		})
	}
}

func TestTheRouterNoticesADeadNodeByBFD(t *testing.T) {
	for _, daemon := range []string{"BIRD", "FRR"} {
		t.Run(daemon, func(t *testing.T) {
			r, _, _ := watched(t, daemon)
			ip(t, "addr del 198.51.100.2/24 dev router-0") // nothing of ours reaches the router
			r.hasNoRoute(prefix4)
		})
	}
}

func TestAPeerThatSwitchesBFDOffHasNotFailed(t *testing.T) {
	r, a, p := watched(t, "FRR")
	out, err := r.in("vtysh", "--vty_socket", r.dir, "-c", "configure", "-c", "bfd", "-c", "peer 198.51.100.2 interface node", "-c", "shutdown").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	eventually(t, "BFD is down", func() bool { return a.status(p.Name).BFD.State != bfd.Up })
	if b := a.status(p.Name).BFD; b.Failures != 0 || b.Why != "the peer has switched BFD off" {
		t.Errorf("BFD says %+v", b)
	}
	r.hasRoute(prefix4)
	if st := a.status(p.Name); !st.Up || st.Downs != 0 {
		t.Errorf("the session has ended: %+v", st)
	}
}

func TestASpeakerThatLeavesWithdrawsItsRoutes(t *testing.T) {
	for _, daemon := range []string{"BIRD", "FRR"} {
		t.Run(daemon, func(t *testing.T) {
			r := wireRouter(t, 0)
			p := r.peer("router", false, true)
			p.HoldTime, p.KeepaliveTime = 90*time.Second, 30*time.Second
			r.start(daemon, p)
			a := advertise(t)
			a.Set([]bgp.Peer{p}, fullRoutes)
			a.waitUp(p)
			r.hasRoute(prefix4)
			a.Close(true) // without graceful restart nothing is kept
			r.hasNoRoute(prefix4)
		})
	}
}

func TestWithGracefulRestartTheRouterKeepsTheRoutes(t *testing.T) {
	for _, daemon := range []string{"BIRD", "FRR"} {
		t.Run(daemon, func(t *testing.T) {
			r := wireRouter(t, 0)
			p := r.peer("router", false, true)
			p.GracefulRestart = 60 * time.Second
			r.withBFD(&p)
			r.startWithBFD(daemon, p)
			first := advertise(t)
			first.Set([]bgp.Peer{p}, fullRoutes)
			first.waitUp(p)
			eventually(t, "BFD is up", func() bool { return first.status(p.Name).BFD.State == bfd.Up })
			r.hasRoute(prefix4)

			gone := make(chan struct{})
			watching := make(chan bool)
			go func() { // the route must be there all the time
				kept := true
				for {
					answer := r.ask(r.showRoute(prefix4))
					kept = kept && strings.Contains(answer, r.node4.String())
					select {
					case <-gone:
						watching <- kept
						return
					default:
					}
				}
			}()
			first.Close(true)
			eventually(t, "the router knows that the session is down", func() bool {
				answer := r.ask(map[string]string{"BIRD": "show protocols node", "FRR": "show bgp summary json"}[daemon])
				return !strings.Contains(answer, map[string]string{"BIRD": "Established", "FRR": `"state":"Established"`}[daemon])
			})
			second := advertise(t)
			second.Set([]bgp.Peer{p}, fullRoutes)
			second.waitUp(p)
			eventually(t, "BFD is up again", func() bool { return second.status(p.Name).BFD.State == bfd.Up })
			close(gone)
			if !<-watching {
				t.Error("the route was gone for a while")
			}
			second.Set([]bgp.Peer{p}, fullRoutes[1:])
			r.hasNoRoute(prefix4)
		})
	}
}

func TestAnAnnouncerLeavesNothingRunning(t *testing.T) {
	r := wireRouter(t, 0)
	p := r.peer("router", false, true)
	r.withBFD(&p)
	r.startWithBFD("BIRD", p)
	before := runtime.NumGoroutine()
	a := advertise(t)
	unreachable := p
	unreachable.Name, unreachable.Address = "nobody", netip.MustParseAddr("198.51.100.99")
	unreachable.BFD.Peer = unreachable.Address
	for range 3 {
		a.Set([]bgp.Peer{p, unreachable}, fullRoutes)
		a.waitUp(p)
		a.Set(nil, nil)
		eventually(t, "there is no session", func() bool { return len(a.Status()) == 0 })
	}
	a.Close(false)
	eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}

// The routers of a cluster tell each other, and so the nodes, what the nodes have
// told them, and may prefer it.
func TestWhatARouterTellsDoesNotCompeteWithOurRoutes(t *testing.T) {
	r := wireRouter(t, 0)
	p := r.peer("router", true, true)
	r.bird(fmt.Sprintf(`protocol static { ipv4; route %s unreachable { bgp_local_pref = 500; }; }
protocol bgp node {
	local %s as %d; neighbor %s as %d;
	ipv4 { import all; export all; };
}
`, prefix4, p.Address, p.ASN, r.node4, p.MyASN))
	a := advertise(t)
	a.Set([]bgp.Peer{p}, fullRoutes)
	a.waitUp(p)
	r.says("show protocols all node", "1 exported")
	a.Set([]bgp.Peer{p}, append([]bgp.Route{{Prefix: netip.MustParsePrefix("203.0.113.64/26")}}, fullRoutes...)) // and let it be considered
	r.hasRoute(netip.MustParsePrefix("203.0.113.64/26"))
	r.hasRoute(prefix4, "from "+r.node4.String(), "BGP.local_pref: 150")
}

func TestPrefixesOfAFamilyThatTheRouterDoesNotTakeAreWithheld(t *testing.T) {
	r := wireRouter(t, 0)
	p := r.peer("router", false, true)
	r.bird(fmt.Sprintf(`protocol bgp node {
	local %s as %d; neighbor %s as %d;
	ipv4 { import all; export none; };
}
`, p.Address, p.ASN, r.node4, p.MyASN))
	a := advertise(t)
	a.Set([]bgp.Peer{p}, fullRoutes)
	a.waitUp(p)
	r.hasRoute(prefix4)
	if st := a.status(p.Name); st.Prefixes != 2 || st.Withheld != 2 {
		t.Errorf("%d prefixes, %d withheld; there are two of IPv4, and two of IPv6", st.Prefixes, st.Withheld)
	}
}
