package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
	"github.com/baremetal-lb/cloud-provider-baremetal/test/cmd/internal/deaths"
)

// requestEvery is the time between two requests of the client.
const requestEvery = 5 * time.Millisecond

// column is a death: a traffic policy, without or with spread. Each has a Service of its own, because nodes
// remember the connections of the client to an address for two minutes.
type column struct {
	policy  string
	spread  bool
	outcome deaths.Outcome
}

// measureDeadPods lets the announcer of a Service die four times: with each traffic policy, without and with
// spread. Each of the three nodes has one of the Service's pods.
func measureDeadPods(ctx context.Context, env cluster.Env, o options) error {
	c, err := cluster.Start(ctx, env, cluster.Options{Speakers: 3, Full: true})
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.DeployShipped(ctx, cluster.DefaultPools); err != nil {
		return err
	}
	columns := []column{{policy: "Cluster"}, {policy: "Cluster", spread: true}, {policy: "Local"}, {policy: "Local", spread: true}}
	manifest := deaths.Web
	for _, col := range columns {
		manifest += deaths.Service(col.service(), col.policy)
	}
	file := filepath.Join(env.Dir, "nginx.yaml")
	if err := os.WriteFile(file, []byte(manifest), 0o644); err != nil {
		return err
	}
	if _, err := c.Kubectl(ctx, "apply", "-f", file); err != nil {
		return err
	}
	for i := range columns {
		if err := columns[i].die(ctx, c, o.watched); err != nil {
			return fmt.Errorf("policy %s, spread %v: %w", columns[i].policy, columns[i].spread, err)
		}
	}
	fmt.Println(header())
	printDeaths(os.Stdout, int(o.watched/time.Second), columns)
	return nil
}

func (col *column) service() string {
	return fmt.Sprintf("%s-%v", strings.ToLower(col.policy), col.spread)
}

// die lets the announcer die, and counts the requests that fail.
func (col *column) die(ctx context.Context, c *cluster.Cluster, watched time.Duration) error {
	// New speakers do not remember the node that died last, so all nodes are candidates again.
	if _, err := c.Kubectl(ctx, "-n", "baremetal-system", "rollout", "restart", "daemonset/baremetal-speaker"); err != nil {
		return err
	}
	if err := deaths.Well(ctx, c, "nginx"); err != nil {
		return err
	}
	service := col.service()
	vip, err := deaths.Address(ctx, c, service)
	if err != nil {
		return err
	}
	if err := setSpread(ctx, c, service, col.spread); err != nil {
		return err
	}
	want := ""
	if col.spread {
		want = "True " + vip + " is spread over 3 nodes"
	}
	if err := c.Wait(ctx, "the condition of "+service+": "+want, func() bool {
		text, err := c.Kubectl(ctx, "get", "service", service, "-o", `jsonpath={range .status.conditions[?(@.type=="lb.baremetal/Spread")]}{.status} {.message}{end}`)
		return err == nil && text == want
	}); err != nil {
		return err
	}
	victim, err := deaths.Owner(ctx, c, vip)
	if err != nil {
		return err
	}
	col.outcome, _, err = deaths.Strike(ctx, c, victim, vip, requestEvery, watched)
	return err
}
