package integration

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

func TestBGPRouterSpreadsConnectionsOverAllNodes(t *testing.T) {
	f := setUp(t)
	for _, daemon := range daemons {
		f.Run(daemon, func(f *fixture) {
			r := f.router(cluster.RouterOptions{Daemon: daemon})
			f.pools(routedPools("bgp", ""))
			f.create(service("spread", labelled("routed"), families(v1.IPFamilyPolicyRequireDualStack, v1.IPv4Protocol, v1.IPv6Protocol)))
			vips := strings.Split(f.assigned("spread"), ",")
			for _, vip := range vips {
				f.routedOver(r, vip, "node1", "node2", "node3")
				f.eventually("a page from "+vip, func() bool { _, err := r.Fetch(f.Context(), vip); return err == nil })
			}
			const connections = 1000
			through, err := f.cluster.Carried(f.Context(), cluster.Outside, vips[0], "80", connections)
			f.must(err)
			f.Logf("%d connections: %v", connections, through)
			if len(through) != 3 {
				f.Errorf("they came over %d nodes", len(through))
			}
			for from, n := range through {
				if n > connections*45/100 {
					f.Errorf("%d of %d connections came over %s", n, connections, from)
				}
			}
		})
	}
}

// Each kube-proxy remembers on its own which pod a client was sent to. So all
// connections of a client must enter by the same node.
func TestSessionAffinityKeepsAClientOnItsPod(t *testing.T) {
	f := setUp(t)
	for _, daemon := range daemons {
		f.Run(daemon, func(f *fixture) {
			r := f.router(cluster.RouterOptions{Daemon: daemon, BFD: 100 * time.Millisecond})
			f.pools(routedPools("bgp", ", bfd-profile: fast"))
			affinity := func(s *v1.Service) { s.Spec.SessionAffinity = v1.ServiceAffinityClientIP }
			f.create(service("sticky", labelled("routed"), families(v1.IPFamilyPolicyRequireDualStack, v1.IPv4Protocol, v1.IPv6Protocol), affinity))
			vips := strings.Split(f.assigned("sticky"), ",")
			f.bfdUp()
			best := map[string]string{}
			for _, vip := range vips {
				best[vip] = f.routedOverOne(r, vip, "")
				f.staysOnOnePod(r, vip)
			}
			dead := f.cluster.Node(best[vips[0]])
			f.must(dead.Kill())
			f.Cleanup(func() { f.must(dead.Revive()); f.settled() })
			for _, vip := range vips {
				f.routedOverOne(r, vip, dead.Name)
				f.staysOnOnePod(r, vip)
			}
			f.must(dead.Revive())
			for _, vip := range vips {
				f.routedOver(r, vip, best[vip])
			}
			f.kubectl("patch", "service", "sticky", "-p", `{"spec":{"sessionAffinity":"None"}}`)
			for _, vip := range vips {
				f.routedOver(r, vip, "node1", "node2", "node3")
			}
			f.kubectl("patch", "service", "sticky", "-p", `{"spec":{"sessionAffinity":"ClientIP"}}`)
			for _, vip := range vips {
				f.routedOver(r, vip, best[vip])
			}
		})
	}
}

func TestLocalPolicyRoutesOnlyToNodesWithEndpoints(t *testing.T) {
	f := setUp(t)
	r := f.router(cluster.RouterOptions{Daemon: "BIRD"})
	f.pools(routedPools("bgp", ""))
	f.runOn("close1", "close", "node1")
	f.create(service("close", local("close"), labelled("routed")))
	vip := f.assigned("close")
	f.routedOver(r, vip, "node1")
	f.runOn("close3", "close", "node3")
	f.routedOver(r, vip, "node1", "node3")
	var page string
	f.eventually("kube-proxy of both nodes forwards to the pod", func() bool {
		var err error
		page, err = r.Fetch(f.Context(), vip)
		return err == nil
	})
	if !strings.Contains(page, "Your address is 172.31.0.100.\n") {
		f.Errorf("the pod does not see the client's address: %s", page)
	}
	f.kubectl("delete", "pod", "close1", "close3")
	f.routedOver(r, vip)
}

func TestAddressWithoutEndpointsIsWithdrawn(t *testing.T) {
	f := setUp(t)
	r := f.router(cluster.RouterOptions{Daemon: "BIRD"})
	f.pools(strings.Replace(routedPools("bgp", ""), "  priority: 1\n", "  priority: 1\n  withdraw-without-endpoints: true\n", 1))
	f.create(service("watched", labelled("routed"), func(s *v1.Service) { s.Spec.Selector = map[string]string{"app": "watched"} }))
	f.create(service("other", labelled("routed")))
	vip := f.assigned("watched")
	f.routedOver(r, f.assigned("other"), "node1", "node2", "node3")
	f.routedOver(r, vip)
	f.says("watched", announced, metav1.ConditionFalse, "NoEndpoint", "no endpoint is ready")
	f.runOn("watched1", "watched", "node1")
	f.routedOver(r, vip, "node1", "node2", "node3")
	f.eventually("a page", func() bool { _, err := r.Fetch(f.Context(), vip); return err == nil })
	f.kubectl("delete", "pod", "watched1")
	f.routedOver(r, vip)
}

func TestExcludedNodeIsNotRoutedTo(t *testing.T) {
	f := setUp(t)
	r := f.router(cluster.RouterOptions{Daemon: "FRR"})
	f.pools(routedPools("bgp", ""))
	f.create(service("excluded", labelled("routed")))
	vip := f.assigned("excluded")
	f.routedOver(r, vip, "node1", "node2", "node3")
	f.kubectl("label", "node", "node1", v1.LabelNodeExcludeBalancers+"=")
	f.Cleanup(func() { f.kubectl("label", "node", "node1", v1.LabelNodeExcludeBalancers+"-") })
	f.routedOver(r, vip, "node2", "node3")
	unavailable := `{"status":{"conditions":[{"type":"NetworkUnavailable","status":"%s"}]}}`
	f.kubectl("patch", "node", "node2", "--subresource=status", "-p", fmt.Sprintf(unavailable, "True"))
	f.Cleanup(func() {
		f.kubectl("patch", "node", "node2", "--subresource=status", "-p", fmt.Sprintf(unavailable, "False"))
	})
	f.routedOver(r, vip, "node3")
	f.kubectl("label", "node", "node1", v1.LabelNodeExcludeBalancers+"-")
	f.kubectl("patch", "node", "node2", "--subresource=status", "-p", fmt.Sprintf(unavailable, "False"))
	f.routedOver(r, vip, "node1", "node2", "node3")
}

func TestPeerPasswordComesFromASecret(t *testing.T) {
	f := setUp(t)
	f.router(cluster.RouterOptions{Daemon: "FRR", Password: "sesame"})
	f.pools(routedPools("bgp", ", password-secret: router-password"))
	const role = "baremetal-speaker-router-password"
	create := "create role " + role + " --verb=get,list,watch --resource=secrets --resource-name=router-password"
	bind := "create rolebinding " + role + " --role=" + role + " --serviceaccount=baremetal-system:baremetal-speaker"
	f.event("Node", "node1", "BGPSessionFailed", "the speaker may not read the Secret baremetal-system/router-password; allow it: "+
		"kubectl -n baremetal-system "+create+" && kubectl -n baremetal-system "+bind)
	for _, command := range []string{create, bind} {
		f.kubectl(append([]string{"-n", "baremetal-system"}, strings.Fields(command)...)...)
	}
	f.Cleanup(func() { f.kubectl("-n", "baremetal-system", "delete", "role,rolebinding", role) })
	f.event("Node", "node1", "BGPSessionFailed", "there is no Secret baremetal-system/router-password of type kubernetes.io/basic-auth")
	secret := func(password string) {
		_, err := f.cluster.Client.CoreV1().Secrets("baremetal-system").Create(f.Context(), &v1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: "router-password"}, Type: v1.SecretTypeBasicAuth, StringData: map[string]string{"password": password}}, metav1.CreateOptions{})
		f.must(err)
	}
	secret("wrong")
	f.Cleanup(func() {
		f.kubectl("-n", "baremetal-system", "delete", "secret", "router-password", "--ignore-not-found")
	})
	f.event("Node", "node1", "BGPSessionFailed", "or the password differs")
	metrics, err := f.cluster.Node("node1").Get(f.Context(), "/metrics")
	f.must(err)
	if !strings.Contains(metrics, `baremetal_bgp_session_problem{peer="router",problem="`+cluster.RouterIPv4+" port 179 does not answer") {
		f.Error("no metric names the problem of the session")
	}
	f.kubectl("-n", "baremetal-system", "delete", "secret", "router-password")
	secret("sesame")
	f.eventually("the session is up", func() bool {
		text, err := f.cluster.Node("node1").Get(context.Background(), "/metrics")
		return err == nil && strings.Contains(text, `baremetal_bgp_session_up{peer="router"} 1`)
	})
	f.event("Node", "node1", "BGPSessionUp", "The BGP session with router ("+cluster.RouterIPv4+") is up")
}

func TestPoolCanChangeItsProtocol(t *testing.T) {
	f := setUp(t)
	r := f.router(cluster.RouterOptions{Daemon: "BIRD"})
	f.pools(cluster.DefaultPools)
	f.create(service("changing"))
	vip := f.assigned("changing")
	f.fetched(vip)
	change := func(protocol string) {
		f.Helper()
		text := strings.ReplaceAll(routedPools("bgp", ""), "protocol: layer2", "protocol: "+protocol)
		f.must(f.cluster.SetPools(f.Context(), text))
	}
	onLink := func(want int) {
		f.Helper()
		f.eventually(fmt.Sprintf("%d nodes answer ARP", want), func() bool {
			macs, err := f.cluster.WhoHas(vip, 200*time.Millisecond)
			f.must(err)
			return len(macs) == want
		})
	}
	change("both")
	f.routedOver(r, vip, "node1", "node2", "node3")
	onLink(1)
	change("bgp")
	onLink(0)
	f.routedOver(r, vip, "node1", "node2", "node3")
	f.eventually("a page from behind the router", func() bool { _, err := r.Fetch(f.Context(), vip); return err == nil })
	change("layer2")
	f.routedOver(r, vip)
	onLink(1)
	f.fetched(vip)
	if got := addressesOf(f.get("changing")); got != vip {
		f.Errorf("the address was %s and now is %s", vip, got)
	}
}
