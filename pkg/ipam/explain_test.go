package ipam_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
)

func TestWhyNotSaysOfEachPoolWhyItGivesNothing(t *testing.T) {
	c, err := config.Parse([]byte(`address-pools:
- {name: full, protocol: layer2, addresses: [10.0.0.1/32]}
- {name: six, protocol: layer2, addresses: [fd00::1/128]}
- {name: theirs, protocol: layer2, addresses: [10.0.1.0/30], namespaces: [other]}
- {name: labelled, protocol: layer2, addresses: [10.0.2.0/30], service-selectors: [{match-labels: {app: x}}]}
- {name: asked, protocol: layer2, addresses: [10.0.3.0/30], auto-assign: false, requests: none}
- {name: quota, protocol: layer2, addresses: [10.0.4.0/30], namespaces: [default], max-per-namespace: 1}
`))
	if err != nil {
		t.Fatal(err)
	}
	a := ipam.New()
	if got := a.WhyNot(ipam.Request{}); got != nil {
		t.Errorf("without pools: %v", got)
	}
	a.SetPools(c)
	for i := range 2 { // they take the only address of "full", and the quota of "quota"
		if _, err := a.Allocate(ipam.Request{UID: fmt.Sprint(i), Namespace: "default", Name: fmt.Sprint("s", i), Families: v4}); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		request ipam.Request
		want    string
	}{
		"any address": {ipam.Request{Families: v4}, `full: it is exhausted (1 of 1 IPv4 addresses in use)
six: it has no IPv4 addresses
theirs: it is for other namespaces (namespaces, namespace-selectors)
labelled: its service-selectors do not select the Service
asked: it serves only Services that ask for it (auto-assign: false)
quota: namespace default has as many of its addresses as it may have, 1 (max-per-namespace)`},
		"a pool": {ipam.Request{Families: v4, Pool: "full"}, `full: it is exhausted (1 of 1 IPv4 addresses in use)
six: the Service asks for pool "full"
theirs: the Service asks for pool "full"
labelled: the Service asks for pool "full"
asked: the Service asks for pool "full"
quota: the Service asks for pool "full"`},
		"an address": {ipam.Request{Families: v4, Addrs: addrs("10.0.3.1")}, `full: it does not have the address that the Service asks for
six: it does not have the address that the Service asks for
theirs: it does not have the address that the Service asks for
labelled: it does not have the address that the Service asks for
asked: 10.0.3.1 is in pool "asked", and no Service of namespace default can ask for an address of this pool (requests: none)
quota: it does not have the address that the Service asks for`},
		"two families": {ipam.Request{Families: dual, RequireAll: true, Pool: "six"}, `full: the Service asks for pool "six"
six: it has no IPv4 addresses
theirs: the Service asks for pool "six"
labelled: the Service asks for pool "six"
asked: the Service asks for pool "six"
quota: the Service asks for pool "six"`},
	} {
		test.request.UID, test.request.Namespace, test.request.Name = "new", "default", "new"
		if _, err := a.Allocate(test.request); err == nil {
			t.Fatalf("%s: not refused", name)
		}
		var lines []string
		for _, r := range a.WhyNot(test.request) {
			lines = append(lines, r.Pool+": "+r.Why)
		}
		if got := strings.Join(lines, "\n"); got != test.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, test.want)
		}
	}
}
