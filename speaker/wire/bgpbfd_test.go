package wire

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bfd"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/bgp"
)

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

// watched returns a router that has the routes of a speaker. Both watch the path with BFD.
func watched(t *testing.T, daemon string, gracefulRestart time.Duration) (*router, *advertiser, bgp.Peer) {
	t.Helper()
	r := wireRouter(t, 0)
	p := r.peer("router", false, true)
	p.HoldTime, p.KeepaliveTime, p.GracefulRestart = 90*time.Second, 30*time.Second, gracefulRestart
	r.withBFD(&p)
	r.startWithBFD(daemon, p)
	a := advertise(t)
	a.Set([]bgp.Peer{p}, fullRoutes)
	a.waitUp(p)
	eventually(t, "BFD is up", func() bool { return a.status(p.Name).BFD.State == bfd.Up })
	r.hasRoute(prefix4)
	return r, a, p
}

func TestBFDEndsTheBGPSessionBeforeTheHoldTime(t *testing.T) {
	for _, daemon := range []string{"BIRD", "FRR"} {
		t.Run(daemon, func(t *testing.T) {
			r, a, p := watched(t, daemon, 0)

			r.run("ip", "link", "set", "node", "down")
			eventually(t, "the session is down", func() bool { return !a.status(p.Name).Up })
			a.problem(p.Name, "BFD: no packet from the peer for 300ms")
			r.run("ip", "link", "set", "node", "up")
			a.waitUp(p)
			r.hasRoute(prefix4)
		})
	}
}

func TestBFDTellsTheRouterThatANodeIsDead(t *testing.T) {
	for _, daemon := range []string{"BIRD", "FRR"} {
		t.Run(daemon, func(t *testing.T) {
			r, _, _ := watched(t, daemon, 0)
			ip(t, "addr del 198.51.100.2/24 dev router-0") // no packet of the node reaches the router any more
			r.hasNoRoute(prefix4)
		})
	}
}

func TestBFDDisabledByThePeerKeepsTheBGPSession(t *testing.T) {
	r, a, p := watched(t, "FRR", 0)
	out, err := r.in("vtysh", "--vty_socket", r.dir, "-c", "configure", "-c", "bfd", "-c", "peer 198.51.100.2 interface node", "-c", "shutdown").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	eventually(t, "BFD is down", func() bool { return a.status(p.Name).BFD.State != bfd.Up })
	if b := a.status(p.Name).BFD; b.Failures != 0 || b.Why != "the peer has disabled BFD" {
		t.Errorf("BFD says %+v", b)
	}
	r.hasRoute(prefix4)
	if st := a.status(p.Name); !st.Up || st.Downs != 0 {
		t.Errorf("the session has ended: %+v", st)
	}
}

func TestRoutesAreWithdrawnWhenTheSpeakerLeaves(t *testing.T) {
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
			a.KeepRoutes(true)
			a.stop() // without graceful restart nothing is kept
			r.hasNoRoute(prefix4)
		})
	}
}

func TestGracefulRestartKeepsTheRoutes(t *testing.T) {
	for _, daemon := range []string{"BIRD", "FRR"} {
		t.Run(daemon, func(t *testing.T) {
			r, first, p := watched(t, daemon, 60*time.Second)

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
			first.KeepRoutes(true)
			first.stop()
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
