package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// bench is the cluster with the Service that is measured.
type bench struct {
	*cluster.Cluster
	options
	dir, vip string
}

const (
	namespace = "baremetal-system"
	manager   = "deployment/baremetal-cloud-controller-manager"
)

// pods are three web servers, one on each node.
const pods = `
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
---
apiVersion: v1
kind: Service
metadata: {name: nginx, namespace: default}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Cluster
  selector: {app: nginx}
  ports: [{port: 80}]
`

// expose starts the pods, and returns the address of their Service.
func (b *bench) expose(ctx context.Context) (vip string, err error) {
	file, err := b.write("nginx.yaml", pods)
	if err != nil {
		return "", err
	}
	if _, err := b.Kubectl(ctx, "apply", "-f", file); err != nil {
		return "", err
	}
	if _, err := b.Kubectl(ctx, "rollout", "status", "deployment/nginx", "--timeout=3m"); err != nil {
		return "", err
	}
	err = b.Wait(ctx, "an address", func() bool {
		vip, err = b.Kubectl(ctx, "get", "service", "nginx", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")
		return err == nil && vip != ""
	})
	return vip, err
}

// write writes a manifest, and returns its path.
func (b *bench) write(name, text string) (path string, err error) {
	path = filepath.Join(b.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o644)
}

// report switches --report-dead-nodes on, and waits until the leader can report.
func (b *bench) report(ctx context.Context) error {
	for _, args := range [][]string{
		{"apply", "-f", filepath.Join(b.Root(), "manifests/report-dead-nodes/rbac.yaml"), "-f", filepath.Join(b.Root(), "manifests/report-dead-nodes/policy.yaml")},
		{"-n", namespace, "patch", manager, "--type=json", "-p", `[{"op":"add","path":"/spec/template/spec/containers/0/args/-","value":"--report-dead-nodes=true"}]`},
	} {
		if _, err := b.Kubectl(ctx, args...); err != nil {
			return err
		}
	}
	return b.RolledOut(ctx)
}

// strike lets the node lose its power, and returns what the client noticed. Then it repairs
// everything.
func (b *bench) strike(ctx context.Context) (outcome, error) {
	if err := b.well(ctx); err != nil {
		return outcome{}, err
	}
	victim, err := b.victim(ctx)
	if err != nil {
		return outcome{}, err
	}
	if err := b.placeLeader(ctx, victim); err != nil {
		return outcome{}, err
	}
	probe, err := b.StartProbe(b.vip)
	if err != nil {
		return outcome{}, err
	}
	defer probe.Stop()
	begun := time.Now()
	if err := b.Wait(ctx, "two seconds without a failure", func() bool {
		for _, a := range probe.Attempts(begun) {
			if !a.OK {
				begun = a.Start.Add(time.Millisecond)
			}
		}
		return time.Since(begun) > 2*time.Second
	}); err != nil {
		return outcome{}, err
	}
	died := time.Now()
	if err := victim.Kill(); err != nil {
		return outcome{}, err
	}
	select {
	case <-time.After(b.watched + time.Second): // the last requests need time for their answer
	case <-ctx.Done():
		return outcome{}, ctx.Err()
	}
	result := bySecond(died, probe.Attempts(died))
	if result.events, err = b.said(ctx, died); err != nil {
		return outcome{}, err
	}
	if err := victim.Revive(); err != nil {
		return outcome{}, err
	}
	return result, b.well(ctx)
}

// said returns what the cluster manager has said about dead nodes since a death.
func (b *bench) said(ctx context.Context, died time.Time) (texts []string, err error) {
	events, err := b.Client.CoreV1().Events(metav1.NamespaceDefault).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=Node"})
	if err != nil {
		return nil, err
	}
	for _, e := range events.Items {
		if strings.HasPrefix(e.Reason, "NodeReport") && e.LastTimestamp.After(died.Add(-time.Second)) {
			texts = append(texts, fmt.Sprintf("%s after %.0f s: %s: %s", e.InvolvedObject.Name, e.LastTimestamp.Sub(died).Seconds(), e.Reason, e.Message))
		}
	}
	return texts, nil
}

// well waits until all nodes, all pods and all speakers are well.
func (b *bench) well(ctx context.Context) error {
	for _, args := range [][]string{
		{"wait", "node", "--all", "--for=condition=Ready", "--timeout=2m"},
		{"rollout", "status", "deployment/nginx", "--timeout=2m"},
		{"wait", "pod", "--all", "--for=condition=Ready", "--timeout=2m"},
	} {
		if _, err := b.Kubectl(ctx, args...); err != nil {
			return err
		}
	}
	if err := b.RolledOut(ctx); err != nil {
		return err
	}
	return b.Settled(ctx)
}

// victim returns the node that dies.
func (b *bench) victim(ctx context.Context) (*cluster.Node, error) {
	var owner *cluster.Node
	err := b.Wait(ctx, "one owner", func() bool {
		macs, err := b.WhoHas(b.vip, 100*time.Millisecond)
		if err == nil && len(macs) == 1 {
			owner = b.NodeByMAC(macs[0])
		}
		return owner != nil
	})
	if err != nil || !b.other {
		return owner, err
	}
	for _, n := range b.Nodes() {
		if n != owner {
			return n, nil
		}
	}
	return nil, fmt.Errorf("there is no other node than %s", owner.Name)
}

// placeLeader lets another cluster manager lead until the leader is where it should be, on the
// victim or elsewhere.
func (b *bench) placeLeader(ctx context.Context, victim *cluster.Node) error {
	deleted := ""
	return b.WaitFor(ctx, "a leader on the right node", 5*time.Minute, func() bool {
		pod, node := b.findLeader(ctx)
		switch {
		case pod == "" || pod == deleted:
			return false
		case (node == victim.Name) == b.leader:
			return true
		}
		deleted = pod
		_, _ = b.Kubectl(ctx, "-n", namespace, "delete", "pod", pod, "--wait=false") // it is tried again with the next leader
		return false
	})
}

// findLeader returns the pod of the leader and its node; empty if there is none. If dead nodes are
// reported, it waits until enough speakers answer the leader.
func (b *bench) findLeader(ctx context.Context) (pod, node string) {
	holder, err := b.Kubectl(ctx, "-n", namespace, "get", "lease", "baremetal-cloud-controller-manager", "-o", "jsonpath={.spec.holderIdentity}")
	if err != nil {
		return "", ""
	}
	pod, _, _ = strings.Cut(strings.TrimSpace(holder), "_")
	described, err := b.Kubectl(ctx, "-n", namespace, "get", "pod", pod, "-o", `jsonpath={.spec.nodeName}{" "}{.spec.containers[0].args}`)
	if err != nil {
		return "", ""
	}
	node, args, _ := strings.Cut(described, " ")
	if strings.Contains(args, "--report-dead-nodes=true") {
		log, err := b.Kubectl(ctx, "-n", namespace, "logs", pod)
		if err != nil || !strings.Contains(log, `enough=true`) {
			return "", ""
		}
	}
	return pod, node
}
