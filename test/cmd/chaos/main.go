// Command chaos makes random faults on a cluster in network namespaces, two at a time. It
// watches who answers for each address, and checks that no address is without an answer or
// has two owners for longer than allowed. hack/chaos runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

type options struct {
	length          time.Duration
	seed            uint64
	nodes           int
	services, local int
	kinds           string
	failover        string
	spread          bool
}

func main() {
	var o options
	flag.DurationVar(&o.length, "for", 30*time.Minute, "make faults for this time")
	flag.Uint64Var(&o.seed, "seed", 0, "draw the faults from this seed; 0 takes the time")
	flag.IntVar(&o.nodes, "nodes", 5, "number of nodes with a speaker, at least 4")
	flag.IntVar(&o.services, "services", 4, "number of Services with policy Cluster")
	flag.IntVar(&o.local, "local", 1, "number of Services with policy Local, which three nodes can announce")
	flag.StringVar(&o.kinds, "kinds", "all", "kinds of faults, separated by commas: "+strings.Join(kindNames(), ", "))
	flag.StringVar(&o.failover, "failover", "default", "the --failover flag of the speakers: default, fast or calm; the limits are those of default")
	flag.BoolVar(&o.spread, "spread", false, "spread the flows to each address over the nodes")
	flag.Parse()
	for o.seed == 0 {
		o.seed = uint64(time.Now().UnixMicro() % 1_000_000)
	}
	if o.nodes < 4 || o.services+o.local < 1 {
		fmt.Fprintln(os.Stderr, "-nodes must be at least 4, and there must be a Service; see -help")
		os.Exit(2)
	}
	if _, err := newSchedule(o.seed, nil, o.kinds); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(cluster.Main(cluster.Needs{}, func(env cluster.Env) int {
		code, err := play(context.Background(), env, o)
		if err != nil {
			fmt.Fprintf(os.Stderr, "chaos with seed %d: %v\n", o.seed, err)
			return 1
		}
		return code
	}))
}
