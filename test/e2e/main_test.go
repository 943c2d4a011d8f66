// Package e2e tests the product as it is shipped: its image, its manifests and its
// chart, on a Kubernetes with kubelets. The tests share one cluster. When a test begins
// and when it ends, nothing of the product is installed there.
package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// shared is the cluster that TestMain starts, with its environment. Only setUp takes it
// from here.
var shared struct {
	cluster *cluster.Cluster
	env     cluster.Env
}

// TestMain starts the cluster, runs the tests on it, and stops it. If KEEP is set in
// the environment, the cluster stays up after the tests; see cluster.RunTests.
func TestMain(m *testing.M) {
	needs := cluster.Needs{Full: true, Previous: true, Forward: cluster.Keep(), Debian: []string{"chromium=chromium"},
		Programs: []cluster.Program{cluster.Helm, cluster.Traefik}, Modules: []string{operator + "@v0.85.0"}}
	os.Exit(cluster.Main(needs, func(env cluster.Env) int {
		c, err := cluster.Start(context.Background(), env, cluster.Options{Speakers: 4, Full: true})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer c.Close()
		shared.cluster, shared.env = c, env
		return c.RunTests(m)
	}))
}
