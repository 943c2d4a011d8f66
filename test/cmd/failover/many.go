package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

const manyPools = `address-pools:
- {name: default, protocol: layer2, addresses: [192.168.120.200-192.168.120.250]}
- {name: many, protocol: layer2, addresses: [10.200.0.0/16], auto-assign: false}
`

// announceMany creates n Services, whose addresses are all announced by one node. It prints
// the memory of that node's speaker. Then it kills the node, and prints after what time
// another node announces all addresses.
func announceMany(ctx context.Context, c *cluster.Cluster, n int) error {
	one := c.Nodes()[0]
	for _, node := range c.Nodes()[1:] {
		if _, err := c.Kubectl(ctx, "label", "node", node.Name, v1.LabelNodeExcludeBalancers+"="); err != nil {
			return err
		}
	}
	if err := c.SetPools(ctx, manyPools); err != nil {
		return err
	}
	for i := range n {
		s := &v1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprint("many-", i), Annotations: map[string]string{"lb.baremetal/pool": "many"}},
			Spec:       v1.ServiceSpec{Type: v1.ServiceTypeLoadBalancer, Ports: []v1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(80)}}},
		}
		if _, err := c.Client.CoreV1().Services(s.Namespace).Create(ctx, s, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	if err := owns(ctx, c, one, n); err != nil {
		return err
	}
	memory, err := one.Speaker().Memory()
	if err != nil {
		return err
	}
	fmt.Printf("a speaker that announces %d addresses: %d MB resident\n", n, memory>>20)
	heir := c.Nodes()[1]
	if _, err := c.Kubectl(ctx, "label", "node", heir.Name, v1.LabelNodeExcludeBalancers+"-"); err != nil {
		return err
	}
	if err := c.Settled(ctx); err != nil {
		return err
	}
	death := time.Now()
	if err := one.Kill(); err != nil {
		return err
	}
	if err := owns(ctx, c, heir, n); err != nil {
		return err
	}
	fmt.Printf("%v after its death another node announced all of them\n", time.Since(death).Round(time.Millisecond))
	return one.Revive()
}

// deployMany starts the programs on a cluster with many nodes, and returns the address of a
// Service. It starts few speakers at a time, because the speakers, the API server and etcd
// share the CPUs of this machine. It prints what the speakers need when they have settled.
func deployMany(ctx context.Context, c *cluster.Cluster) (vip string, err error) {
	ccm, err := c.StartCCM(ctx)
	if err != nil {
		return "", err
	}
	if vip, err = expose(ctx, c, false); err != nil {
		return "", err
	}
	ccm.MayEnd() // it has done its work; it may lose its lease when the CPUs are busy
	ready := 0
	for few := range slices.Chunk(c.Nodes(), 2) {
		for _, n := range few {
			if err := n.StartSpeaker(ctx); err != nil {
				return "", err
			}
		}
		for _, n := range few {
			if err := n.WaitReady(ctx); err != nil {
				return "", fmt.Errorf("starting speakers, of which %d are ready; are there too many for the CPUs? %w", ready, err)
			}
			if ready++; ready%20 == 0 {
				fmt.Printf("%d of %d speakers are ready\n", ready, len(c.Nodes()))
			}
		}
	}
	// Few looks, and not at /metrics, because a look costs CPU time that the speakers need.
	waiting := slices.Clone(c.Nodes())
	var looked time.Time
	if err := c.WaitFor(ctx, "all speakers to see each other", 2*time.Minute, func() bool {
		if time.Since(looked) < 2*time.Second {
			return false
		}
		looked = time.Now()
		waiting = slices.DeleteFunc(waiting, func(n *cluster.Node) bool {
			plan, err := n.Get(ctx, "/debug/plan")
			return err == nil && candidates(plan) == len(c.Nodes())
		})
		return len(waiting) == 0
	}); err != nil {
		return "", fmt.Errorf("%d of %d speakers do not see all others; are there too many for the CPUs? %w", len(waiting), len(c.Nodes()), err)
	}
	return vip, sayCost(c)
}

// candidates returns the number of candidates of the address in a speaker's plan, which has
// one address.
func candidates(plan string) int {
	_, rest, found := strings.Cut(plan, " candidates=")
	if list, _, _ := strings.Cut(rest, " "); found && list != "none" {
		return strings.Count(list, ",") + 1
	}
	return 0
}

// sayCost prints the memory of all speakers, and their CPU time in some seconds.
func sayCost(c *cluster.Cluster) error {
	const wait = 10 * time.Second
	var memory int64
	var before, after time.Duration
	add := func(sum *time.Duration) error {
		for _, n := range c.Nodes() {
			used, err := n.Speaker().CPU()
			if err != nil {
				return err
			}
			*sum += used
		}
		return nil
	}
	if err := add(&before); err != nil {
		return err
	}
	time.Sleep(wait)
	if err := add(&after); err != nil {
		return err
	}
	for _, n := range c.Nodes() {
		used, err := n.Speaker().Memory()
		if err != nil {
			return err
		}
		memory += used
	}
	n := len(c.Nodes())
	fmt.Printf("%d speakers: each has %d MB resident and uses %.1f%% of a CPU, on average\n",
		n, memory>>20/int64(n), 100*(after-before).Seconds()/wait.Seconds()/float64(n))
	return nil
}

// owns waits until a node announces n addresses of the pool many.
func owns(ctx context.Context, c *cluster.Cluster, node *cluster.Node, n int) error {
	return c.Wait(ctx, fmt.Sprint(n, " addresses on ", node.Name), func() bool {
		text, err := node.Get(ctx, "/metrics")
		return err == nil && strings.Count(text, `baremetal_layer2_owner{vip="10.200.`) >= n
	})
}

// withoutAPI stops the API server for the time away. After half of that time it kills the
// owner of vip. It prints how many requests of a client failed.
func withoutAPI(ctx context.Context, c *cluster.Cluster, vip string, away time.Duration) error {
	for _, ccm := range c.CCMs() {
		ccm.MayEnd() // a leader ends when it cannot renew its lease
	}
	c.APIServer.Stop()
	probe, err := c.StartProbe(vip)
	if err != nil {
		return err
	}
	defer probe.Stop()
	begun := time.Now()
	time.Sleep(away / 2)
	failedBefore := failures(probe, begun)
	owner, err := whoAnswers(ctx, c, vip)
	if err != nil {
		return err
	}
	death := time.Now()
	if err := owner.Kill(); err != nil {
		return err
	}
	var outage time.Duration
	if err := c.Wait(ctx, "the first request that succeeds", func() (ok bool) {
		outage, _, ok = probe.Recovered(death)
		return ok
	}); err != nil {
		return err
	}
	recovered := time.Now()
	time.Sleep(away - time.Since(begun))
	fmt.Printf("%v without the API server: %d requests failed before the owner died, then requests failed for %.0f ms, and %d failed after that\n",
		away, failedBefore, ms(outage), failures(probe, recovered))
	if err := owner.Revive(); err != nil {
		return err
	}
	return c.StartAPIServer()
}

// failures returns how many requests failed that began at since or later.
func failures(probe *cluster.Probe, since time.Time) (n int) {
	for _, a := range probe.Attempts(since) {
		if !a.OK {
			n++
		}
	}
	return n
}
