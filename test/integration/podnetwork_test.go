package integration

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// needsKubelets skips a test unless `make cni` runs it.
func needsKubelets(t *testing.T) {
	t.Helper()
	if os.Getenv("NETWORK") == "" {
		t.Skip("this needs pods with addresses of their own; `make cni` has them")
	}
}

// A pod reaches an address from every node: from the owner, from the node of the only
// endpoint, and from a third node.
func TestPodsReachTheAddressFromEveryNode(t *testing.T) {
	needsKubelets(t)
	f := setUp(t)
	f.create(service("inside", dualStack, func(s *v1.Service) { s.Spec.Selector = map[string]string{"app": "inside"} }))
	vips := strings.Split(f.assigned("inside"), ",")
	f.runOn("inside", "inside", others(f.announcer(vips[0]))[0])
	for _, vip := range vips {
		f.fetched(vip)
	}
	for _, node := range allNodes {
		name := "asks-" + node
		f.kubectl("run", name, "--image="+cluster.Agnhost, `--overrides={"spec":{"nodeName":"`+node+`"}}`)
		f.Cleanup(func() { f.kubectl("delete", "pod", name, "--now") })
		f.kubectl("wait", "pod", name, "--for=condition=Ready", "--timeout=60s")
		for _, vip := range vips {
			var page string
			f.eventually("a page from "+vip+" for a pod on "+node, func() bool {
				var err error
				page, err = f.cluster.Kubectl(f.Context(), "exec", name, "--", "curl", "-sS", "-m", "2", "http://"+net.JoinHostPort(vip, "80")+"/")
				return err == nil
			})
			if p, err := cluster.ParsePage(page); err != nil || p.Pod != "inside" {
				f.Errorf("a pod on %s got %q from %s: %v", node, page, vip, err)
			}
		}
	}
}

// A router accepts one session from an address. If kube-router on a node has that session, the
// speaker of the node needs another address.
func TestSpeakerNeedsItsOwnAddressBesideKubeRouter(t *testing.T) {
	if os.Getenv("NETWORK") != "kube-router" {
		t.Skip("this needs kube-router; `make cni` runs it")
	}
	f := setUp(t)
	r := f.router(cluster.RouterOptions{Daemon: "BIRD"})
	node := f.cluster.Node("node1")
	f.must(node.StartPodNetwork("--peer-router-ips="+cluster.RouterIPv4, fmt.Sprint("--peer-router-asns=", cluster.RouterASN)))
	f.Cleanup(func() { f.must(node.StartPodNetwork()) })
	f.eventually("kube-router has a session with the router", func() bool {
		return strings.Contains(node.PodNetwork().Log(), `msg="Peer Up" Key=`+cluster.RouterIPv4+" ")
	})

	f.pools(routedPools("bgp", ""))
	f.create(service("beside", labelled("routed")))
	vip := f.assigned("beside")
	f.routedOver(r, vip, "node2", "node3")
	var text string
	f.eventually("the speaker of node1 says that the router does not accept its session", func() bool {
		var err error
		text, err = node.Get(f.Context(), "/debug/bgp")
		return err == nil && strings.Contains(text, "no other program of this node has a session")
	})
	f.Log(text)

	const second = "192.168.120.31"
	f.must(exec.Command("ip", "-n", "node1", "addr", "add", second+"/24", "dev", "eth0").Run())
	f.Cleanup(func() { f.must(exec.Command("ip", "-n", "node1", "addr", "del", second+"/24", "dev", "eth0").Run()) })
	others := routedPools("bgp", `, node-selectors: [{match-expressions: [{key: kubernetes.io/hostname, operator: NotIn, values: [node1]}]}]`)
	own := fmt.Sprintf("peers:\n- {name: node1, my-asn: %d, peer-asn: %d, peer-address: %s, source-address: %s, router-id: %[4]s, node-selectors: [{match-labels: {kubernetes.io/hostname: node1}}]}\n",
		cluster.NodesASN, cluster.RouterASN, cluster.RouterIPv4, second)
	f.pools(strings.Replace(others, "peers:\n", own, 1))
	f.eventually("the router has a route from the second address of node1", func() bool {
		out, err := cluster.Namespaced(f.Context(), "router", "ip", "route", "show", vip).CombinedOutput()
		text = string(out)
		return err == nil && strings.Contains(text, "via "+second+" ")
	})
	f.Log(text)
	if strings.Contains(node.PodNetwork().Log(), `msg="Peer Down" Key=`+cluster.RouterIPv4+" ") {
		f.Error("kube-router has lost its session with the router")
	}
	f.eventually("a page from behind the router", func() bool { _, err := r.Fetch(f.Context(), vip); return err == nil })
}
