package deadnodes

import (
	"context"
	"fmt"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/memberkey"
)

const (
	// keyLife is how long a key is used before the Secret is read again. The speakers accept a
	// key for a minute after it has left the Secret.
	keyLife = 30 * time.Second
	// apiTimeout is for one request to the API server.
	apiTimeout = 3 * time.Second
)

// keys reads the speakers' key from its Secret, and remembers it.
type keys struct {
	client    kubernetes.Interface
	namespace string

	mu   sync.Mutex
	key  []byte
	read time.Time
}

// get returns the key. While the API server does not answer, it returns the last one.
func (k *keys) get(ctx context.Context) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key != nil && time.Since(k.read) < keyLife {
		return k.key, nil
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	secret, err := k.client.CoreV1().Secrets(k.namespace).Get(ctx, memberkey.Name, metav1.GetOptions{})
	if err == nil {
		var both memberkey.Keys
		if both, err = memberkey.Read(secret); err == nil {
			k.key, k.read = both.Send, time.Now()
			return k.key, nil
		}
	}
	if k.key != nil {
		k.read = time.Now() // a death in the next seconds must not wait for the API server again
		return k.key, nil
	}
	return nil, fmt.Errorf("reading the key of the speakers: %w", err)
}

// refused makes get read the Secret again: a speaker does not accept the key.
func (k *keys) refused() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.read = time.Time{}
}
