package integration

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestEveryWayOfAskingForAnAddress(t *testing.T) {
	net := freshNet()
	pools(t, strings.ReplaceAll(`address-pools:
- {name: first, protocol: layer2, addresses: [NET.1-NET.9]}
- {name: asked, protocol: layer2, addresses: [NET.11-NET.19], auto-assign: false}
- {name: aliased, protocol: layer2, addresses: [NET.21-NET.29], auto-assign: false}
`, "NET", net))
	byField := func(ip string) func(*v1.Service) { return func(s *v1.Service) { s.Spec.LoadBalancerIP = ip } }
	create(t, service("taken"))
	has(t, "taken", net+".1")
	for name, test := range map[string]struct {
		change  func(*v1.Service)
		want    string // an address, or with a blank in it the text of the refusal
		changed func(*v1.Service)
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
		"what is no address":            {change: annotated("lb.baremetal/addresses", "web"), want: `annotation lb.baremetal/addresses: "web" is not an IP address`},
		"a pool that is not there":      {change: annotated("lb.baremetal/pool", "gold"), want: `there is no pool "gold"`},
		"a family that it does not use": {change: annotated("lb.baremetal/addresses", "fd00::1"), want: "fd00::1 is asked for, but the Service has no IPv6 in its ipFamilies"},
	} {
		t.Run(name, func(t *testing.T) {
			svc := "asks-" + strings.NewReplacer(" ", "-", "'", "", ".", "-", ",", "").Replace(strings.ToLower(name))
			create(t, service(svc, test.change))
			if !strings.Contains(test.want, " ") {
				has(t, svc, test.want)
				return
			}
			event(t, "Service", svc, "AllocationFailed", test.want)
			if got := addressesOf(get(t, svc)); got != "" {
				t.Errorf("it has %s", got)
			}
		})
	}
}

func TestARequestThatChangesMovesTheServiceAndARefusedOneDoesNot(t *testing.T) {
	net := freshNet()
	pools(t, strings.ReplaceAll("address-pools:\n- {name: a, protocol: layer2, addresses: [NET.1-NET.9]}\n- {name: b, protocol: layer2, addresses: [NET.11-NET.19]}\n", "NET", net))
	create(t, service("moves"))
	has(t, "moves", net+".1")
	kubectl(t, "annotate", "service", "moves", "lb.baremetal/pool=b")
	has(t, "moves", net+".11")
	kubectl(t, "annotate", "service", "moves", "--overwrite", "lb.baremetal/pool=gone")
	event(t, "Service", "moves", "AllocationFailed", `there is no pool "gone"; it keeps `+net+".11")
	kubectl(t, "annotate", "service", "moves", "--overwrite", "lb.baremetal/pool=a", "lb.baremetal/addresses="+net+".5")
	has(t, "moves", net+".5")
}

func TestDualStackInAllPoliciesAndLaterChanges(t *testing.T) {
	const v6 = "fd00:50:"
	net := freshNet()
	both := strings.ReplaceAll(`address-pools:
- {name: both, protocol: layer2, addresses: [NET.1-NET.9, "SIX::1-SIX::9"]}
`, "NET", net)
	six := v6 + strings.TrimPrefix(net, "10.50.") + ":"
	both = strings.ReplaceAll(both, "SIX:", six)
	only4 := strings.ReplaceAll("address-pools:\n- {name: both, protocol: layer2, addresses: [NET.1-NET.9]}\n", "NET", net)
	pools(t, both)
	create(t, service("single", families(v1.IPFamilyPolicySingleStack, v1.IPv6Protocol)))
	has(t, "single", six+":1")
	create(t, service("required", families(v1.IPFamilyPolicyRequireDualStack, v1.IPv6Protocol, v1.IPv4Protocol)))
	has(t, "required", six+":2,"+net+".1")
	patch := func(name, spec string) { kubectl(t, "patch", "service", name, "-p", `{"spec":`+spec+`}`) }

	t.Run("downgrade gives the second address back", func(t *testing.T) {
		patch("required", `{"ipFamilyPolicy":"SingleStack","ipFamilies":["IPv6"],"clusterIPs":["`+get(t, "required").Spec.ClusterIPs[0]+`"]}`)
		has(t, "required", six+":2")
	})
	t.Run("upgrade adds one", func(t *testing.T) {
		patch("required", `{"ipFamilyPolicy":"RequireDualStack","ipFamilies":["IPv6","IPv4"]}`)
		has(t, "required", six+":2,"+net+".2") // .1 rests
	})
	t.Run("preferred makes do with one, until there is another", func(t *testing.T) {
		must(t, the.SetPools(t.Context(), only4))
		create(t, service("preferred", families(v1.IPFamilyPolicyPreferDualStack, v1.IPv6Protocol, v1.IPv4Protocol)))
		has(t, "preferred", net+".3")
		create(t, service("strict", families(v1.IPFamilyPolicyRequireDualStack, v1.IPv4Protocol, v1.IPv6Protocol)))
		event(t, "Service", "strict", "AllocationFailed", "no pool has IPv6 addresses")
		t.Run("and is refused when it becomes required", func(t *testing.T) {
			patch("preferred", `{"ipFamilyPolicy":"RequireDualStack"}`)
			event(t, "Service", "preferred", "AllocationFailed", "no pool has IPv6 addresses; it keeps "+net+".3")
		})
		must(t, the.SetPools(t.Context(), both))
		has(t, "preferred", six+":3,"+net+".3")
		has(t, "strict", net+".4,"+six+":4")
	})
}

func TestPoolsForSomeNamespacesAndServices(t *testing.T) {
	net := freshNet()
	pools(t, strings.ReplaceAll(`address-pools:
- {name: all, protocol: layer2, addresses: [NET.1-NET.9]}
- {name: team, protocol: layer2, addresses: [NET.11-NET.19], priority: 10, namespaces: [team-a], max-per-namespace: 1}
- {name: gold, protocol: layer2, addresses: [NET.21-NET.29], priority: 5, namespace-selectors: [{match-labels: {tier: gold}}]}
- {name: public, protocol: layer2, addresses: [NET.31-NET.39], priority: 1, service-selectors: [{match-expressions: [{key: public, operator: Exists}]}]}
`, "NET", net))
	namespace(t, "team-a", nil)
	namespace(t, "rich", map[string]string{"tier": "gold"})
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
		create(t, test.s)
		has(t, test.s.Namespace+"/"+test.s.Name, net+test.want)
	}
	create(t, service("greedy", annotated("lb.baremetal/pool", "team"), in("team-a")))
	event(t, "Service", "greedy", "AllocationFailed", `pool "team" gives each namespace 1 at most (max-per-namespace), and team-a has as many`)
	create(t, service("stranger", annotated("lb.baremetal/pool", "gold")))
	event(t, "Service", "stranger", "AllocationFailed", `pool "gold" is for other namespaces or Services`)

	// A label that comes later opens the pool, and the label of a namespace too.
	kubectl(t, "label", "namespace", "default", "tier=gold")
	t.Cleanup(func() { kubectl(t, "label", "namespace", "default", "tier-") })
	has(t, "stranger", net+".22")
	remove(t, "team-a/of-the-team")
	has(t, "team-a/greedy", net+".12") // .11 rests
}

func TestReuseDelayIsThePools(t *testing.T) {
	net := freshNet()
	pools(t, strings.ReplaceAll(`address-pools:
- {name: quick, protocol: layer2, addresses: [NET.1-NET.9], reuse-delay: 0s}
- {name: slow, protocol: layer2, addresses: [NET.11-NET.19], auto-assign: false, reuse-delay: 1h}
`, "NET", net))
	for _, want := range []string{".1", ".1"} {
		create(t, service("again"))
		has(t, "again", net+want)
		remove(t, "again")
	}
	for _, want := range []string{".11", ".12"} {
		create(t, service("again", annotated("lb.baremetal/pool", "slow")))
		has(t, "again", net+want)
		remove(t, "again")
	}
}
