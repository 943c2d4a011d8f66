// Command deadnode measures how many requests of a client fail when a node with pods loses its
// power, without and with --report-dead-nodes. The Service has three pods on three nodes and the
// policy Cluster, so kube-proxy sends a third of the connections to the dead node until Kubernetes
// knows of the death. hack/bench-dead-node runs it.
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
	flag.DurationVar(&o.watched, "for", 70*time.Second, "how long the client is watched after each death")
	flag.BoolVar(&o.other, "other", false, "another node dies than the one that announces the address")
	flag.BoolVar(&o.leader, "leader", false, "the leading cluster manager dies with the node; otherwise it is on another node")
	flag.IntVar(&o.alarms, "alarms", 10, "how often a living node is reported dead, to measure how soon its kubelet sets its pods to ready again; 0 leaves it out")
	flag.BoolVar(&o.onlyAlarms, "only-alarms", false, "no node dies")
	flag.Parse()
	os.Exit(cluster.Main(cluster.Needs{Full: true}, func(env cluster.Env) int {
		if err := measure(context.Background(), env, o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}))
}

type options struct {
	watched       time.Duration
	other, leader bool
	alarms        int
	onlyAlarms    bool
}

// measure lets a node die twice, without and with --report-dead-nodes, and prints the table.
func measure(ctx context.Context, env cluster.Env, o options) error {
	c, err := cluster.Start(ctx, env, cluster.Options{Speakers: 3, Full: true})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.DeployShipped(ctx, cluster.DefaultPools); err != nil {
		return err
	}
	b := bench{Cluster: c, options: o, dir: env.Dir}
	if b.vip, err = b.expose(ctx); err != nil {
		return err
	}
	if o.alarms > 0 {
		if err := b.wrongAlarms(ctx); err != nil {
			return fmt.Errorf("wrong alarms: %w", err)
		}
	}
	if o.onlyAlarms {
		return nil
	}
	without, err := b.strike(ctx)
	if err != nil {
		return fmt.Errorf("without --report-dead-nodes: %w", err)
	}
	if err := b.report(ctx); err != nil {
		return err
	}
	with, err := b.strike(ctx)
	if err != nil {
		return fmt.Errorf("with --report-dead-nodes: %w", err)
	}
	fmt.Printf("3 nodes with one pod each, %d CPUs, %s; 100 connections a second, timeout 400 ms\n", runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
	printTable(os.Stdout, int(o.watched/time.Second), without, with)
	return nil
}
