package integration

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestRequestsForAddressesOfEveryKind(t *testing.T) {
	f := setUp(t)
	net := freshNet()
	f.pools(strings.ReplaceAll(`address-pools:
- {name: first, protocol: layer2, addresses: [NET.1-NET.9]}
- {name: asked, protocol: layer2, addresses: [NET.11-NET.19], auto-assign: false}
- {name: aliased, protocol: layer2, addresses: [NET.21-NET.29], auto-assign: false}
`, "NET", net))
	byField := func(ip string) func(*v1.Service) { return func(s *v1.Service) { s.Spec.LoadBalancerIP = ip } }
	f.create(service("taken"))
	f.has("taken", net+".1")
	for name, test := range map[string]struct {
		change func(*v1.Service)
		want   string // an address, or the text of the refusal, which contains a blank
	}{
		"by annotation":                 {change: annotated("lb.baremetal/addresses", net+".7"), want: net + ".7"},
		"by spec.loadBalancerIP":        {change: byField(net + ".8"), want: net + ".8"},
		"by MetalLB's annotation":       {change: annotated("metallb.io/loadBalancerIPs", net+".6"), want: net + ".6"},
		"by MetalLB's old annotation":   {change: annotated("metallb.universe.tf/loadBalancerIPs", net+".5"), want: net + ".5"},
		"of a pool":                     {change: annotated("lb.baremetal/pool", "asked"), want: net + ".11"},
		"of a pool, by MetalLB's name":  {change: annotated("metallb.universe.tf/address-pool", "aliased"), want: net + ".21"},
		"an address of the asked pool":  {change: annotated("lb.baremetal/addresses", net+".13"), want: net + ".13"},
		"the address of another":        {change: annotated("lb.baremetal/addresses", net+".1"), want: net + ".1 is used by default/taken"},
		"an address of no pool":         {change: byField("192.0.2.99"), want: "192.0.2.99 is in no pool"},
		"an invalid address":            {change: annotated("lb.baremetal/addresses", "web"), want: `annotation lb.baremetal/addresses: "web" is not an IP address`},
		"a pool that does not exist":    {change: annotated("lb.baremetal/pool", "gold"), want: `there is no pool "gold"`},
		"a family that it does not use": {change: annotated("lb.baremetal/addresses", "fd00::1"), want: "fd00::1 is asked for, but the Service has no IPv6 in its ipFamilies"},
	} {
		f.Run(name, func(f *fixture) {
			svc := "asks-" + strings.NewReplacer(" ", "-", "'", "", ".", "-", ",", "").Replace(strings.ToLower(name))
			f.create(service(svc, test.change))
			if !strings.Contains(test.want, " ") {
				f.has(svc, test.want)
				return
			}
			f.event("Service", svc, "AllocationFailed", test.want)
			if got := addressesOf(f.get(svc)); got != "" {
				f.Errorf("it has %s", got)
			}
		})
	}
}

func TestRequestThatChangesMovesTheServiceUnlessRefused(t *testing.T) {
	f := setUp(t)
	net := freshNet()
	f.pools(strings.ReplaceAll("address-pools:\n- {name: a, protocol: layer2, addresses: [NET.1-NET.9]}\n- {name: b, protocol: layer2, addresses: [NET.11-NET.19]}\n", "NET", net))
	f.create(service("moves"))
	f.has("moves", net+".1")
	f.kubectl("annotate", "service", "moves", "lb.baremetal/pool=b")
	f.has("moves", net+".11")
	f.kubectl("annotate", "service", "moves", "--overwrite", "lb.baremetal/pool=gone")
	f.event("Service", "moves", "AllocationFailed", `there is no pool "gone"; it keeps `+net+".11")
	f.kubectl("annotate", "service", "moves", "--overwrite", "lb.baremetal/pool=a", "lb.baremetal/addresses="+net+".5")
	f.has("moves", net+".5")
}

func TestDualStackPoliciesAndTheirChanges(t *testing.T) {
	f := setUp(t)
	const v6 = "fd00:50:"
	net := freshNet()
	both := strings.ReplaceAll(`address-pools:
- {name: both, protocol: layer2, addresses: [NET.1-NET.9, "SIX::1-SIX::9"]}
`, "NET", net)
	six := v6 + strings.TrimPrefix(net, "10.50.") + ":"
	both = strings.ReplaceAll(both, "SIX:", six)
	only4 := strings.ReplaceAll("address-pools:\n- {name: both, protocol: layer2, addresses: [NET.1-NET.9]}\n", "NET", net)
	f.pools(both)
	f.create(service("single", families(v1.IPFamilyPolicySingleStack, v1.IPv6Protocol)))
	f.has("single", six+":1")
	f.create(service("required", families(v1.IPFamilyPolicyRequireDualStack, v1.IPv6Protocol, v1.IPv4Protocol)))
	f.has("required", six+":2,"+net+".1")
	patch := func(name, spec string) { f.kubectl("patch", "service", name, "-p", `{"spec":`+spec+`}`) }

	f.Run("downgrade releases the second address", func(f *fixture) {
		patch("required", `{"ipFamilyPolicy":"SingleStack","ipFamilies":["IPv6"],"clusterIPs":["`+f.get("required").Spec.ClusterIPs[0]+`"]}`)
		f.has("required", six+":2")
	})
	f.Run("upgrade adds a second address", func(f *fixture) {
		patch("required", `{"ipFamilyPolicy":"RequireDualStack","ipFamilies":["IPv6","IPv4"]}`)
		f.has("required", six+":2,"+net+".2") // .1 is in cooldown
	})
	f.Run("preferred accepts one address until a pool has the second", func(f *fixture) {
		f.must(f.cluster.SetPools(f.Context(), only4))
		f.create(service("preferred", families(v1.IPFamilyPolicyPreferDualStack, v1.IPv6Protocol, v1.IPv4Protocol)))
		f.has("preferred", net+".3")
		f.create(service("strict", families(v1.IPFamilyPolicyRequireDualStack, v1.IPv4Protocol, v1.IPv6Protocol)))
		f.event("Service", "strict", "AllocationFailed", "no pool has IPv6 addresses")
		f.Run("and is refused when it becomes required", func(f *fixture) {
			patch("preferred", `{"ipFamilyPolicy":"RequireDualStack"}`)
			f.event("Service", "preferred", "AllocationFailed", "no pool has IPv6 addresses; it keeps "+net+".3")
		})
		f.must(f.cluster.SetPools(f.Context(), both))
		f.has("preferred", six+":3,"+net+".3")
		f.has("strict", net+".4,"+six+":4")
	})
}

func TestPoolSelectorsOfNamespacesAndServices(t *testing.T) {
	f := setUp(t)
	net := freshNet()
	f.pools(strings.ReplaceAll(`address-pools:
- {name: all, protocol: layer2, addresses: [NET.1-NET.9]}
- {name: team, protocol: layer2, addresses: [NET.11-NET.19], priority: 10, namespaces: [team-a], max-per-namespace: 1}
- {name: gold, protocol: layer2, addresses: [NET.21-NET.29], priority: 5, namespace-selectors: [{match-labels: {tier: gold}}]}
- {name: public, protocol: layer2, addresses: [NET.31-NET.39], priority: 1, service-selectors: [{match-expressions: [{key: public, operator: Exists}]}]}
`, "NET", net))
	f.namespace("team-a", nil)
	f.namespace("rich", map[string]string{"tier": "gold"})
	for _, test := range []struct {
		s    *v1.Service
		want string
	}{
		{service("plain"), ".1"},
		{service("of-the-team", in("team-a")), ".11"},
		{service("of-the-team-too", in("team-a")), ".2"}, // max-per-namespace
		{service("golden", in("rich")), ".21"},
		{service("public", labelled("public")), ".31"},
		{service("public-and-golden", in("rich"), labelled("public")), ".32"},
	} {
		f.create(test.s)
		f.has(test.s.Namespace+"/"+test.s.Name, net+test.want)
	}
	f.create(service("greedy", annotated("lb.baremetal/pool", "team"), in("team-a")))
	f.event("Service", "greedy", "AllocationFailed", `pool "team" allows each namespace at most 1 (max-per-namespace), and team-a has used them all`)
	f.create(service("stranger", annotated("lb.baremetal/pool", "gold")))
	f.event("Service", "stranger", "AllocationFailed", `pool "gold" is for other namespaces or Services`)

	// A label that is added later makes the pool usable. This holds for labels of
	// namespaces, too.
	f.kubectl("label", "namespace", "default", "tier=gold")
	f.Cleanup(func() { f.kubectl("label", "namespace", "default", "tier-") })
	f.has("stranger", net+".22")
	f.remove("team-a/of-the-team")
	f.has("team-a/greedy", net+".12") // .11 is in cooldown
}

func TestReuseDelayFollowsThePool(t *testing.T) {
	f := setUp(t)
	net := freshNet()
	f.pools(strings.ReplaceAll(`address-pools:
- {name: quick, protocol: layer2, addresses: [NET.1-NET.9], reuse-delay: 0s}
- {name: slow, protocol: layer2, addresses: [NET.11-NET.19], auto-assign: false, reuse-delay: 1h}
`, "NET", net))
	for _, want := range []string{".1", ".1"} {
		f.create(service("again"))
		f.has("again", net+want)
		f.remove("again")
	}
	for _, want := range []string{".11", ".12"} {
		f.create(service("again", annotated("lb.baremetal/pool", "slow")))
		f.has("again", net+want)
		f.remove("again")
	}
}
