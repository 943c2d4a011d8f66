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
	"github.com/baremetal-lb/cloud-provider-baremetal/test/cmd/internal/deaths"
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

// expose starts the pods, and returns the address of their Service.
func (b *bench) expose(ctx context.Context) (vip string, err error) {
	file, err := b.write("nginx.yaml", deaths.Web+deaths.Service("nginx", "Cluster"))
	if err != nil {
		return "", err
	}
	if _, err := b.Kubectl(ctx, "apply", "-f", file); err != nil {
		return "", err
	}
	if _, err := b.Kubectl(ctx, "rollout", "status", "deployment/nginx", "--timeout=3m"); err != nil {
		return "", err
	}
	return deaths.Address(ctx, b.Cluster, "nginx")
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
	result := outcome{}
	var died time.Time
	if result.Outcome, died, err = deaths.Strike(ctx, b.Cluster, victim, b.vip, 10*time.Millisecond, b.watched); err != nil {
		return outcome{}, err
	}
	if result.events, err = b.said(ctx, died); err != nil {
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
func (b *bench) well(ctx context.Context) error { return deaths.Well(ctx, b.Cluster, "nginx") }

// victim returns the node that dies.
func (b *bench) victim(ctx context.Context) (*cluster.Node, error) {
	owner, err := deaths.Owner(ctx, b.Cluster, b.vip)
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
