package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Node is a node of the cluster: a network namespace with a kube-proxy and,
// unless it is the worker, a speaker.
type Node struct {
	Name string
	MAC  string

	cluster *Cluster
	n       int
	worker  bool
	speaker *Process
	proxy   *Process

	// Only full nodes have these.
	containerd *Process
	kubelet    *Process
	network    *Process // the program of Options.PodNetwork
}

// registerNodes creates the Node objects of light nodes. This happens before any Service
// is created, as on a real cluster.
func (c *Cluster) registerNodes(ctx context.Context) error {
	for _, n := range c.nodes {
		node := &v1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: map[string]string{v1.LabelHostname: n.Name}},
			Spec:       v1.NodeSpec{PodCIDR: podsIPv4(n.n), PodCIDRs: []string{podsIPv4(n.n), podsIPv6(n.n)}},
		}
		if n.worker {
			node.Labels[v1.LabelNodeExcludeBalancers] = ""
		}
		created, err := c.Client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("registering %s: %w", n.Name, err)
		}
		created.Status.Addresses = []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: nodeIPv4(n.n)}, {Type: v1.NodeInternalIP, Address: nodeIPv6(n.n)}, {Type: v1.NodeHostName, Address: n.Name}}
		created.Status.NodeInfo.KubeletVersion = "stand-in"
		created.Status.Conditions = []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "StandIn"}}
		if _, err := c.Client.CoreV1().Nodes().UpdateStatus(ctx, created, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("registering %s: %w", n.Name, err)
		}
	}
	return nil
}

// startProxies starts every node's kube-proxy.
func (c *Cluster) startProxies(context.Context) error {
	for _, n := range c.nodes {
		if err := n.startProxy(); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) startProxy() error {
	config := fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: %[3]s
hostnameOverride: %[1]s
clientConnection: {kubeconfig: %[2]s}
clusterCIDR: 10.244.0.0/16,fd00:244::/48
conntrack: {maxPerCore: 0}
%[3]s: {minSyncPeriod: 100ms}
`, n.Name, n.cluster.Kubeconfig(), cmp.Or(n.cluster.options.ProxyMode, "nftables"))
	path := n.cluster.path("kube-proxy-" + n.Name + ".yaml")
	if err := os.WriteFile(path, []byte(config), 0o644); err != nil {
		return err
	}
	var err error
	n.proxy, err = n.cluster.start("kube-proxy-"+n.Name, n.Name, n.cluster.env.Binaries["kube-proxy"], "--config="+path)
	return err
}

// StartSpeaker starts the node's speaker with the rights and the capabilities that the
// manifests give it.
func (n *Node) StartSpeaker(ctx context.Context, flags ...string) error {
	kubeconfig, err := n.cluster.serviceAccount(ctx, "baremetal-speaker")
	if err != nil {
		return err
	}
	n.speaker, err = n.StartSpeakerWith(ctx, "+net_raw,+net_admin", slices.Concat([]string{"--kubeconfig=" + kubeconfig}, n.cluster.options.SpeakerFlags, flags)...)
	return err
}

// StartSpeakerWith starts one more speaker on the node. capabilities are those that
// setpriv keeps, such as "+net_raw". The result of Speaker does not change.
func (n *Node) StartSpeakerWith(_ context.Context, capabilities string, flags ...string) (*Process, error) {
	return n.cluster.start("speaker-"+n.Name, n.Name, append([]string{
		"setpriv", "--bounding-set=-all," + capabilities, "--inh-caps=-all", "--",
		n.cluster.env.Binaries["baremetal-speaker"], "--node-name=" + n.Name,
	}, flags...)...)
}

// Addr returns the node's IPv4 address.
func (n *Node) Addr() string { return nodeIPv4(n.n) }

// Speaker returns the speaker that StartSpeaker has started last.
func (n *Node) Speaker() *Process { return n.speaker }

// WaitReady waits until the speaker is ready, which means that it announces addresses.
func (n *Node) WaitReady(ctx context.Context) error {
	return n.cluster.Wait(ctx, "the speaker of "+n.Name, func() bool {
		_, err := n.Get(ctx, "/readyz")
		return err == nil
	})
}

// Get gets a path from the speaker over HTTP, as a client on the speaker's node. It gets
// /metrics as administrator.
func (n *Node) Get(ctx context.Context, path string) (string, error) {
	if path == "/metrics" {
		status, text, err := n.getMetrics(ctx, n.Name, "127.0.0.1", adminToken)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("HTTP status %d: %s", status, text)
		}
		return text, err
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialIn(n.Name)}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:7473"+path, nil)
	if err != nil {
		return "", err
	}
	return body(client, request)
}

// Scrape gets /metrics as the client on the segment, with a token unless it is empty.
func (n *Node) Scrape(ctx context.Context, token string) (status int, text string, err error) {
	return n.getMetrics(ctx, clientName, nodeIPv4(n.n), token)
}

func (n *Node) getMetrics(ctx context.Context, netns, addr, token string) (status int, text string, err error) {
	// The speaker makes its certificate itself when it starts, so it cannot be verified.
	transport := &http.Transport{DisableKeepAlives: true, DialContext: dialIn(netns), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+net.JoinHostPort(addr, "7472")+"/metrics", nil)
	if err != nil {
		return 0, "", err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := (&http.Client{Timeout: 5 * time.Second, Transport: transport}).Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	return response.StatusCode, string(page), err
}

// Dial connects to a TCP port of the node, as the client on the segment.
func (n *Node) Dial(ctx context.Context, port int) (net.Conn, error) {
	return dialIn(clientName)(ctx, "tcp", net.JoinHostPort(nodeIPv4(n.n), fmt.Sprint(port)))
}

// body returns the body of the response. Any status other than 200 is an error.
func body(client *http.Client, request *http.Request) (string, error) {
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status + ": " + string(text))
	}
	return string(text), err
}

// Settled waits until every speaker sees all members, and all speakers can announce.
func (c *Cluster) Settled(ctx context.Context) error {
	want := fmt.Sprintf("baremetal_members_announcing %d\n", len(c.Nodes()))
	return c.Wait(ctx, "all speakers to see each other", func() bool {
		for _, n := range c.Nodes() {
			if text, err := n.Get(ctx, "/metrics"); err != nil || !strings.Contains(text, want) {
				return false
			}
		}
		return true
	})
}

// dialIn returns a function that connects from inside a network namespace.
func dialIn(netns string) func(context.Context, string, string) (net.Conn, error) {
	return dialWith(new(net.Dialer), netns)
}

func dialWith(d *net.Dialer, netns string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		err = inNetns(netns, func() error {
			conn, err = d.DialContext(ctx, network, addr)
			return err
		})
		return conn, err
	}
}
