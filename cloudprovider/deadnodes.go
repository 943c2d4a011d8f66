package cloudprovider

import (
	"context"
	"fmt"
	"net/netip"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	upstream "k8s.io/cloud-provider"

	"github.com/baremetal-lb/cloud-provider-baremetal/cloudprovider/deadnodes"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
)

const (
	// DefaultSpeakerPort is the default port of --metrics-address of the speakers.
	DefaultSpeakerPort = 7472
	// deadNodesQPS and deadNodesBurst let the statuses of 500 pods be written at once.
	deadNodesQPS, deadNodesBurst = 250, 500
)

// deadNodesClient returns the client with which the pods of dead nodes are marked. It has limits
// of its own, so that other requests do not delay it.
func deadNodesClient(builder upstream.ControllerClientBuilder) (kubernetes.Interface, error) {
	config, err := builder.Config("baremetal-dead-nodes")
	if err != nil {
		return nil, fmt.Errorf("configuring the client for dead nodes: %w", err)
	}
	config.QPS, config.Burst = deadNodesQPS, deadNodesBurst
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making the client for dead nodes: %w", err)
	}
	return client, nil
}

// reportDeadNodes reports dead nodes until ctx ends. It begins when the nodes are known.
func (c *Cloud) reportDeadNodes(ctx context.Context, client kubernetes.Interface) {
	select {
	case <-c.informed:
	case <-ctx.Done():
		return
	}
	if !cache.WaitForCacheSync(ctx.Done(), c.synced...) {
		return
	}
	reporter := deadnodes.New(deadnodes.Options{
		Client: client, Namespace: c.options.ConfigMap.Namespace, Port: c.options.SpeakerPort, Events: c.events, Metrics: c.deadMetrics, Log: c.log,
		Nodes: func() []deadnodes.Node {
			nodes, err := c.nodes.List(labels.Everything())
			if err != nil {
				c.log.Error("asking the speakers for dead nodes failed", "error", fmt.Errorf("listing Nodes from the cache: %w", err))
				return nil
			}
			return nodesToAsk(nodes, c.config.Nodes())
		},
	})
	if err := reporter.Run(ctx); err != nil {
		c.log.Error("reporting dead nodes failed", "error", err)
	}
}

// nodesToAsk returns the nodes of the cluster. A node has a speaker if a speaker has written its
// addresses.
func nodesToAsk(nodes []*v1.Node, links map[string]configmap.NodeLinks) (all []deadnodes.Node) {
	for _, n := range nodes {
		_, speaker := links[n.Name]
		node := deadnodes.Node{Name: n.Name, Ready: isReady(n), Speaker: speaker}
		for _, a := range n.Status.Addresses {
			if addr, err := netip.ParseAddr(a.Address); err == nil && a.Type == v1.NodeInternalIP && !node.Addr.IsValid() {
				node.Addr = addr
			}
		}
		all = append(all, node)
	}
	return all
}
