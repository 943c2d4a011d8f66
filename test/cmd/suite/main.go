// Command suite runs Kubernetes' own tests of load balancers against this project, as it
// is shipped, on a cluster with kubelets.
//
// The tests run on a host behind a router, because one of them needs a client outside of
// the nodes' network. With -protocol=layer2 or spread the router sends ARP requests for the addresses.
// With -protocol=bgp all nodes are BGP peers of the router, and it spreads connections over
// the nodes that advertise an address.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// tests matches the tests with the label Feature:LoadBalancer, and the other tests of load
// balancers, which do not have that label.
const tests = `LoadBalancers|should complete a service status lifecycle|should fail health check node port|HealthCheckNodePort correctly|same port and different protocol for internal traffic on Type LoadBalancer`

// poolsFor has the configuration of the cluster by the value of -protocol.
var poolsFor = map[string]string{
	"layer2": cluster.DefaultPools,
	"bgp":    cluster.RoutedPools,
	"spread": cluster.DefaultPools + "  spread: true\n",
}

func main() {
	protocol := flag.String("protocol", "layer2", "layer2, bgp, or spread: layer2 with spread: true")
	focus := flag.String("focus", tests, "run the tests whose names match this regular expression")
	report := flag.String("report", "", "write the results to this file, in JUnit's format (required)")
	flag.Parse()
	if poolsFor[*protocol] == "" {
		fmt.Fprintf(os.Stderr, "-protocol=%s is wrong: write layer2, bgp or spread\n", *protocol)
		os.Exit(2)
	}
	path, err := filepath.Abs(*report)
	if err != nil || *report == "" {
		fmt.Fprintln(os.Stderr, "-report is missing: name a file for the results")
		os.Exit(2)
	}
	needs := cluster.Needs{Full: true, Programs: []cluster.Program{cluster.Suite, cluster.Ginkgo}, Debian: []string{"bird=bird2", "vtysh=frr"}}
	os.Exit(cluster.Main(needs, func(env cluster.Env) int {
		if err := run(context.Background(), env, *protocol, *focus, path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}))
}

func run(ctx context.Context, env cluster.Env, protocol, focus, report string) error {
	// Some tests need three nodes, and other tests take longer with more nodes. One test
	// gets the health of an IPv4 Service from all addresses of the nodes. kube-proxy with
	// nftables answers only at the addresses of the Service's family, so the nodes have
	// IPv4 addresses only.
	c, err := cluster.Start(ctx, env, cluster.Options{Speakers: 3, Full: true, IPv4Nodes: true})
	if err != nil {
		return err
	}
	defer c.Close()
	router, err := c.StartRouter(ctx, cluster.RouterOptions{Daemon: "BIRD", BFD: 300 * time.Millisecond})
	if err != nil {
		return err
	}
	defer router.Close()
	if err := c.DeployShipped(ctx, poolsFor[protocol]); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(env.Dir, "report-")
	if err != nil {
		return err
	}
	// Two of the tests take a quarter of an hour each and mostly wait. So three tests run
	// at the same time.
	suite := cluster.Namespaced(ctx, cluster.Outside, env.Binaries["ginkgo"],
		"--procs=3", "--focus="+focus, "-v", "--no-color", "--timeout=3h", env.Binaries["e2e.test"], "--",
		"--kubeconfig="+c.Kubeconfig(), "--provider=skeleton", "--kubectl-path="+env.Binaries["kubectl"], "--dns-domain=cluster.local",
		"--num-nodes=3", "--report-dir="+dir)
	suite.Stdout, suite.Stderr = os.Stdout, os.Stderr
	suite.Env = append(os.Environ(), "TMPDIR="+dir) // the tests do not remove their temporary files
	failed := suite.Run()
	if exit := (*exec.ExitError)(nil); failed != nil && !errors.As(failed, &exit) {
		return fmt.Errorf("running the tests: %w", failed)
	}
	if err := c.Crashed(); err != nil {
		return err
	}
	results, err := read(filepath.Join(dir, "junit_01.xml"))
	if err != nil {
		return err
	}
	if err := results.write(report); err != nil {
		return err
	}
	results.print(os.Stdout, protocol)
	return failed
}
