package simulate_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/plan"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/simulate"
)

// BenchmarkRun simulates the loss of one of 100 nodes with 1,000 addresses, half of them spread.
func BenchmarkRun(b *testing.B) {
	base := plan.State{Config: parse(b, text)}
	for i := range 1000 {
		base.Services = append(base.Services, service(fmt.Sprintf("s%d", i), fmt.Sprintf("10.0.%d.%d", 1+i%2, i/4)))
	}
	for i := range 100 {
		address := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + i)}), 8)
		m := plan.Member{Name: fmt.Sprintf("node%d", i), Spreads: true, Segments: []plan.Segment{{Link: "eth0", IPv4: address, Networks: []netip.Prefix{address.Masked()}}}}
		base.Nodes, base.Members, base.Holders = append(base.Nodes, plan.Node{Name: m.Name}), append(base.Members, m), append(base.Holders, m)
	}
	c := simulate.Cluster{}
	for _, n := range base.Nodes {
		s := base
		s.Node = n.Name
		c.States = append(c.States, s)
	}
	for b.Loop() {
		if _, err := simulate.Run(c, simulate.Change{Lost: []string{"node7"}}); err != nil {
			b.Fatal(err)
		}
	}
}
