package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"

	"github.com/baremetal-lb/cloud-provider-baremetal/test/cluster"
)

// metalLBModule has the programs of MetalLB, and the definitions of its custom resources.
const metalLBModule = "go.universe.tf/metallb"

// objects are the custom resources of MetalLB, and the pods that its programs ask for.
//
//go:embed objects.yaml
var objects []byte

// metalLB is a MetalLB with custom resources: its controller, and a speaker on every node.
type metalLB struct{ processes []*cluster.Process }

// startMetalLB creates the custom resources, and starts MetalLB's programs as processes.
func startMetalLB(ctx context.Context, c *cluster.Cluster, env cluster.Env) (*metalLB, error) {
	definitions := filepath.Join(env.Module(metalLBModule), "config", "crd", "bases")
	if _, err := c.Kubectl(ctx, "apply", "--server-side", "-f", definitions); err != nil {
		return nil, err
	}
	if _, err := c.Kubectl(ctx, "wait", "--for=condition=Established", "--timeout=60s", "-f", definitions); err != nil {
		return nil, err
	}
	file := filepath.Join(env.Dir, "objects.yaml")
	if err := os.WriteFile(file, objects, 0o644); err != nil {
		return nil, err
	}
	if _, err := c.Kubectl(ctx, "apply", "-f", file); err != nil {
		return nil, err
	}
	m := &metalLB{}
	start := func(name, netns, program string, flags ...string) error {
		args := append([]string{c.Binary(program), "-kubeconfig=" + c.Kubeconfig(), "-namespace=metallb-system", "-pod-name=" + name}, flags...)
		p, err := c.Run(name, netns, args...)
		if err == nil {
			m.processes = append(m.processes, p)
		}
		return err
	}
	if err := start("metallb-controller", "", "controller", "-webhook-mode=disabled", "-disable-cert-rotation"); err != nil {
		return nil, err
	}
	for _, n := range c.Nodes() {
		if err := start("metallb-speaker-"+n.Name, n.Name, "speaker", "-node-name="+n.Name); err != nil {
			m.stop()
			return nil, fmt.Errorf("on %s: %w", n.Name, err)
		}
	}
	return m, nil
}

// stop stops all programs of MetalLB.
func (m *metalLB) stop() {
	for _, p := range m.processes {
		p.Stop()
	}
}
