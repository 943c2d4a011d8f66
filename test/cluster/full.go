package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Full nodes have a containerd and a kubelet of their own. Unless Options.PodNetwork is set,
// their pods use the CNI plugin ptp, which makes a route to every pod. So kube-proxy sees all
// packets. With a plugin that uses a bridge, it sees them only if the kernel lets the packets
// of bridges pass through its rules (br_netfilter).

// fullDebian are the commands that only full nodes need, and the programs that are packed
// into the images.
var fullDebian = []string{
	"containerd=containerd", "runc=runc", "/usr/lib/cni/ptp=containernetworking-plugins",
	"busybox=busybox-static", "curl=curl", "wget=wget", "nc=netcat-openbsd", "nginx=nginx", "apache2=apache2-bin",
}

// startFullNodes starts containerd and kubelet on all nodes, and waits until
// they are ready.
func (c *Cluster) startFullNodes(ctx context.Context) error {
	if err := c.routePods(); err != nil {
		return err
	}
	archives, err := c.packImages()
	if err != nil {
		return err
	}
	plugins, err := c.linkPlugins()
	if err != nil {
		return err
	}
	if err := c.forAllNodes(func(n *Node) error { return n.startContainerd(ctx, plugins) }); err != nil {
		return err
	}
	if err := c.forAllNodes(func(n *Node) error { return n.ImportImages(archives...) }); err != nil {
		return err
	}
	for _, archive := range archives {
		if err := os.Remove(archive); err != nil {
			return err
		}
	}
	if err := c.forAllNodes((*Node).startKubelet); err != nil {
		return err
	}
	if err := c.startPodNetwork(ctx); err != nil {
		return err
	}
	return c.Wait(ctx, "all nodes to be ready", func() bool {
		nodes, err := c.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		return err == nil && countReady(nodes.Items) == len(c.nodes)
	})
}

func countReady(nodes []v1.Node) int {
	ready := 0
	for _, n := range nodes {
		for _, condition := range n.Status.Conditions {
			if condition.Type == v1.NodeReady && condition.Status == v1.ConditionTrue {
				ready++
			}
		}
	}
	return ready
}

// forAllNodes calls do for all nodes at the same time.
func (c *Cluster) forAllNodes(do func(*Node) error) error {
	errs := make([]error, len(c.nodes))
	var all sync.WaitGroup
	for i, n := range c.nodes {
		all.Go(func() {
			if err := do(n); err != nil {
				errs[i] = fmt.Errorf("%s: %w", n.Name, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// routePods gives the control plane routes to the pods, and the nodes a default route.
// Without a route a packet to the address of a Service would never leave its sender, and
// kube-proxy could not rewrite its address. The control plane drops packets whose address
// kube-proxy has not rewritten.
func (c *Cluster) routePods() error {
	commands := []string{"route add blackhole 10.96.0.0/16", "route add blackhole fd96::/112"}
	for _, n := range c.nodes {
		commands = append(commands,
			fmt.Sprintf("route add %s via %s", podsIPv4(n.n), nodeIPv4(n.n)), fmt.Sprintf("route add %s via %s", podsIPv6(n.n), nodeIPv6(n.n)),
			"-n "+n.Name+" route add default via "+controlPlane4, "-n "+n.Name+" route add default via "+controlPlane6)
	}
	return ips(commands...)
}

// path returns the path of a file of the node.
func (n *Node) path(name string) string { return filepath.Join(n.cluster.env.Dir, n.Name, name) }

func (n *Node) containerdSocket() string { return "/run/" + n.Name + "/containerd.sock" }

func (n *Node) startContainerd(ctx context.Context, plugins string) error {
	config := fmt.Sprintf(`version = 2
root = %q
state = %q
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt", "io.containerd.internal.v1.tracing"]
[grpc]
address = %q
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = %q
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = %q
conf_dir = %q
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
`, n.path("containerd"), "/run/"+n.Name+"/containerd", n.containerdSocket(), pauseImage, plugins, n.path("cni"))
	for file, text := range map[string]string{"containerd.toml": config, cniConfigFile: n.cniConfig()} {
		if err := os.MkdirAll(filepath.Dir(n.path(file)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(n.path(file), []byte(text), 0o644); err != nil {
			return err
		}
	}
	// Every kubelet makes sockets in /var/lib/kubelet, even if --root-dir is another
	// directory. So each node has mounts of its own, which containerd and kubelet share.
	err := os.MkdirAll("/var/lib/kubelet", 0o755)
	if err != nil {
		return err
	}
	if n.containerd, err = n.cluster.start("containerd-"+n.Name, n.Name, "unshare", "--mount", "--propagation=private",
		"sh", "-c", `mount -t tmpfs kubelet /var/lib/kubelet && exec containerd --config="$0"`, n.path("containerd.toml")); err != nil {
		return err
	}
	return n.cluster.Wait(ctx, "containerd", func() bool { return n.ctr("version") == nil })
}

// ctr runs a command of containerd's client.
func (n *Node) ctr(args ...string) error {
	return run(append([]string{"ctr", "--address=" + n.containerdSocket(), "--namespace=k8s.io"}, args...)...)
}

// ImportImages loads archives of images into the node's containerd.
func (n *Node) ImportImages(archives ...string) error {
	for _, archive := range archives {
		if err := n.ctr("images", "import", archive); err != nil {
			return err
		}
	}
	return nil
}

// startKubelet starts the kubelet. The kubelet creates the Node object.
func (n *Node) startKubelet() error {
	group := filepath.Join(filepath.Base(n.cluster.env.Dir), n.Name)
	if err := makeCgroup(group); err != nil {
		return err
	}
	config := fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
cgroupRoot: /%s
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
containerRuntimeEndpoint: unix://%s
volumePluginDir: %s
podLogsDir: %s
staticPodPath: %s
clusterDNS: [%s]
clusterDomain: cluster.local
resolvConf: ""
authentication: {anonymous: {enabled: true}}
authorization: {mode: AlwaysAllow}
nodeStatusUpdateFrequency: 2s
nodeLeaseDurationSeconds: 10
registerNode: true
registryPullQPS: 0
imageGCHighThresholdPercent: 100
imageMinimumGCAge: 24h
evictionHard: {memory.available: 0%%, nodefs.available: 0%%, nodefs.inodesFree: 0%%, imagefs.available: 0%%}
`, group, n.containerdSocket(), n.path("volume-plugins"), n.path("pod-logs"), n.path(staticPods), dnsIPv4)
	if err := os.MkdirAll(n.path(staticPods), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(n.path("kubelet.yaml"), []byte(config), 0o644); err != nil {
		return err
	}
	kubeconfig := n.path("kubelet.kubeconfig")
	if err := n.cluster.writeKubeconfig(kubeconfig, "https://"+controlPlane4+":6443", n.token()); err != nil {
		return err
	}
	addresses := nodeIPv4(n.n)
	if !n.cluster.options.IPv4Nodes {
		addresses += "," + nodeIPv6(n.n)
	}
	var err error
	n.kubelet, err = n.cluster.start("kubelet-"+n.Name, n.Name, "nsenter", fmt.Sprintf("--mount=/proc/%d/ns/mnt", n.containerd.cmd.Process.Pid), n.cluster.env.Binaries["kubelet"], "--config="+n.path("kubelet.yaml"),
		"--kubeconfig="+kubeconfig, "--hostname-override="+n.Name, "--node-ip="+addresses, "--root-dir="+n.path("kubelet"), "--cert-dir="+n.path("certs"), "-v=2")
	return err
}

// staticPods is the directory with the manifests of a node's static pods.
const staticPods = "static-pods"

// StaticPod makes the kubelet of a full node run a static pod. manifest is its text.
func (n *Node) StaticPod(name, manifest string) error {
	return os.WriteFile(filepath.Join(n.path(staticPods), name+".yaml"), []byte(manifest), 0o644)
}

// token returns the token with which the kubelet logs in at the API server.
func (n *Node) token() string { return "kubelet-of-" + n.Name }

// DeployShipped deploys the product with the manifests, as a user does, and waits until
// all its pods are ready.
func (c *Cluster) DeployShipped(ctx context.Context, pools string) error {
	if _, err := c.Kubectl(ctx, "apply", "-k", filepath.Join(c.env.Root, "manifests")); err != nil {
		return err
	}
	if err := c.SetPools(ctx, pools); err != nil {
		return err
	}
	return c.RolledOut(ctx)
}

// RolledOut waits until the newest version of the product runs in all its pods.
func (c *Cluster) RolledOut(ctx context.Context) error {
	for _, what := range []string{"deployment/baremetal-cloud-controller-manager", "daemonset/baremetal-speaker"} {
		if _, err := c.Kubectl(ctx, "-n", "baremetal-system", "rollout", "status", what, "--timeout=3m"); err != nil {
			return err
		}
	}
	return nil
}

// Namespaced returns a command that runs in a network namespace: "client", "router",
// Outside, or the name of a node.
func Namespaced(ctx context.Context, netns string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", append([]string{"--net=/run/netns/" + netns}, args...)...)
}
