package speaker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/memberkey"
	"github.com/baremetal-lb/cloud-provider-baremetal/speaker/view"
)

// reminderInterval is how often a wait logs what it waits for.
const reminderInterval = 10 * time.Second

var (
	errNotSynced    = errors.New("not all Services, Nodes, EndpointSlices and the ConfigMap have been listed yet")
	errNoInternalIP = errors.New("the Node has no address of type InternalIP yet")
)

// waiter waits at the start for what the parts of a speaker need.
type waiter struct {
	options Options
	cluster *view.Cluster
	config  *configmap.Watcher
	keys    *keyWatcher
}

// api waits until the caches are filled and the ConfigMap's first state is known. It
// reports false if ctx ended before. While it waits, it sends a request of its own to
// the API server: the informers do not report what is wrong, but the answer does.
func (w waiter) api(ctx context.Context) bool {
	return w.until(ctx, "the API server", func() error {
		select {
		case <-w.config.Loaded():
			if w.cluster.Synced() {
				return nil
			}
		default:
		}
		return w.whyNotSynced(ctx)
	})
}

func (w waiter) whyNotSynced(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := w.options.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: 1, ResourceVersion: "0"}); err != nil {
		return fmt.Errorf("%w; check the API server's address, the credentials and the RBAC rules", err)
	}
	return errNotSynced
}

// self waits for this node's address and for the keys of the speakers.
func (w waiter) self(ctx context.Context) (addr netip.Addr, keys memberkey.Keys, ok bool) {
	ok = w.until(ctx, "the address of this node", func() (err error) {
		addr, err = w.ownAddr()
		return err
	})
	if !ok {
		return addr, keys, false
	}
	ok = w.until(ctx, "the key of the speakers", func() (err error) {
		keys, err = w.keys.read(ctx)
		return err
	})
	return addr, keys, ok
}

// ownAddr returns this node's address in the member list.
func (w waiter) ownAddr() (netip.Addr, error) {
	if addr, ok := w.addresses()[w.options.Node]; ok {
		return addr, nil
	}
	if w.cluster.Node(w.options.Node) == nil {
		return netip.Addr{}, fmt.Errorf("there is no Node %q; check --node-name", w.options.Node)
	}
	return netip.Addr{}, errNoInternalIP
}

// addresses returns the addresses of all nodes, by name.
func (w waiter) addresses() map[string]netip.Addr {
	addresses, err := w.cluster.Addresses()
	if err != nil {
		w.options.Log.Error("the addresses of the other nodes are unknown", "error", err)
		return map[string]netip.Addr{}
	}
	return addresses
}

// nodeAddrs returns all addresses of all nodes, each with its node's name.
func (w waiter) nodeAddrs() map[netip.Addr]string {
	addrs, err := w.cluster.NodeAddrs()
	if err != nil {
		w.options.Log.Error("the addresses of the nodes are unknown", "error", err)
		return map[netip.Addr]string{}
	}
	return addrs
}

// until calls ready until it succeeds. If ctx ends before, until reports false. It logs
// why it has to wait, after a second and then every reminderInterval.
func (w waiter) until(ctx context.Context, what string, ready func() error) bool {
	var logged time.Time
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for start := time.Now(); ; {
		err := ready()
		if err == nil {
			return true
		}
		if time.Since(start) > time.Second && time.Since(logged) > reminderInterval {
			w.options.Log.Warn("waiting at start", "for", what, "reason", err)
			logged = time.Now()
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return false
		}
	}
}
