// Package configmap watches one ConfigMap and keeps its last good configuration.
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

// DefaultRef is the ConfigMap that both programs read by default.
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

// State is the present state of the ConfigMap.
type State struct {
	// Config is the last good configuration, or nil if there was none yet.
	Config *config.Config
	// ResourceVersion is the resourceVersion of the ConfigMap that Config was read from,
	// 0 if there is none. It shows whether two processes use the same configuration.
	ResourceVersion uint64
	// Problem is the reason why Config is not the present content of the ConfigMap. It is
	// nil if Config is the present content.
	Problem error
	// Object is the ConfigMap, or nil if there is none.
	Object *v1.ConfigMap
}

// Watcher watches one ConfigMap.
type Watcher struct {
	ref      Ref
	log      *slog.Logger
	onChange func(State)
	factory  informers.SharedInformerFactory

	changing sync.Mutex // held while a change is handled, so that onChange is called in order
	mu       sync.Mutex
	state    State
	loaded   chan struct{}
}

// NewWatcher returns a Watcher. It calls onChange with the first state of the ConfigMap
// and with every later state, one call at a time.
func NewWatcher(client kubernetes.Interface, ref Ref, log *slog.Logger, onChange func(State)) *Watcher {
	return &Watcher{
		ref: ref, log: log, onChange: onChange, loaded: make(chan struct{}),
		factory: informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(ref.Namespace),
			informers.WithTweakListOptions(func(o *metav1.ListOptions) {
				o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, ref.Name).String()
			})),
	}
}

// Run watches the ConfigMap until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	informer := w.factory.Core().V1().ConfigMaps().Informer()
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { w.update(o.(*v1.ConfigMap)) },
		UpdateFunc: func(_, o any) { w.update(o.(*v1.ConfigMap)) },
		DeleteFunc: func(any) { w.deleted() },
	})
	if err != nil {
		return fmt.Errorf("watching ConfigMap %s: %w", &w.ref, err)
	}
	w.factory.StartWithContext(ctx)
	defer w.factory.Shutdown()
	if !w.waitForSync(ctx, registration) {
		return nil
	}
	w.reportMissingAtStart()
	close(w.loaded)
	<-ctx.Done()
	return nil
}

// waitForSync waits for the first list of the ConfigMap. It logs a warning when the API
// server does not answer, because the program logs nothing else until then.
func (w *Watcher) waitForSync(ctx context.Context, registration cache.ResourceEventHandlerRegistration) bool {
	warning := time.AfterFunc(10*time.Second, func() {
		w.log.Warn("still waiting for the API server to list the ConfigMap", "configmap", w.ref.String(), "hint", "check the server's address, the credentials and the RBAC rules")
	})
	defer warning.Stop()
	return cache.WaitForCacheSync(ctx.Done(), registration.HasSynced)
}

// Loaded returns a channel that is closed when the first state is known.
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
		return // only a label or an annotation changed
	}
	if err != nil {
		effect := "there is no earlier configuration: Services wait for an address"
		if before.Config != nil {
			effect = "the last good configuration stays in use"
		}
		w.log.Error("configuration refused", "configmap", w.ref.String(), "resourceVersion", cm.ResourceVersion, "errors", strings.Split(err.Error(), "\n"), "effect", effect)
		w.set(State{Config: before.Config, ResourceVersion: before.ResourceVersion, Problem: err, Object: cm})
		return
	}
	w.log.Info("configuration loaded", "configmap", w.ref.String(), "resourceVersion", cm.ResourceVersion, "pools", len(c.Pools))
	version, _ := strconv.ParseUint(cm.ResourceVersion, 10, 64) // every API server uses a number
	w.set(State{Config: c, ResourceVersion: version, Object: cm})
}

func read(cm *v1.ConfigMap) (*config.Config, error) {
	text, ok := cm.Data[Key]
	if !ok {
		return nil, fmt.Errorf("the ConfigMap has no key %q in its data", Key)
	}
	return config.Parse([]byte(text))
}

func (w *Watcher) deleted() {
	w.changing.Lock()
	defer w.changing.Unlock()
	if before := w.State(); before.Config != nil {
		w.log.Error("ConfigMap deleted; the last good configuration stays in use until this process restarts", "configmap", w.ref.String())
		w.set(State{Config: before.Config, ResourceVersion: before.ResourceVersion, Problem: errors.New("the ConfigMap was deleted")})
		return
	}
	w.missing()
}

// reportMissingAtStart reports a missing ConfigMap after the first list. It does nothing
// if the informer has delivered a ConfigMap.
func (w *Watcher) reportMissingAtStart() {
	w.changing.Lock()
	defer w.changing.Unlock()
	if s := w.State(); s.Object == nil && s.Problem == nil {
		w.missing()
	}
}

func (w *Watcher) missing() {
	w.log.Error("ConfigMap missing; Services wait for an address until it is created", "configmap", w.ref.String())
	w.set(State{Problem: errors.New("the ConfigMap does not exist")})
}

func (w *Watcher) set(s State) {
	w.mu.Lock()
	w.state = s
	w.mu.Unlock()
	w.onChange(s)
}
