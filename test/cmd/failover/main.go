// Command failover measures, on a cluster in network namespaces, how long a
// client is without an answer when something happens to the node in charge, and
// whether anything moves while nothing happens. hack/bench-failover,
// hack/bench-bgp and hack/check-idle run it.
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
	flag.IntVar(&o.kills, "kills", 0, "how many times of each kind to strike the node in charge")
	kinds := flag.String("kinds", "all", "kinds of faults, separated by commas: "+strings.Join(names(), ", "))
	flag.StringVar(&o.failover, "failover", "default", "the speakers' --failover")
	flag.DurationVar(&o.idle, "idle", 0, "how long to watch a cluster in which nothing happens while every core is busy")
	flag.BoolVar(&o.lossy, "lossy", false, "with -idle: a tenth of all frames is lost, and the cores are not kept busy")
	flag.DurationVar(&o.away, "without-api", 0, "how long to stop the API server; half-way the node in charge dies")
	flag.IntVar(&o.vips, "vips", 0, "how many addresses to announce, to print what the speakers need for them")
	flag.StringVar(&o.router, "router", "", "with -kills: strike nodes behind a router with this daemon, FRR or BIRD, after the node in charge of the link")
	flag.IntVar(&o.speakers, "nodes", 3, "number of nodes that announce")
	flag.Parse()
	var err error
	if o.faults, err = choose(*kinds); err != nil {
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
	lossy           bool
	away            time.Duration
	vips            int
	router          string
}

func measure(ctx context.Context, env cluster.Env, o options) error {
	c, err := cluster.Start(ctx, env, cluster.Options{Speakers: o.speakers, SpeakerFlags: []string{"--failover=" + o.failover}})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Deploy(ctx, 1); err != nil {
		return err
	}
	vip, err := expose(ctx, c)
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

// expose makes a Service and returns its address when a client has got a page.
func expose(ctx context.Context, c *cluster.Cluster) (vip string, err error) {
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
		_, err = c.Fetch(ctx, vip)
		return err == nil
	})
	return vip, err
}

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

// watchIdle counts what the speakers decide while nothing happens but that every
// core is busy twice over, or that frames are lost. It should be nothing.
func watchIdle(ctx context.Context, c *cluster.Cluster, vip string, o options) error {
	owner, err := whoAnswers(ctx, c, vip)
	if err != nil {
		return err
	}
	// An address that has just been given is still being announced.
	before, deathsBefore := decisions(c), deaths(c)
	what := fmt.Sprintf("with %d busy loops", 2*runtime.NumCPU())
	if o.lossy {
		what = "with a tenth of all frames lost"
		if err := c.Lossy(); err != nil {
			return err
		}
	} else {
		stop, err := cluster.Burn(2 * runtime.NumCPU())
		if err != nil {
			return err
		}
		defer stop()
	}
	asked, silent, wrong := 0, 0, 0
	for end := time.Now().Add(o.idle); time.Now().Before(end); asked++ {
		macs, err := c.WhoHas(vip, time.Second)
		switch {
		case err != nil:
			return err
		case len(macs) == 0:
			silent++
		case len(macs) > 1 || macs[0] != owner.MAC:
			wrong++
		}
	}
	moved := decisions(c) - before
	fmt.Printf("%v %s: %d decisions changed, %d speakers taken for dead; asked by ARP %d times: %d without an answer, %d answered by another node\n",
		o.idle, what, moved, deaths(c)-deathsBefore, asked, silent, wrong)
	if moved > 0 || wrong > 0 || silent > 0 && !o.lossy {
		return fmt.Errorf("an address has moved or was not answered for, without a reason")
	}
	return nil
}

func decisions(c *cluster.Cluster) int { return countLogs(c, "msg=decision") }
func deaths(c *cluster.Cluster) int {
	return countLogs(c, `msg="speaker died"`) + countLogs(c, `msg="speaker is silent`)
}

func countLogs(c *cluster.Cluster, text string) (n int) {
	for _, node := range c.Nodes() {
		n += strings.Count(node.Speaker().Log(), text)
	}
	return n
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
