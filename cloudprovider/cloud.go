// Package cloudprovider is the cloud provider "baremetal" for the upstream
// cloud controller manager: its cloud is a ConfigMap with pools of addresses,
// and all that it provides is load balancers.
package cloudprovider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	upstream "k8s.io/cloud-provider"
	"k8s.io/component-base/metrics/legacyregistry"

	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
)

// Name is the provider's name for --cloud-provider, and the source of its Events.
const Name = "baremetal"

// Options are what the operator can choose.
type Options struct {
	// ConfigMap holds the pools. The Secret of the member list is made beside it.
	ConfigMap configmap.Ref
	// Scope is which Services are served.
	Scope service.Scope
	Log   *slog.Logger
}

// Cloud is the provider. The upstream app makes one a process, and initializes
// it when the process has become the leader.
type Cloud struct {
	options   Options
	log       *slog.Logger
	allocator *ipam.Allocator
	metrics   *metricSet

	// Set by Initialize and SetInformers, before anything else runs.
	client     kubernetes.Interface
	events     *eventWriter
	config     *configmap.Watcher
	services   corelisters.ServiceLister
	namespaces corelisters.NamespaceLister
	synced     []cache.InformerSynced
	informed   chan struct{} // closed by SetInformers

	// adopted is closed when every address in use is known.
	adopted chan struct{}
	// What the pool controller works on.
	standings                standings
	queue                    workqueue.TypedRateLimitingInterface[cache.ObjectName]
	kickedWaiting, kickedAll chan struct{}
	chances                  atomic.Uint64 // how often somebody who waits may have had a new one

	mu      sync.Mutex
	deleted map[string]bool // UIDs of Services that went before adopted; nil after
}

var (
	_ upstream.Interface    = &Cloud{}
	_ upstream.InformerUser = &Cloud{}
)

// Factory returns the function for upstream's RegisterCloudProvider. The
// options are read when it is called, after the flags have been parsed.
func Factory(options *Options) upstream.Factory {
	return func(cloudConfig io.Reader) (upstream.Interface, error) {
		if cloudConfig != nil {
			return nil, fmt.Errorf("--cloud-config is not used by the provider %s; its configuration is the ConfigMap %s (see --config-map)", Name, &options.ConfigMap)
		}
		c := New(*options)
		c.metrics.register(legacyregistry.MustRegister, legacyregistry.CustomMustRegister) // the one that upstream serves
		return c, nil
	}
}

// New returns a Cloud that has not been initialized.
func New(options Options) *Cloud {
	c := &Cloud{
		options:   options,
		log:       options.Log,
		allocator: ipam.New(),
		informed:  make(chan struct{}),
		adopted:   make(chan struct{}),
		standings: standings{book: map[string]*standing{}},
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](
			10*time.Millisecond, time.Minute)),
		kickedWaiting: make(chan struct{}, 1),
		kickedAll:     make(chan struct{}, 1),
		deleted:       map[string]bool{},
	}
	c.metrics = newMetrics(c.allocator, c.standings.counts)
	return c
}

// Initialize starts what runs beside the upstream controllers. It returns at
// once: the shared informers are started only after it.
func (c *Cloud) Initialize(builder upstream.ControllerClientBuilder, stop <-chan struct{}) {
	c.client = builder.ClientOrDie("baremetal-cloud-provider")
	ctx := wait.ContextForChannel(stop)
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	// Events have a client of their own, so that no status waits for its turn behind them.
	broadcaster.StartRecordingToSink(&typedv1.EventSinkImpl{Interface: builder.ClientOrDie("baremetal-cloud-provider-events").CoreV1().Events("")})
	c.events = newEventWriter(broadcaster.NewRecorder(scheme.Scheme, v1.EventSource{Component: Name}))
	c.config = configmap.NewWatcher(c.client, c.options.ConfigMap, c.log, c.configChanged)
	go func() {
		defer broadcaster.Shutdown()
		c.run(ctx)
	}()
}

// run owns the goroutines of the provider and returns when all have ended.
func (c *Cloud) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if err := c.config.Run(ctx); err != nil {
			c.log.Error("the ConfigMap is not watched", "error", err)
		}
	})
	wg.Go(func() { c.events.run(ctx) })
	wg.Go(func() { c.ensureMemberKey(ctx) })
	wg.Go(func() { c.adoptAll(ctx) })
}

// SetInformers registers the provider's own view of Services. The upstream
// service controller has no handler for Delete, so a Service whose finalizer was
// stripped would keep its address for ever without this one.
func (c *Cloud) SetInformers(factory informers.SharedInformerFactory) {
	services, namespaces := factory.Core().V1().Services(), factory.Core().V1().Namespaces()
	c.services, c.namespaces = services.Lister(), namespaces.Lister()
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandlerFuncs{
		services.Informer(): {
			AddFunc:    func(o any) { c.serviceChanged(nil, o.(*v1.Service)) },
			UpdateFunc: func(before, o any) { c.serviceChanged(before.(*v1.Service), o.(*v1.Service)) },
			DeleteFunc: func(o any) {
				if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
					o = tombstone.Obj
				}
				if svc, ok := o.(*v1.Service); ok {
					c.serviceDeleted(svc)
				}
			},
		},
		namespaces.Informer(): {
			AddFunc:    func(o any) { c.namespaceChanged(nil, o.(*v1.Namespace)) },
			UpdateFunc: func(before, o any) { c.namespaceChanged(before.(*v1.Namespace), o.(*v1.Namespace)) },
		},
	} {
		registration, err := informer.AddEventHandler(handler)
		if err != nil {
			c.log.Error("the API server is not watched", "error", err)
			return
		}
		c.synced = append(c.synced, registration.HasSynced)
	}
	close(c.informed)
}

// LoadBalancer returns the one thing that this cloud provides, unless Services
// without a class belong to somebody else: upstream asks for no others.
func (c *Cloud) LoadBalancer() (upstream.LoadBalancer, bool) {
	return &balancer{c}, c.options.Scope.Default
}

// Instances returns false: on bare metal the kubelet knows its node best.
func (c *Cloud) Instances() (upstream.Instances, bool) { return nil, false }

// InstancesV2 returns false, like Instances.
func (c *Cloud) InstancesV2() (upstream.InstancesV2, bool) { return nil, false }

// Zones returns false: zones are labels that the operator writes.
func (c *Cloud) Zones() (upstream.Zones, bool) { return nil, false }

// Clusters returns false: nothing upstream asks for it.
func (c *Cloud) Clusters() (upstream.Clusters, bool) { return nil, false }

// Routes returns false: routes to pods belong to the CNI plugin.
func (c *Cloud) Routes() (upstream.Routes, bool) { return nil, false }

// ProviderName returns "baremetal".
func (c *Cloud) ProviderName() string { return Name }

// HasClusterID returns true: there is no cloud account that clusters could share,
// and so nothing that an ID would have to tell apart.
func (c *Cloud) HasClusterID() bool { return true }

var (
	errAdopting = errors.New("the addresses in use are still being read from the Services")
	errNoConfig = errors.New("the ConfigMap with the pools has not been read yet; if this stays so, the log of the cloud controller manager says why")
)

// waitAdopted waits until the addresses in use are known, but not long: a
// controller's worker is waiting.
func (c *Cloud) waitAdopted(ctx context.Context) error {
	return waitFor(ctx, c.adopted, errAdopting)
}

// waitPools waits for the first state of the ConfigMap, like waitAdopted.
func (c *Cloud) waitPools(ctx context.Context) error {
	return waitFor(ctx, c.config.Loaded(), errNoConfig)
}

func waitFor(ctx context.Context, ready <-chan struct{}, otherwise error) error {
	patience := time.NewTimer(2 * time.Second)
	defer patience.Stop()
	select {
	case <-ready:
		return nil
	case <-patience.C:
	case <-ctx.Done():
	}
	return otherwise
}
