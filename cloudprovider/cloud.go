// Package cloudprovider is the cloud provider "baremetal" for the upstream cloud
// controller manager. It provides load balancers only: it gives Services addresses from
// the pools in a ConfigMap.
package cloudprovider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
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

	"github.com/baremetal-lb/cloud-provider-baremetal/cloudprovider/deadnodes"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/build"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/configmap"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/ipam"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/service"
	"github.com/baremetal-lb/cloud-provider-baremetal/pkg/signal"
)

// Name is the provider's name for --cloud-provider, and the source of its Events.
const Name = "baremetal"

// Options are the settings of the operator.
type Options struct {
	// ConfigMap holds the pools. The Secret with the speakers' key is created in its
	// namespace.
	ConfigMap configmap.Ref
	// Scope selects the Services that are served.
	Scope service.Scope
	// ReportDeadNodes says whether the pods of a node whose kernel is dead by the word of the
	// speakers are set to not ready.
	ReportDeadNodes bool
	// SpeakerPort is the port at which the speakers serve their metrics, and say which nodes are
	// dead.
	SpeakerPort uint16
	// Debug serves what the provider decides; nil if nothing is served.
	Debug *Debug
	Log   *slog.Logger
}

// Cloud is the provider. The upstream app creates one Cloud in each process, and
// initializes it when the process becomes the leader.
type Cloud struct {
	options   Options
	log       *slog.Logger
	allocator *ipam.Allocator
	metrics   *metricSet
	// deadMetrics is registered only with ReportDeadNodes.
	deadMetrics *deadnodes.Metrics

	// Set by Initialize and SetInformers, before anything else runs.
	client     kubernetes.Interface
	events     *eventWriter
	config     *configmap.Watcher
	services   corelisters.ServiceLister
	namespaces corelisters.NamespaceLister
	nodes      corelisters.NodeLister
	synced     []cache.InformerSynced
	informed   chan struct{} // closed by SetInformers

	// configured is closed when there is a configuration, adopted when the allocator knows
	// every address in use.
	configured, adopted chan struct{}
	// The state and the input of the pool controller. The signals make it look at the
	// Services that wait, or at all Services; the queue holds the Services to write.
	tracker                  tracker
	queue                    workqueue.TypedRateLimitingInterface[cache.ObjectName]
	lookAtWaiting, lookAtAll signal.Signal
	publish                  signal.Signal // makes the publisher look for changes

	// turn is held while the pools change, while addresses are given or released, and during
	// a whole pass, so that no Service gets what an older one waits for. It is locked before mu.
	turn   sync.Mutex
	passed uint64 // the allocator's Chances when the last pass began

	// mu is held while the configuration, the reserved addresses, the foreign hosts or adopted
	// change.
	mu           sync.Mutex
	using        configmap.State // what the allocator uses
	reserved     map[netip.Addr]string
	foreign      map[netip.Addr]foreignHost
	deletedEarly map[string]bool // UIDs of Services that were deleted before the adoption; nil after it
}

var (
	_ upstream.Interface    = &Cloud{}
	_ upstream.InformerUser = &Cloud{}
)

// Factory returns the function for upstream's RegisterCloudProvider. This function reads
// the options when upstream calls it, after the flags have been parsed.
func Factory(options *Options) upstream.Factory {
	return func(cloudConfig io.Reader) (upstream.Interface, error) {
		if cloudConfig != nil {
			return nil, fmt.Errorf("the provider %s does not use --cloud-config: remove this flag; the configuration is the ConfigMap %s (see --config-map)", Name, &options.ConfigMap)
		}
		c := newCloud(*options)
		c.metrics.register(legacyregistry.MustRegister, legacyregistry.CustomMustRegister) // upstream serves this registry
		legacyregistry.RawMustRegister(build.Collector())
		if options.ReportDeadNodes {
			c.deadMetrics.Register(legacyregistry.MustRegister)
		}
		if options.Debug != nil {
			options.Debug.cloud.Store(c)
		}
		return c, nil
	}
}

// newCloud returns a Cloud that has not been initialized.
func newCloud(options Options) *Cloud {
	c := &Cloud{
		options:     options,
		log:         options.Log,
		allocator:   ipam.New(),
		deadMetrics: deadnodes.NewMetrics(),
		foreign:     map[netip.Addr]foreignHost{},
		informed:    make(chan struct{}),
		configured:  make(chan struct{}),
		adopted:     make(chan struct{}),
		tracker:     tracker{byUID: map[string]*serviceRecord{}},
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](
			10*time.Millisecond, time.Minute)),
		lookAtWaiting: signal.New(),
		lookAtAll:     signal.New(),
		publish:       signal.New(),
		deletedEarly:  map[string]bool{},
	}
	c.metrics = newMetrics(c.allocator, c.tracker.counts)
	return c
}

// Initialize starts the provider's own goroutines. It returns at once, because upstream
// starts the shared informers after it.
func (c *Cloud) Initialize(builder upstream.ControllerClientBuilder, stop <-chan struct{}) {
	c.client = builder.ClientOrDie("baremetal-cloud-provider")
	ctx := wait.ContextForChannel(stop)
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	// Events have their own client, so that they do not delay the writing of a status.
	broadcaster.StartRecordingToSink(&typedv1.EventSinkImpl{Interface: builder.ClientOrDie("baremetal-cloud-provider-events").CoreV1().Events("")})
	c.events = newEventWriter(broadcaster.NewRecorder(scheme.Scheme, v1.EventSource{Component: Name}))
	c.config = configmap.NewWatcher(c.client, c.options.ConfigMap, c.log, c.configChanged, c.publicationChanged)
	c.metrics.state.config.Store(c.config)
	var dead kubernetes.Interface // nil without ReportDeadNodes
	if c.options.ReportDeadNodes {
		var err error
		if dead, err = deadNodesClient(builder); err != nil {
			c.log.Error("dead nodes are not reported", "error", err)
		}
	}
	go func() {
		defer broadcaster.Shutdown()
		c.run(ctx, dead)
	}()
}

// run starts the goroutines of the provider, and returns when all have ended. dead is the client
// for dead nodes; nil if they are not reported.
func (c *Cloud) run(ctx context.Context, dead kubernetes.Interface) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		if err := c.config.Run(ctx); err != nil {
			c.log.Error("watching the ConfigMap failed", "error", err)
		}
	})
	wg.Go(func() { c.events.run(ctx) })
	wg.Go(func() { c.ensureMemberKey(ctx) })
	wg.Go(func() { c.adoptAll(ctx) })
	wg.Go(func() { c.runPublisher(ctx) })
	if dead != nil {
		wg.Go(func() { c.reportDeadNodes(ctx, dead) })
	}
}

// SetInformers registers the provider's handlers for Services, namespaces and Nodes. The upstream
// service controller has no handler for Delete. Without a handler here, the address of a
// Service whose finalizer was removed by hand would never be released.
func (c *Cloud) SetInformers(factory informers.SharedInformerFactory) {
	services, namespaces := factory.Core().V1().Services(), factory.Core().V1().Namespaces()
	nodes := factory.Core().V1().Nodes()
	c.services, c.namespaces, c.nodes = services.Lister(), namespaces.Lister(), nodes.Lister()
	for informer, handler := range map[cache.SharedIndexInformer]cache.ResourceEventHandlerFuncs{
		services.Informer(): {
			AddFunc:    func(o any) { c.serviceChanged(nil, o.(*v1.Service)) },
			UpdateFunc: func(before, o any) { c.serviceChanged(before.(*v1.Service), o.(*v1.Service)) },
			DeleteFunc: func(o any) {
				if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
					o = tombstone.Obj
				}
				if svc, ok := o.(*v1.Service); ok {
					c.release(svc)
				}
			},
		},
		namespaces.Informer(): {
			AddFunc:    func(o any) { c.namespaceChanged(nil, o.(*v1.Namespace)) },
			UpdateFunc: func(before, o any) { c.namespaceChanged(before.(*v1.Namespace), o.(*v1.Namespace)) },
		},
		nodes.Informer(): {
			AddFunc: func(any) { c.nodesChanged() },
			UpdateFunc: func(before, o any) {
				if !slices.Equal(before.(*v1.Node).Status.Addresses, o.(*v1.Node).Status.Addresses) || isReady(before.(*v1.Node)) != isReady(o.(*v1.Node)) {
					c.nodesChanged()
				}
			},
			DeleteFunc: func(any) { c.nodesChanged(); c.publish.Set() },
		},
	} {
		registration, err := informer.AddEventHandler(handler)
		if err != nil {
			c.log.Error("registering an informer handler failed", "error", err)
			return
		}
		c.synced = append(c.synced, registration.HasSynced)
	}
	close(c.informed)
}

// LoadBalancer returns the load balancer. It returns false if another provider serves the
// Services without a class, because upstream calls the load balancer for no other Services.
func (c *Cloud) LoadBalancer() (upstream.LoadBalancer, bool) {
	return &balancer{c}, c.options.Scope.Default
}

// Instances returns false: on bare metal the kubelet describes its node itself.
func (c *Cloud) Instances() (upstream.Instances, bool) { return nil, false }

// InstancesV2 returns false, like Instances.
func (c *Cloud) InstancesV2() (upstream.InstancesV2, bool) { return nil, false }

// Zones returns false: the operator sets the labels of the zones.
func (c *Cloud) Zones() (upstream.Zones, bool) { return nil, false }

// Clusters returns false: upstream does not use it.
func (c *Cloud) Clusters() (upstream.Clusters, bool) { return nil, false }

// Routes returns false: routes to pods belong to the CNI plugin.
func (c *Cloud) Routes() (upstream.Routes, bool) { return nil, false }

// ProviderName returns "baremetal".
func (c *Cloud) ProviderName() string { return Name }

// HasClusterID returns true: clusters share no cloud account here, so they need no ID to
// distinguish them.
func (c *Cloud) HasClusterID() bool { return true }

var (
	errAdopting = errors.New("the addresses in use are still being read from the Services")
	errNoConfig = errors.New("there is no configuration yet, so the Service waits")
	errUnread   = errors.New("the ConfigMap with the pools cannot be read; see the log of the cloud controller manager")
)

// waitAdopted waits until the addresses in use are known, 2 seconds at most, because it
// blocks a worker of a controller.
func (c *Cloud) waitAdopted(ctx context.Context) error {
	timeout := time.NewTimer(2 * time.Second)
	defer timeout.Stop()
	select {
	case <-c.adopted:
		return nil
	case <-timeout.C:
	case <-ctx.Done():
	}
	return c.notAdopted()
}

// notAdopted says why the addresses in use are not known.
func (c *Cloud) notAdopted() error {
	select {
	case <-c.configured:
		return errAdopting
	default:
	}
	select {
	case <-c.config.Loaded():
		return errNoConfig
	default:
		return errUnread
	}
}
