package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// routedPools are a pool of BGP, outside of the segment, with the router as the
// only peer; peer are more keys of it.
func routedPools(protocol, peer string) string {
	return fmt.Sprintf(`peers:
- {name: router, my-asn: %d, peer-asn: %d, peer-address: %s%s}
bfd-profiles:
- {name: fast, receive-interval: 100, transmit-interval: 100, detect-multiplier: 3}
address-pools:
- name: default
  protocol: layer2
  addresses: [192.168.120.200-192.168.120.250, "fd00:120::200-fd00:120::2ff"]
- name: routed
  protocol: %s
  priority: 1
  addresses: [198.51.100.0/28, "2001:db8:100::/124"]
  service-selectors: [{match-labels: {routed: ""}}]
`, cluster.NodesASN, cluster.RouterASN, cluster.RouterIPv4, peer, protocol)
}

// router starts a router, and ends it at the end of the test.
func router(t *testing.T, o cluster.RouterOptions) *cluster.Router {
	t.Helper()
	r, err := the.StartRouter(context.Background(), o)
	must(t, err)
	t.Cleanup(r.Close)
	return r
}

// routedOver waits until the router sends packets for the address to these nodes.
func routedOver(t *testing.T, r *cluster.Router, vip string, nodes ...string) {
	t.Helper()
	var got []string
	err := the.Wait(context.Background(), fmt.Sprintf("%s is routed over %v", vip, nodes), func() bool {
		var err error
		got, err = r.NextHops(vip)
		must(t, err)
		return slices.Equal(got, nodes)
	})
	if err != nil {
		t.Fatalf("%v; it is over %v", err, got)
	}
}

// bfdUp waits until the path from every node to the router is watched.
func bfdUp(t *testing.T) {
	t.Helper()
	for _, n := range the.Nodes() {
		eventually(t, "BFD of "+n.Name+" is up", func() bool {
			text, err := n.Get(context.Background(), "/debug/bgp")
			return err == nil && strings.Contains(text, "bfd=Up")
		})
	}
}

var daemons = []string{"FRR", "BIRD"}

func TestARouterSpreadsConnectionsOverAllNodes(t *testing.T) {
	for _, daemon := range daemons {
		t.Run(daemon, func(t *testing.T) {
			r := router(t, cluster.RouterOptions{Daemon: daemon})
			pools(t, routedPools("bgp", ""))
			create(t, service("spread", labelled("routed"), families(v1.IPFamilyPolicyRequireDualStack, v1.IPv4Protocol, v1.IPv6Protocol)))
			vips := strings.Split(assigned(t, "spread"), ",")
			for _, vip := range vips {
				routedOver(t, r, vip, "node1", "node2", "node3")
				eventually(t, "a page from "+vip, func() bool { _, err := r.Fetch(t.Context(), vip); return err == nil })
			}
			const connections = 1000
			through := map[string]int{} // the node that sends it on has put in its own address
			for range connections {
				page, err := r.Fetch(t.Context(), vips[0])
				must(t, err)
				_, rest, _ := strings.Cut(page, "; you are ")
				from, _, _ := strings.Cut(rest, " to me")
				through[from]++
			}
			t.Logf("%d connections: %v", connections, through)
			if len(through) != 3 {
				t.Errorf("they came over %d nodes", len(through))
			}
			for from, n := range through {
				if n > connections*45/100 {
					t.Errorf("%d of %d connections came over %s", n, connections, from)
				}
			}
		})
	}
}

func TestARouterSendsNothingToADeadNode(t *testing.T) {
	for _, daemon := range daemons {
		t.Run(daemon, func(t *testing.T) {
			r := router(t, cluster.RouterOptions{Daemon: daemon, BFD: 100 * time.Millisecond})
			pools(t, routedPools("bgp", ", bfd-profile: fast"))
			create(t, service("dying", labelled("routed")))
			vip := assigned(t, "dying")
			routedOver(t, r, vip, "node1", "node2", "node3")
			bfdUp(t)
			dead := the.Node("node2")
			must(t, dead.Kill())
			t.Cleanup(func() { must(t, dead.Revive()); settled(t) })
			routedOver(t, r, vip, "node1", "node3")
			for range 50 {
				_, err := r.Fetch(t.Context(), vip)
				must(t, err)
			}
			must(t, dead.Revive())
			routedOver(t, r, vip, "node1", "node2", "node3")
		})
	}
}

// Each kube-proxy remembers for itself which pod a client has.
func TestWithSessionAffinityAClientStaysWithItsPod(t *testing.T) {
	for _, daemon := range daemons {
		t.Run(daemon, func(t *testing.T) {
			r := router(t, cluster.RouterOptions{Daemon: daemon, BFD: 100 * time.Millisecond})
			pools(t, routedPools("bgp", ", bfd-profile: fast"))
			affinity := func(s *v1.Service) { s.Spec.SessionAffinity = v1.ServiceAffinityClientIP }
			create(t, service("sticky", labelled("routed"), families(v1.IPFamilyPolicyRequireDualStack, v1.IPv4Protocol, v1.IPv6Protocol), affinity))
			vips := strings.Split(assigned(t, "sticky"), ",")
			bfdUp(t)
			best := map[string]string{}
			for _, vip := range vips {
				best[vip] = routedOverOne(t, r, vip, "")
				stays(t, r, vip)
			}
			dead := the.Node(best[vips[0]])
			must(t, dead.Kill())
			t.Cleanup(func() { must(t, dead.Revive()); settled(t) })
			for _, vip := range vips {
				routedOverOne(t, r, vip, dead.Name)
				stays(t, r, vip)
			}
			must(t, dead.Revive())
			for _, vip := range vips {
				routedOver(t, r, vip, best[vip])
			}
			kubectl(t, "patch", "service", "sticky", "-p", `{"spec":{"sessionAffinity":"None"}}`)
			for _, vip := range vips {
				routedOver(t, r, vip, "node1", "node2", "node3")
			}
			kubectl(t, "patch", "service", "sticky", "-p", `{"spec":{"sessionAffinity":"ClientIP"}}`)
			for _, vip := range vips {
				routedOver(t, r, vip, best[vip])
			}
		})
	}
}

// routedOverOne waits until the router sends packets for the address to a single
// node that is not the other one, and returns it.
func routedOverOne(t *testing.T, r *cluster.Router, vip, other string) string {
	t.Helper()
	var got []string
	eventually(t, vip+" is routed over one node", func() bool {
		var err error
		got, err = r.NextHops(vip)
		must(t, err)
		return len(got) == 1 && got[0] != other
	})
	return got[0]
}

// stays checks that all connections of the host behind the router come to one pod.
func stays(t *testing.T, r *cluster.Router, vip string) {
	t.Helper()
	var first string
	eventually(t, "a page from "+vip, func() (ok bool) {
		var err error
		first, err = r.Fetch(t.Context(), vip)
		return err == nil
	})
	for range 50 {
		page, err := r.Fetch(t.Context(), vip)
		must(t, err)
		if page != first {
			t.Fatalf("one connection has the answer %q, another %q", first, page)
		}
	}
}

func TestOnlyNodesWithAnEndpointAreRoutedToWithPolicyLocal(t *testing.T) {
	r := router(t, cluster.RouterOptions{Daemon: "BIRD"})
	pools(t, routedPools("bgp", ""))
	runOn(t, "close1", "close", "node1")
	create(t, service("close", local("close"), labelled("routed")))
	vip := assigned(t, "close")
	routedOver(t, r, vip, "node1")
	runOn(t, "close3", "close", "node3")
	routedOver(t, r, vip, "node1", "node3")
	var page string
	eventually(t, "kube-proxy of both knows it, too", func() bool {
		var err error
		page, err = r.Fetch(t.Context(), vip)
		return err == nil
	})
	if !strings.Contains(page, "you are 172.31.0.100") {
		t.Errorf("the pod does not see the client's address: %s", page)
	}
	kubectl(t, "delete", "pod", "close1", "close3")
	routedOver(t, r, vip)
}

func TestAnExcludedNodeIsNotRoutedTo(t *testing.T) {
	r := router(t, cluster.RouterOptions{Daemon: "FRR"})
	pools(t, routedPools("bgp", ""))
	create(t, service("excluded", labelled("routed")))
	vip := assigned(t, "excluded")
	routedOver(t, r, vip, "node1", "node2", "node3")
	kubectl(t, "label", "node", "node1", v1.LabelNodeExcludeBalancers+"=")
	t.Cleanup(func() { kubectl(t, "label", "node", "node1", v1.LabelNodeExcludeBalancers+"-") })
	routedOver(t, r, vip, "node2", "node3")
	unavailable := `{"status":{"conditions":[{"type":"NetworkUnavailable","status":"%s"}]}}`
	kubectl(t, "patch", "node", "node2", "--subresource=status", "-p", fmt.Sprintf(unavailable, "True"))
	t.Cleanup(func() {
		kubectl(t, "patch", "node", "node2", "--subresource=status", "-p", fmt.Sprintf(unavailable, "False"))
	})
	routedOver(t, r, vip, "node3")
	kubectl(t, "label", "node", "node1", v1.LabelNodeExcludeBalancers+"-")
	kubectl(t, "patch", "node", "node2", "--subresource=status", "-p", fmt.Sprintf(unavailable, "False"))
	routedOver(t, r, vip, "node1", "node2", "node3")
}

// A connection that is being opened when the routes change may be sent on by
// another node, which knows nothing of it: that is what rehashing costs.
func TestARollingRestartOfTheSpeakersLosesNoConnection(t *testing.T) {
	for _, test := range []struct {
		name   string
		router cluster.RouterOptions
		peer   string
		lost   int // at most, a restart
	}{
		{"withdrawn routes", cluster.RouterOptions{Daemon: "FRR"}, "", 2},
		{"graceful restart", cluster.RouterOptions{Daemon: "FRR", Graceful: true}, ", graceful-restart: 60s", 0},
		{"graceful restart and BFD", cluster.RouterOptions{Daemon: "BIRD", Graceful: true, BFD: 100 * time.Millisecond}, ", graceful-restart: 60s, bfd-profile: fast", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := router(t, test.router)
			pools(t, routedPools("bgp", test.peer))
			create(t, service("rolling", labelled("routed")))
			vip := assigned(t, "rolling")
			routedOver(t, r, vip, "node1", "node2", "node3")
			if test.router.BFD > 0 {
				bfdUp(t)
			}
			eventually(t, "a page", func() bool { _, err := r.Fetch(t.Context(), vip); return err == nil })
			probe, err := r.StartProbe(vip)
			must(t, err)
			defer probe.Stop()
			begun := time.Now()
			for _, n := range the.Nodes() {
				n.Speaker().Stop()
				if test.router.Graceful {
					routedOver(t, r, vip, "node1", "node2", "node3")
				} else {
					routedOver(t, r, vip, slices.DeleteFunc([]string{"node1", "node2", "node3"}, func(name string) bool { return name == n.Name })...)
				}
				must(t, n.StartSpeaker(context.Background()))
				must(t, n.WaitReady(context.Background()))
				eventually(t, "the session of "+n.Name+" is up", func() bool {
					text, err := n.Get(context.Background(), "/metrics")
					return err == nil && strings.Contains(text, `baremetal_bgp_session_up{peer="router"} 1`)
				})
				routedOver(t, r, vip, "node1", "node2", "node3")
				settled(t)
			}
			n := len(probe.Attempts(begun))
			eventually(t, "the client goes on", func() bool { return len(probe.Attempts(begun)) > n+100 })
			failed := 0
			for _, a := range probe.Attempts(begun) {
				if !a.OK {
					failed++
				}
			}
			t.Logf("%d connections, %d failed", len(probe.Attempts(begun)), failed)
			if failed > test.lost*len(the.Nodes()) {
				t.Errorf("%d connections failed", failed)
			}
		})
	}
}

func TestADrainedNodeWithdrawsItsRoutesInSpiteOfGracefulRestart(t *testing.T) {
	r := router(t, cluster.RouterOptions{Daemon: "FRR", Graceful: true})
	pools(t, routedPools("bgp", ", graceful-restart: 60s"))
	create(t, service("drained", labelled("routed")))
	vip := assigned(t, "drained")
	routedOver(t, r, vip, "node1", "node2", "node3")
	probe, err := r.StartProbe(vip)
	must(t, err)
	defer probe.Stop()
	begun := time.Now()
	n := the.Node("node1")
	kubectl(t, "drain", n.Name, "--ignore-daemonsets", "--force")
	t.Cleanup(func() { kubectl(t, "uncordon", n.Name) })
	routedOver(t, r, vip, "node1", "node2", "node3") // it goes on forwarding until it goes down
	n.Speaker().Stop()
	t.Cleanup(func() {
		must(t, n.StartSpeaker(context.Background()))
		must(t, n.WaitReady(context.Background()))
		settled(t)
	})
	routedOver(t, r, vip, "node2", "node3")
	attempts := len(probe.Attempts(begun))
	eventually(t, "the client goes on", func() bool { return len(probe.Attempts(begun)) > attempts+100 })
	if failed := slices.DeleteFunc(probe.Attempts(begun), func(a cluster.Attempt) bool { return a.OK }); len(failed) > 2 {
		t.Errorf("%d connections failed", len(failed))
	}
}

func TestThePasswordOfAPeerComesFromASecret(t *testing.T) {
	router(t, cluster.RouterOptions{Daemon: "FRR", Password: "sesame"})
	pools(t, routedPools("bgp", ", password-secret: router-password"))
	event(t, "Node", "node1", "BGPSessionFailed", "there is no Secret baremetal-system/router-password of type kubernetes.io/basic-auth")
	secret := func(password string) {
		_, err := the.Client.CoreV1().Secrets("baremetal-system").Create(t.Context(), &v1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: "router-password"}, Type: v1.SecretTypeBasicAuth, StringData: map[string]string{"password": password}}, metav1.CreateOptions{})
		must(t, err)
	}
	secret("wrong")
	t.Cleanup(func() {
		kubectl(t, "-n", "baremetal-system", "delete", "secret", "router-password", "--ignore-not-found")
	})
	event(t, "Node", "node1", "BGPSessionFailed", "or the password differs")
	metrics, err := the.Node("node1").Get(t.Context(), "/metrics")
	must(t, err)
	if !strings.Contains(metrics, `baremetal_bgp_session_problem{peer="router",problem="`+cluster.RouterIPv4+" port 179 does not answer") {
		t.Error("no metric says what is wrong")
	}
	kubectl(t, "-n", "baremetal-system", "delete", "secret", "router-password")
	secret("sesame")
	eventually(t, "the session is up", func() bool {
		text, err := the.Node("node1").Get(context.Background(), "/metrics")
		return err == nil && strings.Contains(text, `baremetal_bgp_session_up{peer="router"} 1`)
	})
	event(t, "Node", "node1", "BGPSessionUp", "The BGP session with router ("+cluster.RouterIPv4+") is up")
}

func TestARouterThatIsRestartedIsToldEverythingAgain(t *testing.T) {
	r := router(t, cluster.RouterOptions{Daemon: "BIRD"})
	pools(t, routedPools("bgp", ""))
	create(t, service("told", labelled("routed")))
	vip := assigned(t, "told")
	routedOver(t, r, vip, "node1", "node2", "node3")
	r.Kill()
	must(t, r.Forget())
	routedOver(t, r, vip)
	eventually(t, "node2 says why", func() bool {
		text, err := the.Node("node2").Get(context.Background(), "/debug/bgp")
		return err == nil && !strings.Contains(text, "ESTABLISHED") && strings.Contains(text, "problem=")
	})
	event(t, "Node", "node2", "BGPSessionDown", "has closed the connection")
	must(t, r.Restart(t.Context()))
	routedOver(t, r, vip, "node1", "node2", "node3")
	eventually(t, "a page", func() bool { _, err := r.Fetch(t.Context(), vip); return err == nil })
}

func TestAPoolCanChangeItsProtocol(t *testing.T) {
	r := router(t, cluster.RouterOptions{Daemon: "BIRD"})
	pools(t, cluster.DefaultPools)
	create(t, service("changing"))
	vip := assigned(t, "changing")
	fetched(t, vip)
	change := func(protocol string) {
		t.Helper()
		text := strings.ReplaceAll(routedPools("bgp", ""), "protocol: layer2", "protocol: "+protocol)
		must(t, the.SetPools(t.Context(), text))
	}
	onLink := func(want int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d nodes answer ARP", want), func() bool {
			macs, err := the.WhoHas(vip, 200*time.Millisecond)
			must(t, err)
			return len(macs) == want
		})
	}
	change("both")
	routedOver(t, r, vip, "node1", "node2", "node3")
	onLink(1)
	change("bgp")
	onLink(0)
	routedOver(t, r, vip, "node1", "node2", "node3")
	eventually(t, "a page from behind the router", func() bool { _, err := r.Fetch(t.Context(), vip); return err == nil })
	change("layer2")
	routedOver(t, r, vip)
	onLink(1)
	fetched(t, vip)
	if got := addressesOf(get(t, "changing")); got != vip {
		t.Errorf("the address is %s now, and was %s", got, vip)
	}
}
