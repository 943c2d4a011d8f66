// Package configmap watches the operator's ConfigMap and keeps its last good
// configuration. It also reads the ConfigMaps that the programs write for each other.
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
	// Text is the text of Config, Hash identifies it.
	Text, Hash string
	// ResourceVersion is the resourceVersion of the ConfigMap that Config was read from,
	// 0 if there is none. It shows whether two processes use the same configuration.
	ResourceVersion uint64
	// Problem is the reason why Config is not the present content of the ConfigMap. It is
	// nil if Config is the present content.
	Problem error
	// Object is the ConfigMap, or nil if there is none.
	Object *v1.ConfigMap
}

// Watcher watches the operator's ConfigMap, and the two that belong to it.
type Watcher struct {
	ref      Ref
	log      *slog.Logger
	onChange func(State)
	onOthers func()
	factory  informers.SharedInformerFactory

	changing sync.Mutex               // held while a change is handled, so that onChange is called in order
	objects  map[string]*v1.ConfigMap // by name: the three ConfigMaps, as far as they exist

	mu     sync.Mutex
	state  State
	inUse  InUse
	nodes  map[string]NodeLinks
	loaded chan struct{}
}

// NewWatcher returns a Watcher. It calls onChange with the first state of the ConfigMap
// and with every later state, one call at a time. It calls onOthers when InUse or Nodes
// have changed.
func NewWatcher(client kubernetes.Interface, ref Ref, log *slog.Logger, onChange func(State), onOthers func()) *Watcher {
	return &Watcher{
		ref: ref, log: log, onChange: onChange, onOthers: onOthers, loaded: make(chan struct{}),
		objects: map[string]*v1.ConfigMap{},
		factory: informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(ref.Namespace)),
	}
}

// Run watches the ConfigMaps until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	informer := w.factory.Core().V1().ConfigMaps().Informer()
	registration, err := informer.AddEventHandler(cache.FilteringResourceEventHandler{
		FilterFunc: func(o any) bool {
			cm, ok := o.(*v1.ConfigMap)
			return !ok || cm.Name == w.ref.Name || cm.Name == w.ref.InUse() || cm.Name == w.ref.NodeLinks()
		},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { w.seen(o.(*v1.ConfigMap)) },
			UpdateFunc: func(_, o any) { w.seen(o.(*v1.ConfigMap)) },
			DeleteFunc: func(o any) { w.gone(o) },
		},
	})
	if err != nil {
		return fmt.Errorf("watching the ConfigMaps of namespace %s: %w", w.ref.Namespace, err)
	}
	w.factory.StartWithContext(ctx)
	defer w.factory.Shutdown()
	if !w.waitForSync(ctx, registration) {
		return nil
	}
	w.load()
	<-ctx.Done()
	return nil
}

// waitForSync waits for the first list of the ConfigMaps. It logs a warning when the API
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

// InUse returns what the leading cluster manager has published.
func (w *Watcher) InUse() InUse {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.inUse
}

// Nodes returns the addresses of the nodes, by the names of the nodes.
func (w *Watcher) Nodes() map[string]NodeLinks {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.nodes
}

func (w *Watcher) seen(cm *v1.ConfigMap) {
	w.changing.Lock()
	defer w.changing.Unlock()
	w.objects[cm.Name] = cm
	w.changed(cm.Name)
}

func (w *Watcher) gone(o any) {
	if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = tombstone.Obj
	}
	cm, ok := o.(*v1.ConfigMap)
	if !ok {
		return
	}
	w.changing.Lock()
	defer w.changing.Unlock()
	delete(w.objects, cm.Name)
	w.changed(cm.Name)
}

// load reads all ConfigMaps after the first list. They may have arrived in any order.
func (w *Watcher) load() {
	w.changing.Lock()
	defer w.changing.Unlock()
	w.readOthers()
	w.readConfig()
}

// changed handles a change of the ConfigMap with that name. Before the first list is
// complete it does nothing, because a missing ConfigMap may only be late.
func (w *Watcher) changed(name string) {
	select {
	case <-w.loaded:
	default:
		return
	}
	if name == w.ref.Name {
		w.readConfig()
		return
	}
	w.readOthers()
	w.onOthers()
}

func (w *Watcher) readOthers() {
	inUse, err := ReadInUse(w.objects[w.ref.InUse()])
	if err != nil {
		w.log.Warn("the published configuration cannot be read", "error", err)
	}
	nodes := ReadNodeLinks(w.objects[w.ref.NodeLinks()], w.log)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inUse, w.nodes = inUse, nodes
}

// readConfig reads the operator's ConfigMap, if its content has changed.
func (w *Watcher) readConfig() {
	cm, before := w.objects[w.ref.Name], w.State()
	if before.Config == nil && before.Problem == nil {
		before = w.fallBack()
	} else if cm != nil && before.Object != nil && before.Object.UID == cm.UID && maps.Equal(before.Object.Data, cm.Data) {
		if before.Object = cm; before.Problem == nil {
			before.ResourceVersion = version(cm)
		}
		w.mu.Lock()
		w.state = before // only a label or an annotation changed
		w.mu.Unlock()
		return
	}
	effect := "there is no earlier configuration: Services wait for an address"
	if before.Config != nil {
		effect = "the last good configuration stays in use"
	}
	now := before
	now.Object = cm
	if cm == nil {
		now.Problem = errors.New("the ConfigMap does not exist")
		if before.Object != nil {
			now.Problem = errors.New("the ConfigMap was deleted")
		}
		w.log.Error("ConfigMap missing", "configmap", w.ref.String(), "problem", now.Problem, "effect", effect)
		w.set(now)
		return
	}
	c, err := read(cm)
	if err != nil {
		now.Problem = err
		w.log.Error("configuration refused", "configmap", w.ref.String(), "resourceVersion", cm.ResourceVersion, "errors", strings.Split(err.Error(), "\n"), "effect", effect)
		w.set(now)
		return
	}
	w.log.Info("configuration loaded", "configmap", w.ref.String(), "resourceVersion", cm.ResourceVersion, "pools", len(c.Pools))
	w.set(State{Config: c, Text: cm.Data[Key], Hash: Hash(cm.Data[Key]), ResourceVersion: version(cm), Object: cm})
}

// fallBack returns the state of a program that starts: its last good configuration is the
// one that the leading cluster manager has published.
func (w *Watcher) fallBack() State {
	inUse := w.InUse()
	if inUse.Config == nil {
		return State{}
	}
	return State{Config: inUse.Config, Text: inUse.Object.Data[Key], Hash: inUse.Hash}
}

// version returns the resourceVersion as a number. Every API server uses a number.
func version(cm *v1.ConfigMap) uint64 {
	n, _ := strconv.ParseUint(cm.ResourceVersion, 10, 64)
	return n
}

func read(cm *v1.ConfigMap) (*config.Config, error) {
	text, ok := cm.Data[Key]
	if !ok {
		return nil, fmt.Errorf("the ConfigMap has no key %q in its data", Key)
	}
	return config.Parse([]byte(text))
}

func (w *Watcher) set(s State) {
	w.mu.Lock()
	w.state = s
	w.mu.Unlock()
	select {
	case <-w.loaded:
	default:
		close(w.loaded)
	}
	w.onChange(s)
}
