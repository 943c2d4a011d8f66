// Command failover makes faults on a cluster in network namespaces. It measures how long a
// client gets no answer when the owner of an address fails, and checks that no address
// moves while no node fails. hack/bench-failover, hack/bench-bgp, hack/check-idle,
// hack/check-without-api and hack/measure-speaker run it.
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
	flag.DurationVar(&o.idle, "idle", 0, "watch the cluster for this time without a fault, while all CPUs are busy")
	flag.BoolVar(&o.lossy, "lossy", false, "with -idle: lose a tenth of all frames, and do not keep the CPUs busy")
	flag.DurationVar(&o.away, "without-api", 0, "stop the API server for this time; the owner of the address dies after half of it")
	flag.IntVar(&o.vips, "vips", 0, "announce this number of addresses, and print the memory of the speaker")
	flag.StringVar(&o.router, "router", "", "with -kills: measure BGP after layer 2, with a router that runs this daemon: FRR or BIRD")
	flag.IntVar(&o.speakers, "nodes", 3, "number of nodes with a speaker")
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

// measure starts a cluster and runs the measurements that the options name.
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

// expose creates a Service and waits until a client has got a page from it. It returns the
// address of the Service.
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

// watchIdle watches the cluster while two busy loops run on each CPU, or while frames are
// lost. It counts the changed decisions of the speakers. There should be none.
func watchIdle(ctx context.Context, c *cluster.Cluster, vip string, o options) error {
	owner, err := whoAnswers(ctx, c, vip)
	if err != nil {
		return err
	}
	// The speakers have logged a decision for the new address already. It does not count.
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
	asked, unanswered, wrong := 0, 0, 0
	for end := time.Now().Add(o.idle); time.Now().Before(end); asked++ {
		macs, err := c.WhoHas(vip, time.Second)
		switch {
		case err != nil:
			return err
		case len(macs) == 0:
			unanswered++
		case len(macs) > 1 || macs[0] != owner.MAC:
			wrong++
		}
	}
	moved := decisions(c) - before
	fmt.Printf("%v %s: %d decisions changed, %d speakers wrongly detected as dead; %d ARP requests, %d without an answer, %d answered by another node\n",
		o.idle, what, moved, deaths(c)-deathsBefore, asked, unanswered, wrong)
	if moved > 0 || wrong > 0 || unanswered > 0 && !o.lossy {
		return fmt.Errorf("the address %s has moved, or an ARP request was not answered, although no node failed", vip)
	}
	return nil
}

// decisions returns how many decisions the speakers have logged.
func decisions(c *cluster.Cluster) int { return countLogs(c, `msg="layer 2 decision changed"`) }

// deaths returns how many dead members the speakers have logged.
func deaths(c *cluster.Cluster) int {
	return countLogs(c, `msg="speaker died"`) + countLogs(c, `msg="member is dead`)
}

// countLogs returns how often the logs of the speakers contain text.
func countLogs(c *cluster.Cluster, text string) (n int) {
	for _, node := range c.Nodes() {
		n += strings.Count(node.Speaker().Log(), text)
	}
	return n
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
