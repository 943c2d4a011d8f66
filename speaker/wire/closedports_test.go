package wire

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/closedports"
)

const tcp, udp, icmp, icmp6 = 6, 17, 1, 58

// routedVIPs are on no interface and on no segment: only the router's routes lead to them.
var routedVIPs = []netip.Addr{prefix4.Addr(), prefix6.Addr()}

func TestClosedPortIsRefusedAtOnce(t *testing.T) {
	r := loopingRouter(t)
	r.refuse(false, r.wanted())
	for _, vip := range routedVIPs {
		if err := r.connect(vip, 80); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("TCP to %s: %v", vip, err)
		}
		if err := r.sendUDP(vip, 53); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("UDP to %s: %v", vip, err)
		}
	}
}

func TestPingIsAnsweredOnlyIfWanted(t *testing.T) {
	for answer, want := range map[bool]string{true: "answer", false: "port unreachable"} {
		t.Run(fmt.Sprint(answer), func(t *testing.T) {
			r := loopingRouter(t)
			w := r.wanted()
			// No Service has the other addresses of an aggregate.
			w.Networks = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/28"), netip.MustParsePrefix("2001:db8:113::/64")}
			r.refuse(answer, w)
			for _, vip := range routedVIPs {
				if got := r.ping(vip); got != want {
					t.Errorf("a ping to %s got %q, want %q", vip, got, want)
				}
				if got := r.ping(vip.Next()); got != "port unreachable" {
					t.Errorf("a ping to %s, which no Service has, got %q", vip.Next(), got)
				}
			}
		})
	}
}

// A ping to an address that no interface has goes back and forth between the router and the
// node, until its TTL ends.
func TestPingLoopEndsAtTheNode(t *testing.T) {
	r := loopingRouter(t)
	for _, vip := range routedVIPs {
		r.count(vip)
		r.sendPing(vip)
		eventually(t, "the ping loops", func() bool { return r.counted() > 25 })
	}
	r.refuse(false, r.wanted())
	for _, vip := range routedVIPs {
		r.count(vip)
		for range 5 {
			r.ping(vip) // waits until it is rejected
		}
		if n := r.counted(); n != 5 {
			t.Errorf("5 pings to %s were %d packets", vip, n)
		}
	}
}

// kube-proxy is a DNAT rule here, and for the port 81 a rule that drops, like the one for
// loadBalancerSourceRanges.
func TestRefusalTouchesNoPortThatKubeProxyTakes(t *testing.T) {
	r := loopingRouter(t)
	r.serve()
	for _, vip := range routedVIPs {
		r.nft(fmt.Sprintf(`add rule inet proxy nat %[1]s daddr %[2]s tcp dport 80 dnat %[1]s to %[3]s`, family(vip), vip, r.pod(vip)),
			fmt.Sprintf(`add rule inet proxy filter %s daddr %s tcp dport 81 counter drop`, family(vip), vip))
	}
	r.refuse(true, r.wanted())
	for _, vip := range routedVIPs {
		if err := r.connect(vip, 80); err != nil {
			t.Errorf("TCP to the open port of %s: %v", vip, err)
		}
		if err := r.connect(vip, 81); !isTimeout(err) {
			t.Errorf("TCP to a port of %s that kube-proxy closes: %v, want a timeout", vip, err)
		}
	}
}

// conntrack does not translate a packet outside of the window. It must not be answered,
// because a reset would end the connection.
func TestStrayPacketEndsNoConnection(t *testing.T) {
	r := loopingRouter(t)
	r.serve()
	vip := routedVIPs[0]
	r.nft(fmt.Sprintf(`add rule inet proxy nat ip daddr %s tcp dport 80 dnat ip to %s`, vip, r.pod(vip)))
	r.refuse(true, r.wanted())
	conn := r.open(vip, 80)
	defer conn.Close()
	r.sendStraySegments(conn)
	// Packets of two sockets can overtake one another.
	eventually(t, "a stray segment is dropped", func() bool { return r.dropped("not the first packet of a connection") })
	r.echoes(conn)
}

// An ICMP error about no connection is neither answered nor forwarded. Routers with several
// nodes to choose from can send the error to another node than the connection.
func TestErrorAboutNoConnectionIsDropped(t *testing.T) {
	r := loopingRouter(t)
	r.refuse(true, r.wanted())
	for _, vip := range routedVIPs {
		r.count(vip)
		r.sendUnreachable(vip)
		eventually(t, "the error is dropped", func() bool { return r.dropped("not the first packet of a connection") })
		r.ping(vip) // when it is answered, the error would have looped
		if n := r.counted(); n != 2 {
			t.Errorf("an error and a ping to %s were %d packets", vip, n)
		}
		r.refuse(true, r.wanted()) // begins to count anew
	}
}

// kube-proxy may learn of a port after the speaker. A client that is refused gives up, and
// a client that gets no answer tries again.
func TestPortOfAServiceIsDroppedUntilKubeProxyHasIt(t *testing.T) {
	r := loopingRouter(t)
	r.serve()
	w := r.wanted()
	for _, vip := range routedVIPs {
		w.Taken = append(w.Taken, closedports.Port{Addr: vip, Protocol: tcp, Number: 80}, closedports.Port{Addr: vip, Protocol: udp, Number: 81})
	}
	r.refuse(true, w)
	for _, vip := range routedVIPs {
		connected := make(chan error, 1)
		before := r.drops("a Service has the port, kube-proxy may not know it yet")
		go func() { connected <- r.connectFor(vip, 80, patience) }()
		eventually(t, "a SYN is dropped", func() bool { return r.drops("a Service has the port, kube-proxy may not know it yet") > before })
		r.nft(fmt.Sprintf(`add rule inet proxy nat %[1]s daddr %[2]s tcp dport 80 dnat %[1]s to %[3]s`, family(vip), vip, r.pod(vip)))
		if err := <-connected; err != nil {
			t.Errorf("the connection to %s: %v", vip, err)
		}
		if err := r.connect(vip, 81); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("the port 81 of %s is for UDP only, but TCP got %v", vip, err)
		}
	}
}

// Some container networks have no kube-proxy, and route VIPs to an interface of their own.
func TestPacketsToTheContainerNetworkAreLeftAlone(t *testing.T) {
	r := loopingRouter(t)
	plug(t, "antrea-gw0", "02:00:00:00:00:09")
	ip(t, fmt.Sprintf("route add %s dev antrea-gw0", routedVIPs[0]))
	r.refuse(false, r.wanted())
	if err := r.connect(routedVIPs[0], 80); !isTimeout(err) {
		t.Errorf("TCP got %v, want a timeout", err)
	}
}

func TestStaleTableIsReplacedAndRemovedAtTheEnd(t *testing.T) {
	r := loopingRouter(t)
	r.nft("add table inet "+closedports.TableName, "add set inet "+closedports.TableName+" links { type ipv4_addr; }",
		"add chain inet "+closedports.TableName+" forward { type filter hook forward priority 0; policy drop; }")
	stop := r.refuse(true, r.wanted())
	if err := r.connect(routedVIPs[0], 80); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("TCP got %v", err)
	}
	stop()
	if r.hasTable() {
		t.Error("the table is there")
	}
}

// The speaker may be killed and uninstalled.
func TestRulesOfADeadSpeakerEndByThemselves(t *testing.T) {
	r := loopingRouter(t)
	r.refuse(true, r.wanted())
	if left := r.lifetimes(); len(left) != 2 || left[0] <= 0 || left[1] <= 0 {
		t.Fatalf("the rules end after %v, want a time for each family", left)
	}
	r.nft("flush set inet " + closedports.TableName + " alive") // as if the time were over
	r.count(routedVIPs[0])
	r.sendPing(routedVIPs[0])
	eventually(t, "the ping loops again", func() bool { return r.counted() > 25 })
}

func TestSameSetTouchesTheKernelOnce(t *testing.T) {
	r := loopingRouter(t)
	r.refuse(true, r.wanted())
	before := generation(t)
	r.refuser.Set(r.wanted())
	less := r.wanted()
	less.Addrs = less.Addrs[:1]
	r.refuser.Set(less) // Run makes the changes one after the other
	eventually(t, "the change is made", func() bool { return len(r.elements("addresses6")) == 0 })
	if n := generation(t) - before; n != 1 {
		t.Errorf("%d transactions, want one for the change", n)
	}
}

func TestSetsFollowEveryChange(t *testing.T) {
	r := loopingRouter(t)
	r.refuse(true, r.wanted())
	random := rand.New(rand.NewPCG(1, 2))
	addr := func() netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, byte(random.Uint32())}) }
	for range 100 {
		w := closedports.Wanted{Links: []string{"router-0"}}
		var addrs, taken []string // the elements that the sets should have
		for range random.IntN(20) {
			a := addr()
			w.Addrs = append(w.Addrs, a)
			w.Taken = append(w.Taken, closedports.Port{Addr: a, Protocol: tcp, Number: 80})
			addrs, taken = append(addrs, string(a.AsSlice())), append(taken, string(a.AsSlice())+"\x06\x00\x00\x00\x00\x50\x00\x00")
		}
		covered := map[netip.Addr]bool{}
		for range random.IntN(5) {
			p := netip.PrefixFrom(addr(), 26+random.IntN(6)).Masked()
			w.Networks = append(w.Networks, p)
			for a := p.Addr(); p.Contains(a); a = a.Next() {
				covered[a] = true
			}
		}
		r.refuser.Set(w)
		addrs, taken = unique(addrs), unique(taken)
		eventually(t, "the sets are those that are wanted", func() bool {
			return slices.Equal(r.elements("addresses4"), addrs) && slices.Equal(r.elements("taken4"), taken) && r.networks() == len(covered)
		})
	}
	if problem := r.problem.Load(); problem != nil {
		t.Errorf("a change has failed: %s", *problem)
	}
}

func TestManyAddressesAreOneTransaction(t *testing.T) {
	r := loopingRouter(t)
	r.refuse(true, r.wanted())
	before, w := generation(t), r.wanted()
	const total = 10000
	for addr := routedVIPs[1].Next(); len(w.Addrs) < total; addr = addr.Next() {
		w.Addrs = append(w.Addrs, addr)
		w.Taken = append(w.Taken, closedports.Port{Addr: addr, Protocol: tcp, Number: 80}, closedports.Port{Addr: addr, Protocol: udp, Number: 443})
	}
	r.refuser.Set(w)
	eventually(t, "all ports are there", func() bool { return len(r.rawElements("taken6")) == len(w.Taken) })
	if n := generation(t) - before; n != 1 {
		t.Errorf("%d transactions", n)
	}
	r.refuser.Set(r.wanted())
	eventually(t, "all ports are gone", func() bool { return len(r.rawElements("taken6")) == 0 && len(r.rawElements("addresses6")) == 1 })
	if problem := r.problem.Load(); problem != nil {
		t.Errorf("a change has failed: %s", *problem)
	}
}
