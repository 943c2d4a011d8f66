// Command failover makes faults on a cluster in network namespaces. It measures how long a
// client gets no answer when the owner of an address fails, and checks that no address
// moves while no node fails. hack/bench-failover, hack/bench-bgp, hack/check-idle,
// hack/check-many, hack/check-without-api and hack/measure-speaker run it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

func main() {
	var o options
	flag.IntVar(&o.kills, "kills", 0, "number of faults of each kind, which hit the owner of the address")
	kinds := flag.String("kinds", "all", "kinds of faults, separated by commas: "+strings.Join(names(), ", "))
	flag.StringVar(&o.failover, "failover", "default", "the --failover flag of the speakers: default, fast or calm")
	flag.DurationVar(&o.idle, "idle", 0, "watch the cluster for this time without a failure of a node; nothing may move")
	flag.IntVar(&o.busy, "busy", 3, "with -idle: number of busy loops for each CPU")
	flag.IntVar(&o.loss, "loss", 0, "with -idle: lose this percentage of all frames instead")
	flag.BoolVar(&o.watcher, "watcher", false, "with -idle: stop a speaker that owns nothing again and again instead")
	flag.BoolVar(&o.stop, "stop", false, "with -idle: stop all speakers together again and again instead, for 0.1 to 5 s")
	flag.IntVar(&o.processes, "processes", 0, "watch this number of speakers for the time of -idle, without kube-proxy and without busy loops")
	flag.DurationVar(&o.away, "without-api", 0, "stop the API server for this time; the owner of the address dies after half of it")
	flag.IntVar(&o.vips, "vips", 0, "announce this number of addresses, and print the memory of the speaker")
	flag.StringVar(&o.router, "router", "", "with -kills: measure BGP after layer 2, with a router that runs this daemon: FRR or BIRD")
	flag.IntVar(&o.speakers, "nodes", 3, "number of nodes with a speaker")
	flag.Parse()
	var err error
	if o.processes > 0 {
		o.speakers, o.busy = o.processes, 0
	}
	if o.faults, err = choose(*kinds); err == nil {
		_, err = o.disturbance()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(cluster.Main(cluster.Needs{}, func(env cluster.Env) int {
		if err := measure(context.Background(), env, o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}))
}

type options struct {
	kills, speakers int
	faults          []fault
	failover        string
	idle            time.Duration
	busy, loss      int
	watcher, stop   bool
	processes       int
	away            time.Duration
	vips            int
	router          string
}

// measure starts a cluster and runs the measurements that the options name.
func measure(ctx context.Context, env cluster.Env, o options) error {
	c, err := cluster.Start(ctx, env, cluster.Options{Speakers: o.speakers, NoTraffic: o.processes > 0, SpeakerFlags: []string{"--failover=" + o.failover}})
	if err != nil {
		return err
	}
	defer c.Close()
	var vip string
	if o.processes > 0 {
		vip, err = deployMany(ctx, c)
	} else if err = c.Deploy(ctx, 1); err == nil {
		vip, err = expose(ctx, c, true)
	}
	if err != nil {
		return err
	}
	fmt.Printf("%d nodes, --failover=%s, %d CPUs, %s\n", o.speakers, o.failover, runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
	if o.kills > 0 {
		if err := strikeAll(ctx, c, vip, o); err != nil {
			return err
		}
		if o.router != "" {
			if err := strikeRouted(ctx, c, o); err != nil {
				return err
			}
		}
	}
	if o.away > 0 {
		if err := withoutAPI(ctx, c, vip, o.away); err != nil {
			return err
		}
	}
	if o.vips > 0 {
		if err := announceMany(ctx, c, o.vips); err != nil {
			return err
		}
	}
	if o.idle > 0 {
		return watchIdle(ctx, c, vip, o)
	}
	return nil
}

// expose creates a Service and waits until it has an address, and with traffic until a
// client has got a page from there. It returns the address.
func expose(ctx context.Context, c *cluster.Cluster, traffic bool) (vip string, err error) {
	for _, args := range [][]string{
		{"create", "deployment", "nginx", "--image=nginx"},
		{"expose", "deployment", "nginx", "--port=80", "--type=LoadBalancer"},
	} {
		if _, err := c.Kubectl(ctx, args...); err != nil {
			return "", err
		}
	}
	err = c.Wait(ctx, "the page", func() bool {
		vip, err = c.Kubectl(ctx, "get", "service", "nginx", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
		if err != nil || vip == "" {
			return false
		}
		if traffic {
			_, err = c.Fetch(ctx, vip)
		}
		return err == nil
	})
	return vip, err
}

// whoAnswers waits until exactly one node answers ARP for vip, and returns it.
func whoAnswers(ctx context.Context, c *cluster.Cluster, vip string) (node *cluster.Node, err error) {
	waitErr := c.Wait(ctx, "one owner", func() bool {
		var macs []string
		if macs, err = c.WhoHas(vip, 100*time.Millisecond); err == nil && len(macs) == 1 {
			node = c.NodeByMAC(macs[0])
		}
		return err != nil || node != nil
	})
	if waitErr != nil {
		return nil, waitErr
	}
	return node, err
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
