package view

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
)

func TestAddressesAreAnnouncedWhereClientsAre(t *testing.T) {
	link := func(index int, name, addr string) links.Link {
		l := links.Link{Name: name, Index: index}
		if addr != "" {
			l.Addrs = []netip.Prefix{netip.MustParsePrefix(addr)}
			l.Networks = []netip.Prefix{l.Addrs[0].Masked()}
		}
		return l
	}
	all := []links.Link{link(2, "node", "10.0.0.1/24"), link(3, "internet", "203.0.113.9/24"), link(4, "vips", "192.0.2.1/26"), link(5, "storage", "10.9.0.1/24"), link(6, "bare", ""), link(7, "vlan7", "")}
	c, err := config.Parse([]byte(`address-pools:
- {name: a, protocol: layer2, addresses: [192.0.2.32-192.0.3.9]}
- {name: b, protocol: layer2, addresses: [198.51.100.0/24], interfaces: [vlan7]}`))
	if err != nil {
		t.Fatal(err)
	}
	service := []plan.Service{{VIPs: []netip.Addr{addr("10.9.0.77")}}, {VIPs: []netip.Addr{addr("198.18.0.1")}}}
	orphans := map[netip.Addr]*config.Pool{addr("198.18.0.1"): {Interfaces: []string{"bare"}}}
	for _, tt := range []struct {
		name     string
		in       Inputs
		gateways []int
		want     string
	}{
		{"InternalIP", Inputs{Addrs: []netip.Addr{addr("10.0.0.1")}}, nil, "[node]"},
		{"default gateway", Inputs{}, []int{3}, "[internet]"},
		{"a pool's addresses, and a pool's interface", Inputs{Earlier: c}, nil, "[vips vlan7]"},
		{"all together", Inputs{Addrs: []netip.Addr{addr("10.0.0.1")}, Config: c}, []int{2, 3}, "[node internet vips vlan7]"},
		{"addresses of no pool any more", Inputs{Addrs: []netip.Addr{addr("10.0.0.1")}, Services: service, Orphans: orphans}, nil, "[node storage bare]"},
		{"nothing fits", Inputs{}, nil, "[node internet vips storage bare vlan7]"},
	} {
		tt.in.AllLinks = all
		var names []string
		for _, l := range announcementLinks(tt.in, tt.gateways) {
			names = append(names, l.Name)
		}
		if got := fmt.Sprint(names); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
