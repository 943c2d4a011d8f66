package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// daemons are the routing daemons that a test with a router runs with.
var daemons = []string{"FRR", "BIRD"}

// routedPools returns a configuration with a pool outside of the segment, which is
// announced with protocol, and with the router as the only peer. peer are more keys
// of that peer.
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

// router starts a router, and stops it at the end of the test.
func (f *fixture) router(o cluster.RouterOptions) *cluster.Router {
	f.Helper()
	r, err := f.cluster.StartRouter(context.Background(), o)
	f.must(err)
	f.Cleanup(r.Close)
	return r
}

// routedOver waits until the router sends packets for the address to these nodes.
func (f *fixture) routedOver(r *cluster.Router, vip string, nodes ...string) {
	f.Helper()
	var got []string
	err := f.cluster.Wait(context.Background(), fmt.Sprintf("%s is routed over %v", vip, nodes), func() bool {
		var err error
		got, err = r.NextHops(vip)
		f.must(err)
		return slices.Equal(got, nodes)
	})
	if err != nil {
		f.Fatalf("%v; it is routed over %v", err, got)
	}
}

// bfdUp waits until every node has a BFD session with the router that is up.
func (f *fixture) bfdUp() {
	f.Helper()
	for _, n := range f.cluster.Nodes() {
		f.eventually("BFD of "+n.Name+" is up", func() bool {
			text, err := n.Get(context.Background(), "/debug/bgp")
			return err == nil && strings.Contains(text, "bfd=Up")
		})
	}
}

// routedOverOne waits until the router sends packets for the address to a single
// node, and returns the node. The node with the name other does not count.
func (f *fixture) routedOverOne(r *cluster.Router, vip, other string) string {
	f.Helper()
	var got []string
	f.eventually(vip+" is routed over one node", func() bool {
		var err error
		got, err = r.NextHops(vip)
		f.must(err)
		return len(got) == 1 && got[0] != other
	})
	return got[0]
}

// staysOnOnePod checks that all connections of the host behind the router reach the
// same pod.
func (f *fixture) staysOnOnePod(r *cluster.Router, vip string) {
	f.Helper()
	var first string
	f.eventually("a page from "+vip, func() (ok bool) {
		var err error
		first, err = r.Fetch(f.Context(), vip)
		return err == nil
	})
	for range 50 {
		page, err := r.Fetch(f.Context(), vip)
		f.must(err)
		if page != first {
			f.Fatalf("one connection was answered with %q, another with %q", first, page)
		}
	}
}
