package ipam_test

import (
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
)

func TestPoolDecidesWhoMayAskForItsAddresses(t *testing.T) {
	const pools = `
- {name: any, protocol: layer2, addresses: [10.0.0.1-10.0.0.9]}
- {name: none, protocol: layer2, addresses: [10.0.1.1-10.0.1.9], requests: none}
- {name: team, protocol: layer2, addresses: [10.0.2.1-10.0.2.9], namespaces: [team], requests: namespace}
- {name: nobody, protocol: layer2, addresses: [10.0.3.1-10.0.3.9], requests: namespace}
`
	refused := func(addr, pool, namespace, requests string) string {
		return addr + ` is in pool "` + pool + `", and no Service of namespace ` + namespace + ` can ask for an address of this pool (requests: ` + requests + `)`
	}
	for name, s := range map[string]try{
		"any":                        {request: asking("10.0.0.5"), want: "10.0.0.5"},
		"none":                       {request: asking("10.0.1.5"), want: refused("10.0.1.5", "none", "ns", "none")},
		"none, but the pool itself":  {request: ipam.Request{Pool: "none"}, want: "10.0.1.1"},
		"the pool's own namespace":   {namespace: "team", request: asking("10.0.2.5"), want: "10.0.2.5"},
		"another namespace":          {request: asking("10.0.2.5"), want: `10.0.2.5 is in pool "team", which is for other namespaces or Services`},
		"a pool that names none":     {request: asking("10.0.3.5"), want: refused("10.0.3.5", "nobody", "ns", "namespace")},
		"an address from its status": {request: ipam.Request{Pool: "none", Claimed: addrs("10.0.1.5")}, want: "10.0.1.1"},
	} {
		if s.uid = "s"; s.do(allocator(t, pools)) != s.want {
			t.Errorf("%s: got %s, want %s", name, s.do(allocator(t, pools)), s.want)
		}
	}
	// A Service keeps an address that it has, also when the pool is closed later.
	a := allocator(t, pools)
	(try{uid: "s", request: asking("10.0.0.5")}).do(a)
	a.SetPools(parse(t, `[{name: any, protocol: layer2, addresses: [10.0.0.1-10.0.0.9], requests: none}]`))
	if got := (try{uid: "s", request: asking("10.0.0.5")}).do(a); got != "10.0.0.5" {
		t.Errorf("got %s", got)
	}
}
