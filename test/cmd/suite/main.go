// Command suite runs Kubernetes' own tests of load balancers against this project,
// as it is shipped, on a cluster with kubelets.
//
// The tests run on a host behind a router, since one of them wants a client that
// is not on the nodes' network. With -protocol=layer2 the router asks by ARP for
// the addresses; with -protocol=bgp all nodes are its BGP peers, and it spreads
// connections over those that advertise an address.
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

// tests are those with the label Feature:LoadBalancer, and more that are about load
// balancers without having it.
const tests = `LoadBalancers|should complete a service status lifecycle|should fail health check node port|HealthCheckNodePort correctly|same port and different protocol for internal traffic on Type LoadBalancer`

func main() {
	protocol := flag.String("protocol", "layer2", "layer2 or bgp")
	focus := flag.String("focus", tests, "a regular expression; the tests whose names it matches are run")
	report := flag.String("report", "", "the file for the results, in JUnit's format")
	flag.Parse()
	if *protocol != "layer2" && *protocol != "bgp" {
		fmt.Fprintf(os.Stderr, "-protocol is %q; it must be layer2 or bgp\n", *protocol)
		os.Exit(2)
	}
	path, err := filepath.Abs(*report)
	if err != nil || *report == "" {
		fmt.Fprintln(os.Stderr, "-report must name a file")
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
	// Some tests want three nodes; more would make others longer. One asks for the
	// health of an IPv4 Service at all addresses of the nodes, but kube-proxy with
	// nftables answers only at those of the Service's family.
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
	pools := cluster.DefaultPools
	if protocol == "bgp" {
		pools = cluster.RoutedPools
	}
	if err := c.DeployShipped(ctx, pools); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(env.Dir, "report-")
	if err != nil {
		return err
	}
	// Two of the tests take a quarter of an hour each, in which they mostly wait: they
	// and all others go side by side.
	suite := cluster.Namespaced(ctx, cluster.Outside, env.Binaries["ginkgo"],
		"--procs=3", "--focus="+focus, "-v", "--no-color", "--timeout=3h", env.Binaries["e2e.test"], "--",
		"--kubeconfig="+c.Kubeconfig(), "--provider=skeleton", "--kubectl-path="+env.Binaries["kubectl"], "--dns-domain=cluster.local",
		"--num-nodes=3", "--report-dir="+dir)
	suite.Stdout, suite.Stderr = os.Stdout, os.Stderr
	suite.Env = append(os.Environ(), "TMPDIR="+dir) // the tests leave files there
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
