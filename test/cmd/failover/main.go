// Command failover measures, on a cluster in network namespaces, how long a
// client is without an answer when the node in charge dies, and whether anything
// moves while nothing happens. hack/bench-failover and hack/check-idle run it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

func main() {
	kills := flag.Int("kills", 0, "how many times to kill the node in charge")
	idle := flag.Duration("idle", 0, "how long to watch a cluster in which nothing happens while every core is busy")
	speakers := flag.Int("nodes", 3, "number of nodes that announce")
	flag.Parse()
	os.Exit(cluster.Main(false, func(env cluster.Env) int {
		if err := measure(context.Background(), env, *speakers, *kills, *idle); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}))
}

func measure(ctx context.Context, env cluster.Env, speakers, kills int, idle time.Duration) error {
	c, err := cluster.Start(ctx, env, cluster.Options{Speakers: speakers})
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
	fmt.Printf("%d nodes, %d CPUs, %s\n", speakers, runtime.NumCPU(), time.Now().UTC().Format(time.DateOnly))
	if kills > 0 {
		if err := killAll(ctx, c, vip, kills); err != nil {
			return err
		}
	}
	if idle > 0 {
		return watchIdle(ctx, c, vip, idle)
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

// killAll kills the node in charge again and again. The pod is on another node,
// so that only the takeover is measured.
func killAll(ctx context.Context, c *cluster.Cluster, vip string, kills int) error {
	probe, err := c.StartProbe(vip)
	if err != nil {
		return err
	}
	defer probe.Stop()
	fmt.Println("kill  node   taken over by  outage    requests lost")
	var outages []time.Duration
	for i := range kills {
		owner, err := whoAnswers(ctx, c, vip)
		if err != nil {
			return err
		}
		death := time.Now()
		if err := owner.Kill(); err != nil {
			return err
		}
		var outage time.Duration
		var lost int
		if err := c.Wait(ctx, "the first answer", func() (ok bool) {
			outage, lost, ok = probe.Recovered(death)
			return ok
		}); err != nil {
			return err
		}
		heir, err := whoAnswers(ctx, c, vip)
		if err != nil {
			return err
		}
		outages = append(outages, outage)
		fmt.Printf("%4d  %-5s  %-13s  %7.0f ms  %d\n", i+1, owner.Name, heir.Name, ms(outage), lost)
		if err := owner.Revive(); err != nil {
			return err
		}
		if err := c.Settled(ctx); err != nil {
			return err
		}
		// A moment of peace, so that a kill does not meet the burst of the last.
		time.Sleep(time.Duration(1000+137*i%500) * time.Millisecond)
	}
	slices.Sort(outages)
	fmt.Printf("node death to the first request that succeeds: median %.0f ms, worst %.0f ms of %d kills (one request every 10 ms)\n",
		ms((outages[(len(outages)-1)/2]+outages[len(outages)/2])/2), ms(outages[len(outages)-1]), len(outages))
	return nil
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

// watchIdle keeps every core busy twice over and counts what the speakers
// decide meanwhile, which should be nothing.
func watchIdle(ctx context.Context, c *cluster.Cluster, vip string, idle time.Duration) error {
	owner, err := whoAnswers(ctx, c, vip)
	if err != nil {
		return err
	}
	before, deathsBefore := decisions(c), deaths(c)
	stop, err := cluster.Burn(2 * runtime.NumCPU())
	if err != nil {
		return err
	}
	defer stop()
	asked, silent, wrong := 0, 0, 0
	for end := time.Now().Add(idle); time.Now().Before(end); asked++ {
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
	fmt.Printf("idle for %v with %d busy loops: %d decisions changed, %d speakers taken for dead; asked by ARP %d times: %d without an answer, %d answered by another node\n",
		idle, 2*runtime.NumCPU(), moved, deaths(c)-deathsBefore, asked, silent, wrong)
	if moved > 0 || wrong > 0 || silent > 0 {
		return fmt.Errorf("an address has moved or was not answered for, without a reason")
	}
	return nil
}

func decisions(c *cluster.Cluster) int { return countLogs(c, "msg=decision") }
func deaths(c *cluster.Cluster) int    { return countLogs(c, `msg="speaker died"`) }

func countLogs(c *cluster.Cluster, text string) (n int) {
	for _, node := range c.Nodes() {
		n += strings.Count(node.Speaker().Log(), text)
	}
	return n
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
