package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// undo repairs a fault.
type undo func(context.Context) error

// always makes an undo of a function that needs no context.
func always(f func() error) undo { return func(context.Context) error { return f() } }

// strikes make the faults of each kind. nodes are the nodes that the fault hits.
var strikes = map[string]func(ctx context.Context, c *chaos, p planned, nodes []*cluster.Node) (undo, error){
	"power": func(_ context.Context, _ *chaos, _ planned, nodes []*cluster.Node) (undo, error) {
		return always(nodes[0].Revive), nodes[0].Kill()
	},
	"crash": func(_ context.Context, _ *chaos, _ planned, nodes []*cluster.Node) (undo, error) {
		nodes[0].Speaker().Kill()
		return func(ctx context.Context) error {
			if err := nodes[0].StartSpeaker(ctx); err != nil {
				return err
			}
			return nodes[0].WaitReady(ctx)
		}, nil
	},
	"freeze": func(_ context.Context, _ *chaos, _ planned, nodes []*cluster.Node) (undo, error) {
		nodes[0].Speaker().Freeze()
		return func(context.Context) error { nodes[0].Speaker().Thaw(); return nil }, nil
	},
	"deaf": func(_ context.Context, _ *chaos, _ planned, nodes []*cluster.Node) (undo, error) {
		return always(nodes[0].Unblock), nodes[0].Deafen()
	},
	"mute": func(_ context.Context, _ *chaos, _ planned, nodes []*cluster.Node) (undo, error) {
		return always(nodes[0].Unblock), nodes[0].Mute()
	},
	"partition": func(_ context.Context, c *chaos, _ planned, nodes []*cluster.Node) (undo, error) {
		return always(c.Join), c.Partition(nodes...)
	},
	"split": func(_ context.Context, c *chaos, _ planned, nodes []*cluster.Node) (undo, error) {
		return always(c.Join), c.Split(nodes...)
	},
	"exclude": func(ctx context.Context, c *chaos, _ planned, nodes []*cluster.Node) (undo, error) {
		patch := func(value string) string {
			return fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, v1.LabelNodeExcludeBalancers, value)
		}
		return func(ctx context.Context) error { return c.patchNode(ctx, nodes[0], patch("null")) }, c.patchNode(ctx, nodes[0], patch(`""`))
	},
	"cordon": func(ctx context.Context, c *chaos, _ planned, nodes []*cluster.Node) (undo, error) {
		patch := func(value bool) string { return fmt.Sprintf(`{"spec":{"unschedulable":%v}}`, value) }
		return func(ctx context.Context) error { return c.patchNode(ctx, nodes[0], patch(false)) }, c.patchNode(ctx, nodes[0], patch(true))
	},
	"api": func(_ context.Context, c *chaos, _ planned, _ []*cluster.Node) (undo, error) {
		c.managers.hold() // they end without the API server, and cannot start either
		c.APIServer.Kill()
		return func(ctx context.Context) error {
			if err := c.StartAPIServer(); err != nil {
				return err
			}
			if err := c.Wait(ctx, "the API server", func() bool {
				text, err := c.Client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
				return err == nil && string(text) == "ok"
			}); err != nil {
				return err
			}
			return c.managers.release(ctx)
		}, nil
	},
	"managers": func(_ context.Context, c *chaos, _ planned, _ []*cluster.Node) (undo, error) {
		c.managers.hold()
		c.managers.kill()
		return c.managers.release, nil
	},
	"config": func(ctx context.Context, c *chaos, p planned, _ []*cluster.Node) (undo, error) {
		return c.edit(ctx, validPools[p.choice%len(validPools)])
	},
	"prefer": func(ctx context.Context, c *chaos, p planned, _ []*cluster.Node) (undo, error) {
		node := c.Nodes()[p.choice%len(c.Nodes())]
		return c.edit(ctx, cluster.DefaultPools+"  preferred-nodes: [{match-labels: {"+v1.LabelHostname+": "+node.Name+"}}]\n")
	},
	"broken": func(ctx context.Context, c *chaos, p planned, _ []*cluster.Node) (undo, error) {
		return c.edit(ctx, brokenPools[p.choice%len(brokenPools)])
	},
	"service": func(ctx context.Context, c *chaos, p planned, _ []*cluster.Node) (undo, error) {
		// The name is new each time, because the ledger knows Services by name.
		s := loadBalancer(fmt.Sprintf("short-lived-%d", time.Now().UnixMilli()), "web", v1.ServiceExternalTrafficPolicyCluster)
		services := c.Client.CoreV1().Services(s.Namespace)
		_, err := services.Create(ctx, s, metav1.CreateOptions{})
		return func(ctx context.Context) error { return services.Delete(ctx, s.Name, metav1.DeleteOptions{}) }, err
	},
}

// validPools are edits of the configuration after which every Service must keep its address.
var validPools = []string{
	cluster.DefaultPools + "- {name: more, protocol: layer2, addresses: [192.168.121.0/24], auto-assign: false}\n",
	// The addresses in use leave their pool.
	"address-pools: [{name: default, protocol: layer2, addresses: [192.168.120.240-192.168.120.250]}]\n",
	// The pool has another name and another order of addresses.
	"address-pools: [{name: renamed, protocol: layer2, reuse-delay: 1m, addresses: [192.168.120.220-192.168.120.250, 192.168.120.200-192.168.120.219]}]\n",
}

// brokenPools are edits that must be refused, and must change nothing.
var brokenPools = []string{
	"address-pools: [",
	"address-pools: [{name: default, protocol: layer2, addresses: [192.168.120.250-192.168.120.200]}]\n",
	"address-pools: [{name: default, protocol: layer3, addresses: [192.168.120.200-192.168.120.250]}]\n",
	cluster.DefaultPools + "- {name: default, protocol: layer2, addresses: [192.168.122.0/24]}\n",
}

// edit writes the configuration. Its undo writes the first configuration again.
func (c *chaos) edit(ctx context.Context, text string) (undo, error) {
	return func(ctx context.Context) error { return c.SetPools(ctx, cluster.DefaultPools) }, c.SetPools(ctx, text)
}

func (c *chaos) patchNode(ctx context.Context, n *cluster.Node, patch string) error {
	_, err := c.Client.CoreV1().Nodes().Patch(ctx, n.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	return err
}

// run makes a planned fault, waits, and repairs it. If ctx ends, it leaves the fault as it
// is, because the cluster ends, too.
func (c *chaos) run(ctx context.Context, p planned) error {
	if !sleep(ctx, p.after) {
		return nil
	}
	var nodes []*cluster.Node
	for _, name := range p.nodes {
		nodes = append(nodes, c.Node(name))
	}
	n := c.begin(p)
	repair, err := strikes[p.kind.name](ctx, c, p, nodes)
	if err == nil && sleep(ctx, p.length) {
		begun := time.Now()
		err = repair(ctx)
		c.end(n)
		if took := time.Since(begun); took > time.Second {
			c.report.say("the end of %v took %.1f s more", p, took.Seconds())
		}
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("%v: %w", p, err)
	}
	return nil
}

// begin records that a fault begins, and returns its number.
func (c *chaos) begin(p planned) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, fault{kind: p.kind, nodes: p.nodes, begun: time.Now()})
	return len(c.faults) - 1
}

// end records that a fault has ended.
func (c *chaos) end(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults[n].ended = time.Now()
}

// sleep waits. It returns false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
