package integration

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

var dual = families(v1.IPFamilyPolicyRequireDualStack, v1.IPv4Protocol, v1.IPv6Protocol)

func TestSpreadKeepsSessionAffinity(t *testing.T) {
	f := setUp(t)
	f.Cleanup(func() { f.restartSpeakers() })
	f.forgetFailures() // a node that takes its slots back may carry the client then
	f.router(cluster.RouterOptions{Daemon: "BIRD"})
	f.create(service("sticky", spread, dual, func(s *v1.Service) { s.Spec.SessionAffinity = v1.ServiceAffinityClientIP }))
	vips := strings.Split(f.assigned("sticky"), ",")
	f.says("sticky", spreadCondition, "True", "Spread", "")
	for _, vip := range vips {
		f.fetched(vip)
		for _, from := range []string{cluster.OnSegment, cluster.Outside} {
			first := f.page(from, vip)
			for range 100 {
				if p := f.page(from, vip); p.Pod != first.Pod || p.Client != first.Client {
					f.Fatalf("%s to %s: %+v answered, and before %+v", from, vip, p, first)
				}
			}
		}
	}
}

// The client on the segment may not connect, on no node. The host behind the router may, on all.
func TestSpreadEnforcesSourceRangesOnEveryNode(t *testing.T) {
	f := setUp(t)
	f.router(cluster.RouterOptions{Daemon: "BIRD"})
	f.create(service("ranges", spread))
	vip := f.spreads("ranges", allNodes...)[0]
	f.kubectl("patch", "service", "ranges", "-p", `{"spec":{"loadBalancerSourceRanges":["172.31.0.0/24"]}}`)
	f.eventually("the client is refused by all nodes", func() bool {
		_, err := f.cluster.Fetch(f.Context(), vip)
		return err != nil
	})
	refused := time.Now()
	f.eventually("kube-proxy has its rules on all nodes", func() bool { return time.Since(refused) > 2*time.Second })
	for range 20 { // each takes half a second
		if page, err := f.cluster.Fetch(f.Context(), vip); err == nil {
			f.Errorf("the client has got %q", page)
		}
	}
	f.even(f.shares(cluster.Outside, vip, "80"))
}

func TestSpreadCarriesDatagramsThatAreFragmented(t *testing.T) {
	f := setUp(t)
	f.router(cluster.RouterOptions{Daemon: "BIRD"})
	f.create(service("datagrams", spread, dual, port(v1.ProtocolUDP, 5353)))
	vips := strings.Split(f.assigned("datagrams"), ",")
	f.says("datagrams", spreadCondition, "True", "Spread", "")
	for _, vip := range vips {
		f.eventually("a datagram comes back from "+vip, func() bool {
			return f.cluster.Echo(context.Background(), cluster.OnSegment, vip, "5353", 10) == nil
		})
		for _, from := range []string{cluster.OnSegment, cluster.Outside} {
			for i := range 60 {
				if err := f.cluster.Echo(f.Context(), from, vip, "5353", []int{10, 1400, 4000, 9000}[i%4]); err != nil {
					f.Errorf("%s to %s: %v", from, vip, err)
				}
			}
		}
	}
}

// The router has a smaller MTU behind it, and says so by ICMP to the address of the Service.
func TestSpreadLearnsTheMTUOfThePath(t *testing.T) {
	f := setUp(t)
	r := f.router(cluster.RouterOptions{Daemon: "BIRD"})
	f.create(service("narrow", spread, dual))
	for _, vip := range f.spreads("narrow", allNodes...) {
		f.must(r.Narrow(1300))
		f.transfers(vip, func(ctx context.Context) (cluster.Transfer, error) {
			return f.cluster.Download(ctx, cluster.Outside, vip, 1<<20)
		})
	}
}

// The announcer gets packets that are larger than the MTU, because the kernel has joined them.
func TestSpreadCarriesBulkTransfersWhole(t *testing.T) {
	f := setUp(t)
	f.create(service("bulk", spread, dual))
	for _, vip := range f.spreads("bulk", allNodes...) {
		f.transfers(vip, func(ctx context.Context) (cluster.Transfer, error) {
			return f.cluster.Upload(ctx, cluster.OnSegment, vip, 50<<20)
		})
		f.transfers(vip, func(ctx context.Context) (cluster.Transfer, error) {
			return f.cluster.Download(ctx, cluster.OnSegment, vip, 50<<20)
		})
	}
}

// transfers repeats a transfer until each node has carried one.
func (f *fixture) transfers(vip string, do func(ctx context.Context) (cluster.Transfer, error)) {
	f.Helper()
	took := map[string]time.Duration{}
	f.eventually("all nodes carry a transfer with "+vip, func() bool {
		ctx, cancel := context.WithTimeout(f.Context(), 20*time.Second)
		defer cancel()
		t, err := do(ctx)
		f.must(err)
		took[t.Carrier] = t.Took.Round(time.Millisecond)
		return slices.Equal(slices.Sorted(maps.Keys(took)), allNodes)
	})
	f.Logf("%s: %v", vip, took)
}
