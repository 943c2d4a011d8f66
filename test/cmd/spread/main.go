// Command spread measures, without and with spread, how the nodes share connections, which connections
// survive the death of the announcer, and what the announcer can take. With -dead-pods it measures how many
// requests fail when a node with a pod dies. hack/bench-spread runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

func main() {
	var o options
	flag.IntVar(&o.connections, "connections", 1000, "number of connections whose nodes are counted")
	flag.IntVar(&o.talks, "talks", 200, "number of connections that are open when the announcer dies")
	flag.IntVar(&o.rounds, "rounds", 5, "number of floods and of transfers in each direction; the median counts")
	flag.DurationVar(&o.flood, "flood", 2*time.Second, "how long each flood lasts")
	flag.Int64Var(&o.bytes, "bytes", 512<<20, "size of each transfer")
	flag.DurationVar(&o.watched, "for", time.Minute, "with -dead-pods: how long the client is watched after each death")
	flag.BoolVar(&o.deadPods, "dead-pods", false, "measure the death of a node with a pod instead, on nodes with kubelets")
	flag.Parse()
	needs := cluster.Needs{Full: o.deadPods, Debian: []string{"bird=bird2", "vtysh=frr"}}
	os.Exit(cluster.Main(needs, func(env cluster.Env) int {
		measure := measureTraffic
		if o.deadPods {
			measure = measureDeadPods
		}
		if err := measure(context.Background(), env, o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}))
}

type options struct {
	connections, talks, rounds int
	flood, watched             time.Duration
	bytes                      int64
	deadPods                   bool
}

// header says on what the measurements were made.
func header() string {
	return fmt.Sprintf("3 nodes, %d CPUs, %s", runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
}

// setSpread asks that a Service is spread, or that it is not.
func setSpread(ctx context.Context, c *cluster.Cluster, service string, spread bool) error {
	_, err := c.Kubectl(ctx, "annotate", "service", service, "--overwrite", fmt.Sprint("lb.baremetal/spread=", spread))
	return err
}
