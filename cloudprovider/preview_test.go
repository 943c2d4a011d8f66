package cloudprovider

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

func parsed(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func effectsOf(p Preview) string {
	var lines []string
	for _, e := range p.Effects {
		lines = append(lines, e.Service+" "+e.Text)
	}
	return strings.Join(lines, "\n")
}

func TestPreviewOfTheConfigurationInUseHasNoEffect(t *testing.T) {
	const text = `address-pools: [{name: open, protocol: layer2, addresses: [10.0.0.1-10.0.0.9], share-across-namespaces: true}]`
	a := annotated(withPort(svc("a", time.Hour, "10.0.0.1"), v1.ProtocolTCP, 80), service.ShareAnnotation, "k")
	b := annotated(withPort(svc("b", time.Minute, "10.0.0.1"), v1.ProtocolTCP, 443), service.ShareAnnotation, "k")
	b.Namespace = "other"
	orphan := annotated(svc("orphan", time.Minute, "10.9.0.1"), service.PoolAnnotation, "gone")
	c := parsed(t, text)
	state := clusterState{services: []*v1.Service{a, b, orphan}, inUse: configmap.InUse{Config: c, Orphans: []config.Orphan{
		{Addr: netip.MustParseAddr("10.9.0.1"), UIDs: []string{"uid-orphan"}, Pool: &config.Pool{Name: "gone", Protocol: config.Layer2}}}}}
	p := preview(c, state)
	if got, want := effectsOf(p), "default/orphan would keep an address that no pool gives it: 10.9.0.1 is in no pool"; got != want || p.Unchanged != 2 {
		t.Errorf("%d unchanged:\n%s", p.Unchanged, got)
	}
	// The same Services come from MetalLB, which lets namespaces share, to a pool that does not.
	closed := parsed(t, strings.Replace(text, ", share-across-namespaces: true", "", 1))
	p = preview(closed, clusterState{services: []*v1.Service{a, b}})
	if got, want := effectsOf(p), "other/b would keep an address that it would not get now: 10.0.0.1 is shared with default/a in another namespace, and its pool does not set share-across-namespaces"; got != want || p.Unchanged != 2 {
		t.Errorf("%d unchanged:\n%s", p.Unchanged, got)
	}
}

func TestPreviewWarnsOfPoolsThatDoNotFitTheNetwork(t *testing.T) {
	n1 := node("n1", "192.168.1.3")
	n1.Spec.PodCIDRs = []string{"10.244.0.0/24", "fd00:244::/64"}
	state := clusterState{
		nodes:        []*v1.Node{n1},
		links:        map[string]configmap.NodeLinks{"n1": {Addresses: []netip.Prefix{netip.MustParsePrefix("192.168.1.3/24")}, Gateways: []netip.Addr{netip.MustParseAddr("192.168.1.1")}}},
		serviceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")},
	}
	for pool, want := range map[string]string{
		"addresses: [192.168.1.200-192.168.1.250]":         "",
		"addresses: [192.168.1.1-192.168.1.2]":             `pool "p": 192.168.1.1 is the gateway of node n1: no Service gets it. Take it out of the pool`,
		"addresses: [192.168.1.3/32]":                      `pool "p": 192.168.1.3 is an address of node n1: no Service gets it. Take it out of the pool`,
		"addresses: [10.244.0.128/25], interfaces: [eth0]": `pool "p": overlaps with 10.244.0.0/24, the addresses of the pods on node n1` + "\n" + `pool "p": no node has a link on the segment of 10.244.0.128-10.244.0.255, so only hosts with a route to the nodes reach these addresses`,
		`addresses: [192.168.1.9/32, "fd00:244::1/128"]`:   `pool "p": overlaps with fd00:244::/64, the addresses of the pods on node n1` + "\n" + `pool "p": no node has a link on the segment of fd00:244::1-fd00:244::1, so only hosts with a route to the nodes reach these addresses`,
		"addresses: [192.168.1.9/32, 10.100.0.0/24]":       `pool "p": overlaps with 10.96.0.0/12, the cluster addresses of Services (ServiceCIDR)` + "\n" + `pool "p": no node has a link on the segment of 10.100.0.0-10.100.0.255, so only hosts with a route to the nodes reach these addresses`,
	} {
		got := strings.Join(networkWarnings(parsed(t, "address-pools: [{name: p, protocol: layer2, "+pool+"}]"), state), "\n")
		if got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", pool, got, want)
		}
	}
	if got := networkWarnings(parsed(t, "address-pools: [{name: p, protocol: bgp, addresses: [203.0.113.0/24]}]"), state); len(got) > 0 {
		t.Errorf("a pool of BGP need not be on a segment: %v", got)
	}
}

func TestPreviewNamesTheAddressesThatWouldMove(t *testing.T) {
	before := parsed(t, `address-pools: [{name: a, protocol: layer2, addresses: [10.0.0.1-10.0.0.9]}]`)
	after := parsed(t, `{reassign: true, address-pools: [{name: a, protocol: layer2, addresses: [10.0.0.5-10.0.0.9]}]}`)
	state := clusterState{services: []*v1.Service{svc("kept", 3*time.Hour, "10.0.0.5"), svc("moved", 2*time.Hour, "10.0.0.1"), svc("new", time.Hour)}, inUse: configmap.InUse{Config: before}}
	var got []string
	for _, m := range preview(after, state).Moves {
		got = append(got, m.Service+" "+list(m.Before)+" -> "+list(m.After))
	}
	if want := "default/moved 10.0.0.1 -> 10.0.0.6\ndefault/new no address -> 10.0.0.7"; strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}
