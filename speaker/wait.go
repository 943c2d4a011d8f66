package speaker

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"
)

const (
	// The Secret that the cloud controller manager makes in the ConfigMap's namespace.
	memberSecret    = "memberlist"
	memberSecretKey = "secretkey"

	// sayAgain is how often a wait says what it waits for.
	sayAgain = 10 * time.Second
)

// waitAPI waits until all informers and the ConfigMap's first state are there.
// While it waits it asks the API server a question of its own, since the answer
// says what is wrong, which the informers keep to themselves.
func (s *Speaker) waitAPI(ctx context.Context) bool {
	return s.until(ctx, "the API server", func() error {
		synced := append([]cache.InformerSynced{func() bool {
			select {
			case <-s.config.Loaded():
				return true
			default:
				return false
			}
		}}, s.watched.synced...)
		for _, done := range synced {
			if !done() {
				return s.whyNotSynced(ctx)
			}
		}
		return nil
	})
}

func (s *Speaker) whyNotSynced(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if _, err := s.options.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: 1, ResourceVersion: "0"}); err != nil {
		return fmt.Errorf("%w; check the API server's address, the credentials and the RBAC rules", err)
	}
	return errNotSynced
}

var errNotSynced = errors.New("not all Services, Nodes, EndpointSlices and the ConfigMap have been listed yet")

// waitSelf waits for this node's address and the key of the member list.
func (s *Speaker) waitSelf(ctx context.Context) (self netip.Addr, key []byte, ok bool) {
	ok = s.until(ctx, "this node's address", func() (err error) {
		self, err = s.self()
		return err
	})
	if !ok {
		return self, nil, false
	}
	ok = s.until(ctx, "the key of the member list", func() (err error) {
		key, err = s.memberKey(ctx)
		return err
	})
	return self, key, ok
}

func (s *Speaker) memberKey(ctx context.Context) ([]byte, error) {
	namespace := s.options.ConfigMap.Namespace
	secret, err := s.options.Client.CoreV1().Secrets(namespace).Get(ctx, memberSecret, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("%w (the cloud controller manager makes this Secret when it leads)", err)
	}
	key := secret.Data[memberSecretKey]
	if len(key) == 0 {
		return nil, fmt.Errorf("no %q in the data of Secret %s/%s; delete it, the cloud controller manager makes a good one", memberSecretKey, namespace, memberSecret)
	}
	return key, nil
}

// until tries ready until it succeeds or ctx ends, and says at first and then
// every sayAgain why it has to wait.
func (s *Speaker) until(ctx context.Context, what string, ready func() error) bool {
	var said time.Time
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	for start := time.Now(); ; {
		err := ready()
		if err == nil {
			return true
		}
		if time.Since(start) > time.Second && time.Since(said) > sayAgain {
			s.log.Warn("waiting for "+what, "reason", err)
			said = time.Now()
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return false
		}
	}
}

// peers returns the nodes' addresses, by name.
func (s *Speaker) peers() map[string]netip.Addr {
	peers := map[string]netip.Addr{}
	nodes, err := s.watched.nodes.List(labels.Everything())
	if err != nil {
		s.log.Error("other speakers are not known", "error", err)
		return peers
	}
	for _, n := range nodes {
		for _, a := range n.Status.Addresses {
			addr, err := netip.ParseAddr(a.Address)
			if _, have := peers[n.Name]; err == nil && a.Type == "InternalIP" && !have {
				peers[n.Name] = addr.Unmap()
			}
		}
	}
	return peers
}
