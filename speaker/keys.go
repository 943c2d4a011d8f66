package speaker

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/memberkey"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
)

// keyWatcher watches the Secret with the keys of the speakers. It watches no other Secret.
type keyWatcher struct {
	client    kubernetes.Interface
	namespace string
	log       *slog.Logger
	factory   informers.SharedInformerFactory
	lister    corelisters.SecretNamespaceLister
	synced    cache.InformerSynced
	changed   signal.Signal
}

// only selects the Secret.
func only(o *metav1.ListOptions) { o.FieldSelector = "metadata.name=" + memberkey.Name }

func newKeyWatcher(client kubernetes.Interface, namespace string, log *slog.Logger) (*keyWatcher, error) {
	w := &keyWatcher{client: client, namespace: namespace, log: log, changed: signal.New()}
	w.factory = informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace), informers.WithTweakListOptions(only))
	secrets := w.factory.Core().V1().Secrets()
	registration, err := secrets.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { w.changed.Set() },
		UpdateFunc: func(any, any) { w.changed.Set() },
		DeleteFunc: func(any) { w.changed.Set() },
	})
	if err != nil {
		return nil, fmt.Errorf("watching the Secret %s/%s: %w", namespace, memberkey.Name, err)
	}
	w.lister, w.synced = secrets.Lister().Secrets(namespace), registration.HasSynced
	return w, nil
}

// Run watches the Secret until ctx ends. It returns nil.
func (w *keyWatcher) Run(ctx context.Context) error {
	w.factory.StartWithContext(ctx)
	<-ctx.Done()
	w.factory.Shutdown()
	return nil
}

// read returns the keys in the Secret. The error says what to do.
func (w *keyWatcher) read(ctx context.Context) (memberkey.Keys, error) {
	secret, err := w.lister.Get(memberkey.Name)
	switch {
	case err == nil:
		return memberkey.Read(secret)
	case w.synced():
		return memberkey.Keys{}, fmt.Errorf("there is no Secret %s/%s; the cloud controller manager that leads creates it within seconds", w.namespace, memberkey.Name)
	}
	// The informer does not report what is wrong, but the answer to a request does.
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	options := metav1.ListOptions{Limit: 1}
	only(&options)
	if _, err := w.client.CoreV1().Secrets(w.namespace).List(ctx, options); err != nil {
		return memberkey.Keys{}, fmt.Errorf("%w; check the RBAC rules: the speakers list and watch the Secret %s", err, memberkey.Name)
	}
	return memberkey.Keys{}, fmt.Errorf("the Secret %s/%s has not been listed yet", w.namespace, memberkey.Name)
}

// follow keeps the ring up to date until ctx ends, and calls apply with the keys to use
// whenever they change: the first is for sending, all are accepted. If the Secret is
// deleted or cannot be used, the keys in use stay. It returns nil.
func (w *keyWatcher) follow(ctx context.Context, ring *memberkey.Ring, apply func(keys [][]byte)) error {
	applied, _ := ring.Keys(time.Now())
	problem := ""
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-w.changed.C():
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		switch keys, err := w.read(ctx); {
		case err == nil:
			problem = ""
			ring.Set(time.Now(), keys)
		case ctx.Err() == nil && err.Error() != problem:
			problem = err.Error()
			w.log.Error("the Secret with the keys of the speakers cannot be used, the keys in use stay", "error", err)
		}
		keys, next := ring.Keys(time.Now())
		if !slices.EqualFunc(keys, applied, bytes.Equal) {
			w.log.Info("the speaker uses other keys", "accepts", len(keys), "sends-with-another-key", !bytes.Equal(keys[0], applied[0]))
			apply(keys)
			applied = keys
		}
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}
