package debugapi_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/debugapi"
)

func TestRoutersAreThePeersThatGetARouteToTheAddress(t *testing.T) {
	route := func(prefix string, peers ...string) debugapi.Route {
		return debugapi.Route{Prefix: netip.MustParsePrefix(prefix), Peers: peers}
	}
	for name, test := range map[string]struct {
		routes []debugapi.Route
		want   []string
	}{
		"for all peers":             {[]debugapi.Route{route("192.0.2.1/32")}, []string{"tor1", "tor3"}},
		"an aggregate":              {[]debugapi.Route{route("192.0.2.0/24")}, []string{"tor1", "tor3"}},
		"for a router that is down": {[]debugapi.Route{route("192.0.2.1/32", "tor2")}, nil},
		"for some":                  {[]debugapi.Route{route("192.0.2.1/32", "tor2", "tor3")}, []string{"tor3"}},
		"another address":           {[]debugapi.Route{route("192.0.2.2/32")}, nil},
		"two routes":                {[]debugapi.Route{route("192.0.2.1/32", "tor2"), route("192.0.2.0/24", "tor1")}, []string{"tor1"}},
		"none":                      {nil, nil},
	} {
		b := &debugapi.BGP{Sessions: []debugapi.Session{{Peer: "tor1", Up: true}, {Peer: "tor2"}, {Peer: "tor3", Up: true}}, Routes: test.routes}
		if got := b.Routers(netip.MustParseAddr("192.0.2.1")); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
	var none *debugapi.BGP
	if got := none.Routers(netip.MustParseAddr("192.0.2.1")); got != nil {
		t.Errorf("without a document: %v", got)
	}
}
