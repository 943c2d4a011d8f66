// Package configmap keeps the last good configuration of one ConfigMap at hand.
package configmap

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/config"
)

// Key is the key of the ConfigMap's data that holds the configuration.
const Key = "config"

// Ref names a ConfigMap. It is a flag value: NAMESPACE/NAME.
type Ref struct{ Namespace, Name string }

// DefaultRef is where both binaries look unless told otherwise.
var DefaultRef = Ref{Namespace: "baremetal-system", Name: "config"}

// String returns NAMESPACE/NAME.
func (r *Ref) String() string { return r.Namespace + "/" + r.Name }

// Set reads NAMESPACE/NAME.
func (r *Ref) Set(text string) error {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok || namespace == "" || name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("%q is not of the form NAMESPACE/NAME", text)
	}
	*r = Ref{Namespace: namespace, Name: name}
	return nil
}

// Type returns the flag's type for its help text.
func (r *Ref) Type() string { return "namespace/name" }

// State is what has become of the ConfigMap.
type State struct {
	// Config is the last good configuration, or nil if there never was one.
	Config *config.Config
	// Generation is the resourceVersion of the ConfigMap that Config is from, 0 if
	// there is none. It tells the configurations of two processes apart.
	Generation uint64
	// Problem says why the ConfigMap as it is now is not Config; nil when it is.
	Problem error
	// Object is the ConfigMap, or nil if there is none.
	Object *v1.ConfigMap
}

// Watcher follows one ConfigMap.
type Watcher struct {
	ref      Ref
	log      *slog.Logger
	onChange func(State)
	factory  informers.SharedInformerFactory

	changing sync.Mutex // held while one change is handled
	mu       sync.Mutex
	state    State
	loaded   chan struct{}
}

// NewWatcher returns a Watcher that calls onChange, one call at a time, with
// every state the ConfigMap comes to, the first included.
func NewWatcher(client kubernetes.Interface, ref Ref, log *slog.Logger, onChange func(State)) *Watcher {
	return &Watcher{
		ref: ref, log: log, onChange: onChange, loaded: make(chan struct{}),
		factory: informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(ref.Namespace),
			informers.WithTweakListOptions(func(o *metav1.ListOptions) {
				o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, ref.Name).String()
			})),
	}
}

// Run follows the ConfigMap until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	informer := w.factory.Core().V1().ConfigMaps().Informer()
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { w.update(o.(*v1.ConfigMap)) },
		UpdateFunc: func(_, o any) { w.update(o.(*v1.ConfigMap)) },
		DeleteFunc: func(any) { w.gone() },
	})
	if err != nil {
		return fmt.Errorf("watching ConfigMap %s: %w", &w.ref, err)
	}
	w.factory.StartWithContext(ctx)
	defer w.factory.Shutdown()
	if !w.waitForSync(ctx, registration) {
		return nil
	}
	w.missingAtFirst()
	close(w.loaded)
	<-ctx.Done()
	return nil
}

// waitForSync tells the operator when the API server does not answer, since
// until it does nothing else is said.
func (w *Watcher) waitForSync(ctx context.Context, registration cache.ResourceEventHandlerRegistration) bool {
	patience := time.AfterFunc(10*time.Second, func() {
		w.log.Warn("still waiting for the API server to list the ConfigMap; check the server's address, the credentials and the RBAC rules", "configmap", w.ref.String())
	})
	defer patience.Stop()
	return cache.WaitForCacheSync(ctx.Done(), registration.HasSynced)
}

// Loaded is closed when the first state is known.
func (w *Watcher) Loaded() <-chan struct{} { return w.loaded }

// State returns the present state.
func (w *Watcher) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state
}

func (w *Watcher) update(cm *v1.ConfigMap) {
	w.changing.Lock()
	defer w.changing.Unlock()
	c, err := read(cm)
	before := w.State()
	if before.Object != nil && before.Object.UID == cm.UID && maps.Equal(before.Object.Data, cm.Data) {
		return // a label or an annotation
	}
	if err != nil {
		kept := "there is no earlier one to keep: Services wait for an address"
		if before.Config != nil {
			kept = "the last good configuration stays in use"
		}
		w.log.Error("configuration refused; "+kept, "configmap", w.ref.String(), "resourceVersion", cm.ResourceVersion, "errors", strings.Split(err.Error(), "\n"))
		w.set(State{Config: before.Config, Generation: before.Generation, Problem: err, Object: cm})
		return
	}
	w.log.Info("configuration loaded", "configmap", w.ref.String(), "resourceVersion", cm.ResourceVersion, "pools", len(c.Pools))
	generation, _ := strconv.ParseUint(cm.ResourceVersion, 10, 64) // a number, in every API server there is
	w.set(State{Config: c, Generation: generation, Object: cm})
}

func read(cm *v1.ConfigMap) (*config.Config, error) {
	text, ok := cm.Data[Key]
	if !ok {
		return nil, fmt.Errorf("the ConfigMap has no key %q in its data", Key)
	}
	return config.Parse([]byte(text))
}

func (w *Watcher) gone() {
	w.changing.Lock()
	defer w.changing.Unlock()
	if before := w.State(); before.Config != nil {
		w.log.Error("the ConfigMap was deleted; the last good configuration stays in use until this process restarts", "configmap", w.ref.String())
		w.set(State{Config: before.Config, Generation: before.Generation, Problem: errors.New("the ConfigMap was deleted")})
		return
	}
	w.missing()
}

// missingAtFirst says that there is no ConfigMap, unless one has come by now.
func (w *Watcher) missingAtFirst() {
	w.changing.Lock()
	defer w.changing.Unlock()
	if s := w.State(); s.Object == nil && s.Problem == nil {
		w.missing()
	}
}

func (w *Watcher) missing() {
	w.log.Error("the ConfigMap does not exist; Services wait for an address until it is created", "configmap", w.ref.String())
	w.set(State{Problem: errors.New("the ConfigMap does not exist")})
}

func (w *Watcher) set(s State) {
	w.mu.Lock()
	w.state = s
	w.mu.Unlock()
	w.onChange(s)
}
