package view

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
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
	for _, tt := range []struct {
		name     string
		all      []links.Link
		internal []netip.Addr
		gateways []int
		configs  []*config.Config
		want     string
	}{
		{"InternalIP", all, []netip.Addr{addr("10.0.0.1")}, nil, nil, "[node]"},
		{"default gateway", all, nil, []int{3}, nil, "[internet]"},
		{"a pool's addresses, and a pool's interface", all, nil, nil, []*config.Config{nil, c}, "[vips vlan7]"},
		{"all together", all, []netip.Addr{addr("10.0.0.1")}, []int{2, 3}, []*config.Config{c, nil}, "[node internet vips vlan7]"},
		{"nothing fits", all[3:5], []netip.Addr{addr("10.0.0.1")}, []int{2}, []*config.Config{c}, "[storage bare]"},
	} {
		var names []string
		for _, l := range announcementLinks(tt.all, tt.internal, tt.gateways, tt.configs...) {
			names = append(names, l.Name)
		}
		if got := fmt.Sprint(names); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
