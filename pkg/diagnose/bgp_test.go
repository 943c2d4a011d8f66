package diagnose_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/diagnose"
)

// A session with another router does not help an address whose route is for tor2 alone.
func TestExplainCountsOnlyRoutersThatGetTheRoute(t *testing.T) {
	for name, test := range map[string]struct {
		peers   []string
		up      bool
		clients string
		routers []string
	}{
		"the router is down": {[]string{"tor2"}, false, "nothing: no node announces the address", []string{}},
		"the router is up":   {[]string{"tor2"}, true, "routers send to nodes node1, node2, node3", []string{"tor2"}},
		"for all routers":    {nil, false, "routers send to nodes node1, node2, node3", []string{"tor"}},
	} {
		in := world()
		decide(in, func(_ string, d *debugapi.Decision) {
			d.Protocol, d.Reason, d.BGP, d.Owner = "bgp", "NotLayer2", "Advertised", ""
		})
		for _, s := range in.Speakers {
			s.BGP.Sessions = append(s.BGP.Sessions, debugapi.Session{Peer: "tor2", Address: netip.MustParseAddr("192.0.2.253"), Up: test.up})
			s.BGP.Routes[0].Peers = test.peers
		}
		e, err := diagnose.ExplainService(in, "default/web")
		if err != nil {
			t.Fatal(err)
		}
		a := e.Services[0].Addresses[0]
		if a.Clients != test.clients || !slices.Equal(a.BGP[0].Routers, test.routers) {
			t.Errorf("%s: %+v", name, a)
		}
		if works := strings.HasPrefix(e.Services[0].Summary, "It works"); works != (len(test.routers) > 0) {
			t.Errorf("%s: %s", name, e.Services[0].Summary)
		}
	}
}
