package reconcile

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
)

func TestNodeLinksHaveEveryAddressOfEveryLink(t *testing.T) {
	now := nodeLinks([]links.Link{
		{Name: "eth0", Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24"), netip.MustParsePrefix("192.0.2.9/32")}},
		{Name: "eth1", Addrs: []netip.Prefix{netip.MustParsePrefix("2001:db8::1/64")}},
	}, []netip.Addr{netip.MustParseAddr("192.0.2.254")})
	text, err := json.Marshal(now)
	if want := `{"addresses":["192.0.2.1/24","192.0.2.9/32","2001:db8::1/64"],"gateways":["192.0.2.254"]}`; err != nil || string(text) != want {
		t.Errorf("got %s (%v), want %s", text, err, want)
	}
}
