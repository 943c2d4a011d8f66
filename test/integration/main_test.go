// Package integration tests the whole product on a real Kubernetes in network
// namespaces. The tests share one cluster and run one after the other. Each test
// leaves the cluster as it found it.
package integration

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// shared is the cluster that TestMain starts. Only setUp takes it from here.
var shared *cluster.Cluster

// TestMain starts the cluster, runs the tests on it, and stops it. If KEEP is set in
// the environment, the cluster stays up after the tests; see cluster.RunTests. PROXY is the
// mode of kube-proxy, nftables or iptables. NETWORK is the program that connects the pods: with
// it the nodes have kubelets, and the product runs in pods; see cluster.Options.
func TestMain(m *testing.M) {
	needs := cluster.Needs{
		Forward:  cluster.Keep(),
		Programs: []cluster.Program{cluster.MetalLBController, cluster.MetalLBSpeaker},
		Debian:   []string{"bird=bird2", "vtysh=frr"},
	}
	network := os.Getenv("NETWORK")
	if network != "" {
		more, err := cluster.PodNetwork(network)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		needs.Full, needs.Programs, needs.Debian = true, append(needs.Programs, more.Programs...), append(needs.Debian, more.Debian...)
	}
	os.Exit(cluster.Main(needs, func(env cluster.Env) int {
		ctx := context.Background()
		if missing := cluster.PodNetworkMissing(network); missing != "" {
			fmt.Fprintf(os.Stderr, "SKIPPED: this kernel cannot run %s: %s\n", network, missing)
			return 0
		}
		c, err := cluster.Start(ctx, env, cluster.Options{Speakers: 3, ProxyMode: os.Getenv("PROXY"), Full: network != "", PodNetwork: network})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer c.Close()
		if network != "" {
			err = c.DeployShipped(ctx, cluster.DefaultPools)
		} else {
			err = c.Deploy(ctx, 2)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if _, err := c.Kubectl(ctx, "create", "deployment", "web", "--image=web:test", "--replicas=2"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		shared = c
		return c.RunTests(m)
	}))
}
