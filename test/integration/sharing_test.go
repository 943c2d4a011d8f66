package integration

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

func sharing(key string) func(*v1.Service) { return annotated("lb.baremetal/share", key) }

func TestTwoServicesShareOneAddress(t *testing.T) {
	create(t, service("web", sharing("one")))
	vip := assigned(t, "web")
	create(t, service("alt", sharing("one"), port(v1.ProtocolTCP, 8080)))
	has(t, "alt", vip)
	fetched(t, vip)
	eventually(t, "a page from the other port", func() bool {
		page, err := the.FetchPort(t.Context(), vip, "8080")
		return err == nil && strings.HasPrefix(page, "Welcome!")
	})
	remove(t, "web") // the other goes on
	has(t, "alt", vip)
	if _, err := the.FetchPort(t.Context(), vip, "8080"); err != nil {
		t.Error(err)
	}
}

func TestTheExampleOfASharedAddressWorks(t *testing.T) {
	file := the.Root() + "/manifests/examples/services/shared-address.yaml"
	kubectl(t, "apply", "-f", file)
	t.Cleanup(func() { kubectl(t, "delete", "-f", file) })
	has(t, "dns-tcp", assigned(t, "dns-udp"))
}

func TestSharingFollowsItsRules(t *testing.T) {
	net := freshNet()
	pools(t, strings.ReplaceAll(`address-pools:
- {name: p, protocol: layer2, addresses: [NET.1-NET.9]}
- {name: open, protocol: layer2, addresses: [NET.11-NET.19], auto-assign: false, share-across-namespaces: true}
`, "NET", net))
	namespace(t, "neighbour", nil)
	local := func(app string) func(*v1.Service) {
		return func(s *v1.Service) {
			s.Spec.ExternalTrafficPolicy, s.Spec.Selector = v1.ServiceExternalTrafficPolicyLocal, map[string]string{"app": app}
		}
	}
	open := annotated("lb.baremetal/pool", "open")
	for _, test := range []struct {
		s    *v1.Service
		want string
	}{
		{service("dns-udp", sharing("dns"), port(v1.ProtocolUDP, 53)), ".1"},
		{service("dns-tcp", annotated("metallb.io/allow-shared-ip", "dns"), port(v1.ProtocolTCP, 53)), ".1"},
		{service("clash", sharing("dns"), port(v1.ProtocolTCP, 53)), ".2"},
		{service("no-key", port(v1.ProtocolTCP, 80)), ".3"},
		{service("elsewhere", sharing("dns"), port(v1.ProtocolTCP, 80), in("neighbour")), ".4"},
		{service("open", sharing("dns"), port(v1.ProtocolTCP, 80), open), ".11"},
		{service("open-too", sharing("dns"), port(v1.ProtocolTCP, 81), open, in("neighbour")), ".11"},
		{service("local", sharing("local"), port(v1.ProtocolTCP, 80), local("web")), ".5"},
		{service("local-same", sharing("local"), port(v1.ProtocolTCP, 81), local("web")), ".5"},
		{service("local-other", sharing("local"), port(v1.ProtocolTCP, 82), local("other")), ".6"},
	} {
		create(t, test.s)
		has(t, test.s.Namespace+"/"+test.s.Name, net+test.want)
	}
	create(t, service("asks", sharing("dns"), port(v1.ProtocolUDP, 53), annotated("lb.baremetal/addresses", net+".1")))
	event(t, "Service", "asks", "AllocationFailed", net+".1 is used by default/dns-udp, which has port 53/UDP too")

	t.Run("a port that changes", func(t *testing.T) {
		kubectl(t, "patch", "service", "dns-tcp", "--type=json", "-p", `[{"op":"replace","path":"/spec/ports/0/protocol","value":"UDP"}]`)
		has(t, "dns-tcp", net+".2") // which can be shared with it now
		has(t, "dns-udp", net+".1")
	})
	t.Run("a policy that changes", func(t *testing.T) {
		kubectl(t, "patch", "service", "local-same", "-p", `{"spec":{"externalTrafficPolicy":"Cluster"}}`)
		has(t, "local-same", net+".7")
		has(t, "local", net+".5")
	})
	t.Run("a selector that changes", func(t *testing.T) {
		create(t, service("local-again", sharing("local"), port(v1.ProtocolTCP, 83), local("web")))
		has(t, "local-again", net+".5")
		kubectl(t, "patch", "service", "local-again", "-p", `{"spec":{"selector":{"app":"another"}}}`)
		has(t, "local-again", net+".8")
	})
	t.Run("a key that changes lets another in", func(t *testing.T) {
		kubectl(t, "annotate", "service", "dns-udp", "--overwrite", "lb.baremetal/share=other")
		kubectl(t, "annotate", "service", "asks", "--overwrite", "lb.baremetal/share=other")
		event(t, "Service", "asks", "AllocationFailed", "which has port 53/UDP too")
		kubectl(t, "patch", "service", "asks", "--type=json", "-p", `[{"op":"replace","path":"/spec/ports/0/protocol","value":"TCP"}]`)
		has(t, "asks", net+".1")
	})
}
