package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"regexp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
)

// nodeLinksEvery is how often a speaker looks at the addresses of its node.
const nodeLinksEvery = 5 * time.Second

// NodeLinks writes the addresses on this node's links, and those of its gateways, to the
// ConfigMap NodeLinks. The cluster manager gives them to no Service.
type NodeLinks struct {
	node    string
	client  kubernetes.Interface
	ref     configmap.Ref
	config  *configmap.Watcher
	exclude *regexp.Regexp
	log     *slog.Logger
}

// NewNodeLinks returns a NodeLinks for a node. exclude matches the names of interfaces that
// do not count.
func NewNodeLinks(node string, client kubernetes.Interface, ref configmap.Ref, config *configmap.Watcher, exclude *regexp.Regexp, log *slog.Logger) *NodeLinks {
	return &NodeLinks{node, client, ref, config, exclude, log}
}

// Run writes whenever the addresses have changed, until ctx ends. It returns nil.
func (n *NodeLinks) Run(ctx context.Context) error {
	tick := time.NewTicker(nodeLinksEvery)
	defer tick.Stop()
	failing := false
	for {
		err := n.write(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			n.log.Warn("telling the addresses of this node failed, trying again", "configmap", n.ref.Namespace+"/"+n.ref.NodeLinks(), "error", err)
		}
		failing = err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (n *NodeLinks) write(ctx context.Context) error {
	written, exists := n.config.Nodes()[n.node]
	if n.config.Nodes() == nil {
		return nil // the cluster manager creates it
	}
	ls, err := links.List(n.exclude)
	if err != nil {
		return err
	}
	now := nodeLinks(ls, links.Gateways())
	if exists && reflect.DeepEqual(written, now) {
		return nil
	}
	text, err := json.Marshal(now)
	if err != nil {
		return fmt.Errorf("encoding the addresses of this node: %w", err)
	}
	patch, err := json.Marshal(map[string]any{"data": map[string]string{n.node: string(text)}})
	if err != nil {
		return fmt.Errorf("encoding a patch: %w", err)
	}
	if _, err := n.client.CoreV1().ConfigMaps(n.ref.Namespace).Patch(ctx, n.ref.NodeLinks(), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("writing ConfigMap %s/%s: %w", n.ref.Namespace, n.ref.NodeLinks(), err)
	}
	return nil
}

func nodeLinks(ls []links.Link, gateways []netip.Addr) configmap.NodeLinks {
	now := configmap.NodeLinks{Gateways: gateways}
	for _, l := range ls {
		now.Addresses = append(now.Addresses, l.Addrs...)
	}
	return now
}
