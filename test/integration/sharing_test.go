package integration

import (
	"strings"
	"testing"

	v1 "k8s.io/api/core/v1"
)

func TestSharingGivesTwoServicesOneAddress(t *testing.T) {
	f := setUp(t)
	f.create(service("web", sharing("one")))
	vip := f.assigned("web")
	f.create(service("alt", sharing("one"), port(v1.ProtocolTCP, 8080)))
	f.has("alt", vip)
	f.fetched(vip)
	f.eventually("a page from the other port", func() bool {
		page, err := f.cluster.FetchPort(f.Context(), vip, "8080")
		return err == nil && strings.HasPrefix(page, "Welcome!")
	})
	f.remove("web") // the other Service keeps the address
	f.has("alt", vip)
	if _, err := f.cluster.FetchPort(f.Context(), vip, "8080"); err != nil {
		f.Error(err)
	}
}

func TestSharingExampleWorks(t *testing.T) {
	f := setUp(t)
	file := f.cluster.Root() + "/manifests/examples/services/shared-address.yaml"
	f.kubectl("apply", "-f", file)
	f.Cleanup(func() { f.kubectl("delete", "-f", file) })
	f.has("dns-tcp", f.assigned("dns-udp"))
}

func TestSharingFollowsItsRules(t *testing.T) {
	f := setUp(t)
	net := freshNet()
	f.pools(strings.ReplaceAll(`address-pools:
- {name: p, protocol: layer2, addresses: [NET.1-NET.9]}
- {name: open, protocol: layer2, addresses: [NET.11-NET.19], auto-assign: false, share-across-namespaces: true}
`, "NET", net))
	f.namespace("neighbour", nil)
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
		f.create(test.s)
		f.has(test.s.Namespace+"/"+test.s.Name, net+test.want)
	}
	f.create(service("asks", sharing("dns"), port(v1.ProtocolUDP, 53), annotated("lb.baremetal/addresses", net+".1")))
	f.event("Service", "asks", "AllocationFailed", net+".1 is used by default/dns-udp, which has port 53/UDP too")

	f.Run("a port that changes", func(f *fixture) {
		f.kubectl("patch", "service", "dns-tcp", "--type=json", "-p", `[{"op":"replace","path":"/spec/ports/0/protocol","value":"UDP"}]`)
		f.has("dns-tcp", net+".2") // clash has .2 with port 53/TCP, so the two can share it
		f.has("dns-udp", net+".1")
	})
	f.Run("a policy that changes", func(f *fixture) {
		f.kubectl("patch", "service", "local-same", "-p", `{"spec":{"externalTrafficPolicy":"Cluster"}}`)
		f.has("local-same", net+".7")
		f.has("local", net+".5")
	})
	f.Run("a selector that changes", func(f *fixture) {
		f.create(service("local-again", sharing("local"), port(v1.ProtocolTCP, 83), local("web")))
		f.has("local-again", net+".5")
		f.kubectl("patch", "service", "local-again", "-p", `{"spec":{"selector":{"app":"another"}}}`)
		f.has("local-again", net+".8")
	})
	f.Run("a key that changes lets another Service share", func(f *fixture) {
		f.kubectl("annotate", "service", "dns-udp", "--overwrite", "lb.baremetal/share=other")
		f.kubectl("annotate", "service", "asks", "--overwrite", "lb.baremetal/share=other")
		f.event("Service", "asks", "AllocationFailed", "which has port 53/UDP too")
		f.kubectl("patch", "service", "asks", "--type=json", "-p", `[{"op":"replace","path":"/spec/ports/0/protocol","value":"TCP"}]`)
		f.has("asks", net+".1")
	})
}
