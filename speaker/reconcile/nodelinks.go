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
// gateways, the conflicts that it sees, and which other speakers have left, to the ConfigMap NodeLinks. The cluster manager gives these addresses to no
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
	left      atomic.Pointer[map[string]time.Time]
	changed   signal.Signal // something of this has changed

	// wroteLeft is what was written of left. It is for the goroutine of Run alone.
	wroteLeft map[string]time.Time
}

// NewNodeLinks returns a NodeLinks for a node. exclude matches the names of interfaces that
// do not count. exists reports whether the node has a Node object.
func NewNodeLinks(node string, client kubernetes.Interface, ref configmap.Ref, config *configmap.Watcher, exclude *regexp.Regexp, exists func() bool, log *slog.Logger) *NodeLinks {
	return &NodeLinks{node: node, client: client, ref: ref, config: config, exclude: exclude, exists: exists, log: log, changed: signal.New(), wroteLeft: map[string]time.Time{}}
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

// SetLeft replaces since when the speakers of other nodes are gone. It is written if it is not known yet. It does not
// block.
func (n *NodeLinks) SetLeft(left map[string]time.Time) {
	if before := n.left.Swap(&left); len(left) > 0 && (before == nil || !maps.EqualFunc(*before, left, time.Time.Equal)) {
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
	changed := map[string]configmap.NodeLinks{}
	if !exists || !reflect.DeepEqual(written, now) {
		changed[n.node] = now
	}
	var left map[string]time.Time
	if p := n.left.Load(); p != nil {
		left = *p
	}
	noteLeft(changed, nodes, n.wroteLeft, left)
	if len(changed) == 0 {
		return nil
	}
	data := map[string]string{}
	for node, links := range changed {
		text, err := json.Marshal(links)
		if err != nil {
			return fmt.Errorf("encoding the addresses of %s: %w", node, err)
		}
		data[node] = string(text)
	}
	patch, err := json.Marshal(map[string]any{"data": data})
	if err != nil {
		return fmt.Errorf("encoding a patch: %w", err)
	}
	if _, err := n.client.CoreV1().ConfigMaps(n.ref.Namespace).Patch(ctx, n.ref.NodeLinks(), types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("writing ConfigMap %s/%s: %w", n.ref.Namespace, n.ref.NodeLinks(), err)
	}
	for node, at := range left {
		if _, ok := changed[node]; ok {
			n.wroteLeft[node] = at
		}
	}
	return nil
}

// noteLeft adds to changed the nodes whose speakers have left, if that is not written yet. A speaker that runs removes
// the time from its node. So if the time in wrote is not there any more, that speaker runs, but this one does not hear
// it. Then the time is not written again.
func noteLeft(changed, written map[string]configmap.NodeLinks, wrote, left map[string]time.Time) {
	for node, at := range left {
		if links, ok := written[node]; ok && len(links.Spread) > 0 && links.Left.IsZero() && !wrote[node].Equal(at) {
			links.Left = at.UTC().Truncate(time.Second)
			changed[node] = links
		}
	}
}
