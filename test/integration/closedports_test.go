package integration

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// fetchPort gets a page from a port of an address, as some client.
type fetchPort func(ctx context.Context, vip, port string) (string, error)

// refused checks that connections to ports that no Service has are refused. No client may
// have to wait for a timeout.
func (f *fixture) refused(fetch fetchPort, vip string) {
	f.Helper()
	f.eventually("a connection to a closed port of "+vip+" is refused", func() bool {
		_, err := fetch(f.Context(), vip, "81")
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	for _, port := range []string{"22", "79", "81", "443", "6443", "7472", "10250", "30000", "65535"} {
		if _, err := fetch(f.Context(), vip, port); !errors.Is(err, syscall.ECONNREFUSED) {
			f.Errorf("a connection to the port %s of %s: %v", port, vip, err)
		}
	}
}

// closed limits a Service to clients of another network. It waits until kube-proxy drops
// the connections of this client, and checks that no node refuses them.
func (f *fixture) closed(fetch fetchPort, name, vip string) {
	f.Helper()
	f.kubectl("patch", "service", name, "-p", `{"spec":{"loadBalancerSourceRanges":["203.0.113.0/24","2001:db8:113::/64"]}}`)
	dropped := 0
	f.eventually("kube-proxy drops connections to "+vip, func() bool {
		_, err := fetch(f.Context(), vip, "80")
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			dropped++
		} else if err != nil {
			f.Fatalf("a connection from outside of the source ranges: %v, want a timeout", err)
		}
		return dropped == 5
	})
}

func dualStack(s *v1.Service) {
	families(v1.IPFamilyPolicyRequireDualStack, v1.IPv4Protocol, v1.IPv6Protocol)(s)
}

func TestClosedPortIsRefusedByTheOwner(t *testing.T) {
	f := setUp(t)
	f.create(service("closed", dualStack))
	vips := strings.Split(f.assigned("closed"), ",")
	for _, vip := range vips {
		f.fetched(vip)
		f.refused(f.cluster.FetchPort, vip)
		f.fetched(vip)
	}
	for _, vip := range vips {
		f.closed(f.cluster.FetchPort, "closed", vip)
		f.refused(f.cluster.FetchPort, vip)
	}
}

// The router is the default gateway of the nodes. Without the refusal every packet to a
// closed port goes back and forth between the two.
func TestClosedPortIsRefusedBehindARouter(t *testing.T) {
	f := setUp(t)
	r := f.router(cluster.RouterOptions{Daemon: "BIRD", Gateway: true})
	f.pools(routedPools("bgp", ""))
	f.create(service("closed", labelled("routed"), dualStack))
	vips := strings.Split(f.assigned("closed"), ",")
	for _, vip := range vips {
		f.routedOver(r, vip, "node1", "node2", "node3")
		f.eventually("a page from "+vip, func() bool { _, err := r.Fetch(f.Context(), vip); return err == nil })
		f.refused(r.FetchPort, vip)
	}
	for _, vip := range vips {
		f.closed(r.FetchPort, "closed", vip)
		f.refused(r.FetchPort, vip)
	}
}

// An older manifest does not give the speaker the capability.
func TestSpeakerWithoutNetAdminLeavesClosedPortsAlone(t *testing.T) {
	f := setUp(t)
	f.create(service("unrefused"))
	vip := f.assigned("unrefused")
	node := f.owner(vip)
	node.Speaker().Stop()
	p, err := node.StartSpeakerWith(f.Context(), "+net_raw", "--kubeconfig="+f.cluster.Kubeconfig())
	f.must(err)
	f.Cleanup(func() {
		p.Stop()
		f.must(node.StartSpeaker(context.Background()))
		f.settled()
	})
	f.eventually("the log names the capability", func() bool {
		return strings.Contains(p.Log(), "packets for closed ports cannot be refused") && strings.Contains(p.Log(), "NET_ADMIN")
	})
	metrics, err := node.Get(f.Context(), "/metrics")
	f.must(err)
	if !strings.Contains(metrics, "\nbaremetal_closed_ports_active 0\n") {
		f.Error("no metric says that the rules are missing")
	}
	f.settled()
	f.fetched(vip)
}
