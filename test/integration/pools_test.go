package integration

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// pools writes the configuration, and the default one again at the end of the test.
func (f *fixture) pools(text string) {
	f.Helper()
	if err := f.cluster.SetPools(f.Context(), text); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := f.cluster.SetPools(context.Background(), cluster.DefaultPools); err != nil {
			f.Error(err)
		}
	})
}

// fresh counts the networks that tests have used. A released address has a cooldown,
// in which it is not the first free address of its pool. So each test needs addresses
// that no earlier test has released.
var fresh atomic.Uint32

// freshNet returns the first three bytes of a network that no earlier test has used.
func freshNet() string { return fmt.Sprint("10.50.", fresh.Add(1)) }

// freshPool writes a configuration with one pool of size unused addresses, and returns
// the first address.
func (f *fixture) freshPool(size int) (first netip.Addr) {
	f.Helper()
	net := freshNet()
	f.pools(fmt.Sprintf("address-pools:\n- {name: fresh, protocol: layer2, addresses: [%s.1-%s.%d]}\n", net, net, size))
	return netip.MustParseAddr(net + ".1")
}

// configRead waits until the cluster manager has read the newest version of the
// configuration, and either uses or refuses it.
func (f *fixture) configRead() {
	f.Helper()
	f.eventually("the cluster manager has read the configuration", func() bool {
		cm, err := f.cluster.Client.CoreV1().ConfigMaps("baremetal-system").Get(context.Background(), "config", metav1.GetOptions{})
		f.must(err)
		text, err := f.cluster.GetCCM(context.Background(), f.cluster.Leader(), "/metrics")
		if err != nil {
			return false
		}
		for line := range strings.Lines(text) {
			var version float64
			if n, _ := fmt.Sscanf(line, "baremetal_config_resource_version %g", &version); n == 1 && fmt.Sprintf("%.0f", version) == cm.ResourceVersion {
				return true
			}
		}
		return strings.Contains(text, "baremetal_config_last_load_successful 0")
	})
}
