package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// podNetwork is another project's program that connects the pods of all nodes. It runs as
// a process in the network namespace of each node, with the flags and the CNI configuration
// of its own manifest. Only the directories differ, because all nodes share one file system.
type podNetwork struct {
	programs []Program
	debian   []string
	link     string // a kind of link that the kernel must have
	config   func(*Node) string
	command  func(*Node) []string
}

// podNetworks are the values of Options.PodNetwork.
var podNetworks = map[string]podNetwork{
	"flannel-vxlan": flannel("vxlan"), "flannel-host-gw": flannel("host-gw"), "kube-router": kubeRouter,
}

// cniPlugins is where Debian has the CNI plugins.
const cniPlugins = "/usr/lib/cni"

// flannel returns flannel with one of its backends.
func flannel(backend string) podNetwork {
	network := podNetwork{
		programs: []Program{
			{name: "flanneld", module: "test/tools/flannel", pkg: "github.com/flannel-io/flannel", cgo: true},
			{name: "flannel", module: "test/tools/flannelplugin", pkg: "github.com/containernetworking/plugins/plugins/meta/flannel"},
		},
		debian: []string{"iptables=iptables", "gcc=gcc libc6-dev"},
		config: func(n *Node) string {
			return fmt.Sprintf(`{"name": "cbr0", "cniVersion": "0.4.0", "plugins": [
{"type": "flannel", "subnetFile": %q, "dataDir": %q, "ipam": {"dataDir": %q}, "delegate": {"hairpinMode": true, "isDefaultGateway": true}},
{"type": "portmap", "capabilities": {"portMappings": true}}]}
`, n.path("flannel.env"), n.path("flannel"), "/run/"+n.Name+"/ipam")
		},
		command: func(n *Node) []string {
			network := fmt.Sprintf(`{"Network": "10.244.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:244::/48", "Backend": {"Type": %q}}`, backend)
			return []string{"sh", "-c", `printf %s "$1" >"$0" && shift && exec "$@"`, n.path("net-conf.json"), network,
				"env", "NODE_NAME=" + n.Name, n.cluster.Binary("flanneld"), "--ip-masq", "--kube-subnet-mgr", "--healthz-port=8081",
				"--kubeconfig-file=" + n.cluster.Kubeconfig(), "--subnet-file=" + n.path("flannel.env"), "--net-config-path=" + n.path("net-conf.json")}
		},
	}
	if backend == "vxlan" {
		network.link = "vxlan id 1 dstport 0"
	}
	return network
}

// kubeRouter is kube-router as router of the pods and for network policies. kube-proxy
// serves the Services.
var kubeRouter = podNetwork{
	programs: []Program{{name: "kube-router", module: "test/tools/kuberouter", pkg: "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"}},
	debian:   []string{"iptables=iptables", "ipset=ipset"},
	config: func(n *Node) string {
		return fmt.Sprintf(`{"cniVersion": "0.3.0", "name": "mynet", "plugins": [
{"name": "kubernetes", "type": "bridge", "bridge": "kube-bridge", "isDefaultGateway": true, "ipam": {"type": "host-local", "dataDir": %q}}]}
`, "/run/"+n.Name+"/ipam")
	},
	command: func(n *Node) []string {
		// kube-router adds a line to this file, which must not change on the machine.
		const table = "/etc/iproute2/rt_tables"
		return []string{"unshare", "--mount", "sh", "-c", "cp " + table + ` "$0" && mount --bind "$0" ` + table + ` && exec "$@"`, n.path("rt_tables"),
			"env", "NODE_NAME=" + n.Name, "KUBE_ROUTER_CNI_CONF_FILE=" + n.path(cniConfigFile), n.cluster.Binary("kube-router"),
			"--kubeconfig=" + n.cluster.Kubeconfig(), "--run-router=true", "--run-firewall=true", "--run-service-proxy=false", "--bgp-graceful-restart=true",
			"--enable-ipv6=true", "--service-cluster-ip-range=10.96.0.0/16,fd96::/112"}
	},
}

// PodNetwork returns what Main must prepare for a cluster with Options.PodNetwork.
func PodNetwork(name string) (Needs, error) {
	network, ok := podNetworks[name]
	if !ok {
		return Needs{}, fmt.Errorf("there is no network of pods with the name %q; choose one of %s", name, strings.Join(slices.Sorted(maps.Keys(podNetworks)), ", "))
	}
	return Needs{Full: true, Programs: network.programs, Debian: network.debian}, nil
}

// PodNetworkMissing returns what the kernel does not have and the network of pods needs, or "".
// It must be called inside Main.
func PodNetworkMissing(name string) string {
	link := podNetworks[name].link
	if link == "" {
		return ""
	}
	if err := ip("link add probe type " + link); err != nil {
		return err.Error()
	}
	_ = ip("link del probe") // the kernel removes it with the namespace
	return ""
}

// cniConfigFile is the file with the configuration of a node's CNI plugins.
const cniConfigFile = "cni/pods.conflist"

// linkPlugins makes a directory with all CNI plugins, and returns its path.
func (c *Cluster) linkPlugins() (string, error) {
	plugin := c.Binary("flannel")
	if c.options.PodNetwork == "" || plugin == "" {
		return cniPlugins, nil
	}
	dir := c.path("plugins")
	if err := os.CopyFS(dir, os.DirFS(cniPlugins)); err != nil {
		return "", fmt.Errorf("copying the CNI plugins: %w", err)
	}
	return dir, os.Symlink(plugin, filepath.Join(dir, "flannel"))
}

// startPodNetwork gives the nodes their ranges of addresses, and starts the program that
// connects the pods.
func (c *Cluster) startPodNetwork(ctx context.Context) error {
	if c.options.PodNetwork == "" {
		return nil
	}
	nodes := c.Client.CoreV1().Nodes()
	for _, n := range c.nodes {
		patch, err := json.Marshal(map[string]any{"spec": map[string]any{"podCIDR": podsIPv4(n.n), "podCIDRs": []string{podsIPv4(n.n), podsIPv6(n.n)}}})
		if err != nil {
			return err
		}
		if err := c.Wait(ctx, n.Name+" is registered", func() bool { _, err := nodes.Get(ctx, n.Name, metav1.GetOptions{}); return err == nil }); err != nil {
			return err
		}
		if _, err := nodes.Patch(ctx, n.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return fmt.Errorf("giving %s addresses for pods: %w", n.Name, err)
		}
	}
	return c.forAllNodes(func(n *Node) error { return n.StartPodNetwork() })
}

// StartPodNetwork starts the program of Options.PodNetwork on the node, and ends the one
// that runs. flags are added to its flags.
func (n *Node) StartPodNetwork(flags ...string) error {
	if n.network != nil {
		n.network.Stop()
	}
	name := n.cluster.options.PodNetwork
	var err error
	n.network, err = n.cluster.start(name+"-"+n.Name, n.Name, append(podNetworks[name].command(n), flags...)...)
	return err
}

// PodNetwork returns the program that StartPodNetwork has started last.
func (n *Node) PodNetwork() *Process { return n.network }

// cniConfig returns the configuration of a node's CNI plugins.
func (n *Node) cniConfig() string {
	if network, ok := podNetworks[n.cluster.options.PodNetwork]; ok {
		return network.config(n)
	}
	return fmt.Sprintf(`{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "ptp", "ipam": {"type": "host-local", "dataDir": %q,
"ranges": [[{"subnet": %q}], [{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}}]}
`, "/run/"+n.Name+"/ipam", podsIPv4(n.n), podsIPv6(n.n))
}
