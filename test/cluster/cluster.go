// Package cluster runs a real Kubernetes in network namespaces of one machine:
// etcd, kube-apiserver, kube-controller-manager, a kube-proxy on every node, and
// this project's two programs with exactly the rights that the manifests give them.
//
// Light nodes have no kubelet, and their cluster has no scheduler. kubelet.go
// replaces both, and its pods are web servers in the namespace of the node. Full nodes
// have a kubelet and a containerd, and this project's programs run from their image
// (full.go).
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Options of a cluster.
type Options struct {
	// Speakers is the number of nodes with a speaker: node1, node2, …. The pods run on
	// one more node, worker, so that no pod dies with one of these nodes.
	Speakers int
	// Pools is the text of the configuration. If it is empty, DefaultPools is used. If it
	// is "-", there is no configuration.
	Pools string
	// NoTraffic leaves out kube-proxy and the pods, which only packets need.
	NoTraffic bool
	// Full makes full nodes, which have a containerd and a kubelet. There is no worker:
	// every node has a speaker and pods. Images are loaded, but this project's programs
	// are not deployed. Needs.Full must be set.
	Full bool
	// PodNetwork is the program that connects the pods of full nodes: flannel-vxlan,
	// flannel-host-gw or kube-router. Main needs what the function PodNetwork returns. If
	// PodNetwork is empty, the nodes have routes to the pods of all other nodes. If it is
	// set, the nodes have the image web:test of the web server of light clusters.
	PodNetwork string
	// IPv4Nodes leaves the IPv6 addresses out of the Node objects of full nodes.
	IPv4Nodes bool
	// ProxyMode is the mode of kube-proxy, nftables if it is empty, or iptables.
	ProxyMode string
	// SpeakerFlags are additional flags of every speaker.
	SpeakerFlags []string
	// Say, if it is not nil, is called with messages about problems that are not fatal.
	Say func(format string, args ...any)
}

// Cluster is a running cluster.
type Cluster struct {
	Client    kubernetes.Interface
	APIServer *Process

	env         Env
	etcd        *Process
	manager     *Process // kube-controller-manager
	managerArgs []string
	options     Options
	nodes       []*Node
	ccms        []*Process
	kubelet     *kubelet
	cancel      context.CancelFunc
	talks       atomic.Uint32 // how many Talks were opened

	mu        sync.Mutex
	processes []*Process
	faults    map[string]bool // faults of the segment that exist, by name
}

// Start starts a cluster without this project's programs, and waits until the API
// server is ready. It must be called inside Main, and only once.
func Start(ctx context.Context, env Env, o Options) (*Cluster, error) {
	if o.Pools == "" {
		o.Pools = DefaultPools
	}
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	c := &Cluster{env: env, options: o, faults: map[string]bool{}}
	err := os.MkdirAll(c.path("logs"), 0o755)
	steps := []func(context.Context) error{c.makeNodes, c.startControlPlane}
	switch {
	case o.Full:
		steps = append(steps, c.startFullNodes, c.startProxies, c.startDNS)
	case o.NoTraffic:
		steps = append(steps, c.install, c.registerNodes)
	default:
		steps = append(steps, c.install, c.registerNodes, c.startKubelet, c.startProxies)
	}
	for _, step := range steps {
		if err == nil {
			err = step(ctx)
		}
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("starting the cluster: %w (logs in %s)", err, c.path("logs"))
	}
	return c, nil
}

func (c *Cluster) makeNodes(context.Context) error {
	if err := makeSegment(); err != nil {
		return err
	}
	if err := plug(clientName, "02:00:00:00:01:00", "192.168.120.100", "fd00:120::100"); err != nil {
		return err
	}
	last := c.options.Speakers + 1
	if c.options.Full {
		last--
	}
	for n := 1; n <= last; n++ {
		node := &Node{cluster: c, n: n, Name: fmt.Sprint("node", n), MAC: fmt.Sprintf("02:00:00:00:00:%02x", n)}
		if n > c.options.Speakers {
			node.Name, node.worker = "worker", true
		}
		c.nodes = append(c.nodes, node)
		if err := plug(node.Name, node.MAC, nodeIPv4(n), nodeIPv6(n)); err != nil {
			return err
		}
	}
	for n := range c.nodes {
		var err error
		if len(c.nodes) > manyNodes {
			err = c.introduce(n + 1)
		}
		if err == nil && !c.options.NoTraffic {
			err = c.forward(n + 1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// install creates the namespace, the rights of this project's programs and the admission
// policy from the manifests.
func (c *Cluster) install(ctx context.Context) error {
	for _, file := range []string{"namespace.yaml", "rbac-ccm.yaml", "rbac-speaker.yaml", "rbac-metrics.yaml"} {
		if _, err := c.Kubectl(ctx, "apply", "-f", filepath.Join(c.env.Root, "manifests", file)); err != nil {
			return err
		}
	}
	if err := c.ApplyPolicy(ctx); err != nil {
		return err
	}
	if c.options.Pools == "-" {
		return nil
	}
	return c.SetPools(ctx, c.options.Pools)
}

// ApplyPolicy creates the admission policy of the manifests.
func (c *Cluster) ApplyPolicy(ctx context.Context) error {
	_, err := c.Kubectl(ctx, "apply", "-f", filepath.Join(c.env.Root, "manifests", "policy.yaml"))
	return err
}

// Deploy starts ccms cloud controller managers, and a speaker on every node except the
// worker. It waits until the speakers are ready.
func (c *Cluster) Deploy(ctx context.Context, ccms int) error {
	for range ccms {
		if _, err := c.StartCCM(ctx); err != nil {
			return err
		}
	}
	for _, n := range c.Nodes() {
		if err := n.StartSpeaker(ctx); err != nil {
			return err
		}
	}
	for _, n := range c.Nodes() {
		if err := n.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Nodes returns the nodes with a speaker, in the order of their names.
func (c *Cluster) Nodes() []*Node { return c.nodes[:c.options.Speakers] }

// AllNodes returns all nodes, also those without a speaker.
func (c *Cluster) AllNodes() []*Node { return c.nodes }

// Node returns the node with that name, or nil.
func (c *Cluster) Node(name string) *Node {
	for _, n := range c.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Kubectl runs kubectl as administrator and returns its output.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.env.Binaries["kubectl"], append([]string{"--kubeconfig=" + c.Kubeconfig()}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// SetPools writes the configuration, text, to its ConfigMap.
func (c *Cluster) SetPools(ctx context.Context, text string) error {
	cm := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "baremetal-system", Name: "config"}, Data: map[string]string{"config": text}}
	maps := c.Client.CoreV1().ConfigMaps(cm.Namespace)
	_, err := maps.Update(ctx, cm, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		_, err = maps.Create(ctx, cm, metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("writing the pools: %w", err)
	}
	return nil
}

// Wait waits until ok returns true, for 60 s at most; see WaitFor.
func (c *Cluster) Wait(ctx context.Context, what string, ok func() bool) error {
	return c.WaitFor(ctx, what, time.Minute, ok)
}

// WaitFor waits until ok returns true, for atMost at most. It returns an error earlier
// if a program of the cluster has crashed. The error names what was waited for.
func (c *Cluster) WaitFor(ctx context.Context, what string, atMost time.Duration, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		if err := c.Crashed(); err != nil {
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, ctx.Err())
		}
	}
	return nil
}

// Crashed returns an error if a program has ended by itself.
func (c *Cluster) Crashed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, p := range c.processes {
		if p.crashed() {
			errs = append(errs, fmt.Errorf("%s has crashed (%s); its log is %s and ends with:\n%s", p.Name, p.cmd.ProcessState, p.log, tail(p.Log(), 1500)))
		}
	}
	return errors.Join(errs...)
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// Close kills all programs. The kernel removes the namespaces when this process ends.
func (c *Cluster) Close() {
	if c.kubelet != nil {
		c.cancel()
		c.kubelet.wait()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.processes) - 1; i >= 0; i-- {
		c.processes[i].Kill()
	}
}

// Binary returns the path of one of the programs.
func (c *Cluster) Binary(name string) string { return c.env.Binaries[name] }

// Root returns the project's root directory.
func (c *Cluster) Root() string { return c.env.Root }
