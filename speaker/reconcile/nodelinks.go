package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"regexp"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/links"
)

const (
	// nodeLinksEvery is how often a speaker looks at the addresses of its node.
	nodeLinksEvery = 5 * time.Second
	// nodeLinksPause is the shortest time between two looks.
	nodeLinksPause = 200 * time.Millisecond
	// withdrawTimeout is how long a speaker that ends tries to take its conflicts back.
	withdrawTimeout = time.Second
)

// NodeLinks writes the addresses and networks on this node's links, the addresses of its
// gateways, and the conflicts that it sees, to the ConfigMap NodeLinks. The cluster manager gives these addresses to no
// Service, and the speakers know from the networks on which links an address belongs. A speaker that starts
// alone also reads there which nodes may have connections to spread addresses.
type NodeLinks struct {
	node    string
	client  kubernetes.Interface
	ref     configmap.Ref
	config  *configmap.Watcher
	exclude *regexp.Regexp
	exists  func() bool // whether there is a Node object
	log     *slog.Logger

	conflicts atomic.Pointer[map[netip.Addr]string]
	spread    atomic.Pointer[[]configmap.SpreadLink] // nil until it is known
	changed   signal.Signal                          // something of this has changed
}

// NewNodeLinks returns a NodeLinks for a node. exclude matches the names of interfaces that
// do not count. exists reports whether the node has a Node object.
func NewNodeLinks(node string, client kubernetes.Interface, ref configmap.Ref, config *configmap.Watcher, exclude *regexp.Regexp, exists func() bool, log *slog.Logger) *NodeLinks {
	return &NodeLinks{node: node, client: client, ref: ref, config: config, exclude: exclude, exists: exists, log: log, changed: signal.New()}
}

// Changed says that the links may have changed. It does not block.
func (n *NodeLinks) Changed() { n.changed.Set() }

// SetConflicts replaces the addresses that this node does not announce because foreign hosts
// have them, with the MAC addresses of these hosts. It does not block.
func (n *NodeLinks) SetConflicts(conflicts map[netip.Addr]string) {
	if before := n.conflicts.Swap(&conflicts); before == nil && len(conflicts) > 0 || before != nil && !maps.Equal(*before, conflicts) {
		n.changed.Set()
	}
}

// SetSpread replaces the links over which this node hands flows on. It does not block.
func (n *NodeLinks) SetSpread(spread []configmap.SpreadLink) {
	if before := n.spread.Swap(&spread); before == nil || !reflect.DeepEqual(*before, spread) {
		n.changed.Set()
	}
}

// Run writes whenever the addresses have changed, until ctx ends. It returns nil.
func (n *NodeLinks) Run(ctx context.Context) error {
	tick := time.NewTicker(nodeLinksEvery)
	defer tick.Stop()
	failing := false
	for {
		err := n.write(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			n.log.Warn("writing the addresses of this node failed, trying again", "configmap", n.ref.Namespace+"/"+n.ref.NodeLinks(), "error", err)
		}
		failing = err != nil
		select { // a burst of changes is one write
		case <-time.After(nodeLinksPause):
		case <-ctx.Done():
		}
		select {
		case <-tick.C:
		case <-n.changed.C():
		case <-ctx.Done():
			n.withdrawConflicts()
			return nil
		}
	}
}

// withdrawConflicts writes that this node sees no conflicts, because nobody else can do so
// when the speaker has ended. The next owner of these addresses finds its own.
func (n *NodeLinks) withdrawConflicts() {
	if len(n.config.Nodes()[n.node].Conflicts) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), withdrawTimeout)
	defer cancel()
	n.SetConflicts(nil)
	if err := n.write(ctx); err != nil {
		n.log.Warn("withdrawing the conflicts of this node failed; they count until its speaker runs again", "error", err)
	}
}

func (n *NodeLinks) write(ctx context.Context) error {
	nodes := n.config.Nodes()
	if nodes == nil || !n.exists() {
		return nil // the cluster manager creates the ConfigMap, and removes nodes that do not exist
	}
	written, exists := nodes[n.node]
	addresses, err := links.Addresses(n.exclude)
	if err != nil {
		return err
	}
	networks, err := links.Networks(n.exclude)
	if err != nil {
		return err
	}
	now := configmap.NodeLinks{Addresses: addresses, Gateways: links.Gateways(), Networks: networks}
	if conflicts := n.conflicts.Load(); conflicts != nil && len(*conflicts) > 0 {
		now.Conflicts = *conflicts
	}
	now.Spread = written.Spread // that of the speaker before, until this one knows
	if spread := n.spread.Load(); spread != nil {
		now.Spread = *spread
	}
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
