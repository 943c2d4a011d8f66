// Package deaths lets nodes of a cluster with kubelets lose their power, and counts the requests of a
// client that fail.
package deaths

import (
	"context"
	"fmt"
	"time"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// Outcome are the requests after a death, by the second in which they began.
type Outcome struct {
	Sent, Failed map[int]int
}

// BySecond sorts attempts into the seconds after a death.
func BySecond(died time.Time, attempts []cluster.Attempt) Outcome {
	o := Outcome{Sent: map[int]int{}, Failed: map[int]int{}}
	for _, a := range attempts {
		second := int(a.Start.Sub(died) / time.Second)
		o.Sent[second]++
		if !a.OK {
			o.Failed[second]++
		}
	}
	return o
}

// Total returns the sums of the seconds from begin to before end, and the last of them with a
// failure; -1 if there is none.
func (o Outcome) Total(begin, end int) (sent, failed, last int) {
	last = -1
	for second := begin; second < end; second++ {
		sent += o.Sent[second]
		failed += o.Failed[second]
		if o.Failed[second] > 0 {
			last = second
		}
	}
	return sent, failed, last
}

// Strike lets a node lose its power while a client requests a page from vip every so often. It
// watches the client for some time after the death, and gives the node its power back.
func Strike(ctx context.Context, c *cluster.Cluster, victim *cluster.Node, vip string, every, watched time.Duration) (o Outcome, died time.Time, err error) {
	probe, err := c.StartProbeEvery(vip, every)
	if err != nil {
		return o, died, err
	}
	defer probe.Stop()
	begun := time.Now()
	if err := c.Wait(ctx, "two seconds without a failure", func() bool {
		for _, a := range probe.Attempts(begun) {
			if !a.OK {
				begun = a.Start.Add(time.Millisecond)
			}
		}
		return time.Since(begun) > 2*time.Second
	}); err != nil {
		return o, died, err
	}
	died = time.Now()
	if err := victim.Kill(); err != nil {
		return o, died, err
	}
	select {
	case <-time.After(watched + time.Second): // the last requests need time for their answer
	case <-ctx.Done():
		return o, died, ctx.Err()
	}
	o = BySecond(died, probe.Attempts(died))
	return o, died, victim.Revive()
}

// Well waits until all nodes, all pods of a Deployment and all speakers are well.
func Well(ctx context.Context, c *cluster.Cluster, deployment string) error {
	for _, args := range [][]string{
		{"wait", "node", "--all", "--for=condition=Ready", "--timeout=2m"},
		{"rollout", "status", "deployment/" + deployment, "--timeout=2m"},
		{"wait", "pod", "--all", "--for=condition=Ready", "--timeout=2m"},
	} {
		if _, err := c.Kubectl(ctx, args...); err != nil {
			return err
		}
	}
	if err := c.RolledOut(ctx); err != nil {
		return err
	}
	return c.Settled(ctx)
}

// Owner waits until exactly one node answers ARP for vip, and returns it.
func Owner(ctx context.Context, c *cluster.Cluster, vip string) (owner *cluster.Node, err error) {
	err = c.Wait(ctx, "one owner of "+vip, func() bool {
		macs, err := c.WhoHas(vip, 100*time.Millisecond)
		if err == nil && len(macs) == 1 {
			owner = c.NodeByMAC(macs[0])
		}
		return owner != nil
	})
	return owner, err
}

// Web is the manifest of three web servers in the Deployment nginx, one on each node.
const Web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: nginx, namespace: default}
spec:
  replicas: 3
  selector: {matchLabels: {app: nginx}}
  template:
    metadata: {labels: {app: nginx}}
    spec:
      terminationGracePeriodSeconds: 0
      topologySpreadConstraints:
        - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: nginx}}}
      containers:
        - name: nginx
          image: nginx:stable
          readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}
`

// Service returns the manifest of a Service for the pods of Web.
func Service(name, policy string) string {
	return fmt.Sprintf(`---
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: default}
spec:
  type: LoadBalancer
  externalTrafficPolicy: %s
  selector: {app: nginx}
  ports: [{port: 80}]
`, name, policy)
}

// Address waits until a Service has an address, and returns it.
func Address(ctx context.Context, c *cluster.Cluster, service string) (vip string, err error) {
	err = c.Wait(ctx, "an address of "+service, func() bool {
		vip, err = c.Kubectl(ctx, "get", "service", service, "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
		return err == nil && vip != ""
	})
	return vip, err
}
