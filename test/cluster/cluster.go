// Package cluster runs a real Kubernetes in network namespaces of one machine:
// etcd, kube-apiserver, kube-controller-manager, a kube-proxy on every node, and
// our own two programs with no more rights than our manifests give them.
//
// On light nodes, kubelets and scheduler are not real: kubelet.go stands in for
// them, with pods that are web servers in the node's namespace. Full nodes have a
// kubelet and a containerd, and our programs run from their image (full.go).
package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Options of a cluster.
type Options struct {
	// Speakers is the number of nodes that announce, named node1, node2, …. One
	// more node, worker, runs the pods, so that a node's death takes no pod along.
	Speakers int
	// Pools is the text of the configuration; DefaultPools if empty, none if "-".
	Pools string
	// NoTraffic leaves out what only packets need: kube-proxy and the stand-in for
	// the kubelets.
	NoTraffic bool
	// Full nodes have a containerd and a kubelet, and all are as node1: there is no
	// worker. Images are loaded, but nothing of ours is deployed. Needs.Full must
	// be set.
	Full bool
	// IPv4Nodes tells Kubernetes only of the IPv4 addresses of full nodes.
	IPv4Nodes bool
	// SpeakerFlags are given to every speaker that is started.
	SpeakerFlags []string
	// Say, if not nil, is told what happens.
	Say func(format string, args ...any)
}

// Cluster is a running cluster.
type Cluster struct {
	Client    kubernetes.Interface
	APIServer *Process

	env     Env
	etcd    *Process
	options Options
	nodes   []*Node
	ccms    []*Process
	kubelet *kubelet
	cancel  context.CancelFunc

	mu        sync.Mutex
	processes []*Process
}

// Start starts a cluster, without our programs, and waits until the API server
// is ready. It must be called inside Main, once.
func Start(ctx context.Context, env Env, o Options) (*Cluster, error) {
	if o.Pools == "" {
		o.Pools = DefaultPools
	}
	if o.Say == nil {
		o.Say = func(string, ...any) {}
	}
	c := &Cluster{env: env, options: o}
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
		return nil, fmt.Errorf("%w (logs in %s)", err, c.path("logs"))
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
		if err := c.forward(n + 1); err != nil {
			return err
		}
	}
	return nil
}

// install creates from our manifests what gives our programs their rights.
func (c *Cluster) install(ctx context.Context) error {
	for _, file := range []string{"namespace.yaml", "rbac-ccm.yaml", "rbac-speaker.yaml"} {
		if _, err := c.Kubectl(ctx, "apply", "-f", filepath.Join(c.env.Root, "manifests", file)); err != nil {
			return err
		}
	}
	if c.options.Pools == "-" {
		return nil
	}
	return c.SetPools(ctx, c.options.Pools)
}

// Deploy starts ccms cloud controller managers and a speaker on every node but
// the worker, and waits until the speakers are ready.
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

// StartCCM starts another cloud controller manager, with flags beside its own.
func (c *Cluster) StartCCM(ctx context.Context, flags ...string) (*Process, error) {
	kubeconfig, err := c.serviceAccount(ctx, "baremetal-ccm")
	if err != nil {
		return nil, err
	}
	n := len(c.ccms) + 1
	port := 11000 + n
	args := append([]string{c.env.Binaries["baremetal-cloud-controller-manager"], "--kubeconfig=" + kubeconfig, "--authentication-kubeconfig=" + kubeconfig, "--authorization-kubeconfig=" + kubeconfig,
		"--authentication-skip-lookup=true", fmt.Sprint("--secure-port=", port)}, flags...)
	p, err := c.start(fmt.Sprint("ccm", n), "", args...)
	if err == nil {
		p.Port = port
		c.ccms = append(c.ccms, p)
	}
	return p, err
}

// GetCCM asks a cloud controller manager over HTTPS, as administrator.
func (c *Cluster) GetCCM(ctx context.Context, p *Process, path string) (string, error) {
	// Its certificate is made when it starts, and known to nobody.
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d%s", p.Port, path), nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+adminToken)
	return body(&http.Client{Timeout: 5 * time.Second, Transport: transport}, request)
}

// CCMs returns the cloud controller managers that run, in the order of their start.
func (c *Cluster) CCMs() []*Process {
	return slices.DeleteFunc(slices.Clone(c.ccms), func(p *Process) bool { return !p.Running() })
}

// Leader returns the cloud controller manager that holds the lease, or nil. The
// lease says it by a host name, which is the same for all; so their logs do.
func (c *Cluster) Leader() *Process {
	for _, p := range c.CCMs() {
		if strings.Contains(p.Log(), "addresses in use adopted") {
			return p
		}
	}
	return nil
}

// Nodes returns the nodes with a speaker.
func (c *Cluster) Nodes() []*Node { return c.nodes[:c.options.Speakers] }

// Node returns the node of that name, or nil.
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

// SetPools writes the configuration.
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

// Wait waits until ok, for 60 s at most.
func (c *Cluster) Wait(ctx context.Context, what string, ok func() bool) error {
	return c.WaitFor(ctx, what, time.Minute, ok)
}

// WaitFor waits until ok, for as long as atMost.
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

// Crashed returns an error if a program has ended that nobody has stopped.
func (c *Cluster) Crashed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, p := range c.processes {
		if p.crashed() {
			errs = append(errs, fmt.Errorf("%s has ended with %s; the end of its log:\n%s", p.Name, p.cmd.ProcessState, tail(p.Log(), 1500)))
		}
	}
	return errors.Join(errs...)
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// Close ends everything. The namespaces go with the process.
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

// Binary is the path of one of the programs.
func (c *Cluster) Binary(name string) string { return c.env.Binaries[name] }

// Root is the project's root directory.
func (c *Cluster) Root() string { return c.env.Root }
